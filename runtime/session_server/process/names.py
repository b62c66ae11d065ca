"""Names shared by adapters and keepers. Imports next to nothing: a keeper stays small."""

import sys

# Environment variable that every process of a session inherits; its value is ``<installation>.<session>.<part>``.
# Processes are recognised by it after a crash of session server and keeper both.
MARK_VARIABLE = "PIXELSTREAM_MARK"
CHILD_FILE = "child.json"
EXIT_FILE = "exit.json"
OUTPUT_FILE = "output.log"  # newest; output.log.1 is the one before
# What the keeper allows the rest of the tree for its own end after the program ended.
LEFTOVER_SECONDS = 2.0


def own_interpreter(executable: str = sys.executable) -> str:
    """The Python that children run with. A Windows desktop's session server runs under ``pythonw.exe``, which has no
    console, and without one Ctrl-Break reaches nobody."""
    folder, name = executable[:-11], executable[-11:]
    return f"{folder}python.exe" if name.lower() == "pythonw.exe" else executable
