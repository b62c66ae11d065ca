"""Names shared by adapters and keepers. Imports nothing: a keeper stays small."""

# Environment variable that every process of a session inherits; its value is ``<installation>.<session>.<part>``.
# Processes are recognised by it after a crash of session server and keeper both.
MARK_VARIABLE = "PIXELSTREAM_MARK"
CHILD_FILE = "child.json"
EXIT_FILE = "exit.json"
OUTPUT_FILE = "output.log"  # newest; output.log.1 is the one before
# What the keeper allows the rest of the tree for its own end after the program ended.
LEFTOVER_SECONDS = 2.0
