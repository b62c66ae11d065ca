"""Print the last lines of a text file. For Windows; standard library only.

tail.py FILE --lines N
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

PIECE_BYTES = 64 * 1024


def last_lines(file: Path, count: int) -> list[str]:
    """The last ``count`` lines, read from the end; the rest of a large file stays unread."""
    with file.open("rb") as stream:
        position, data = stream.seek(0, 2), b""
        while position > 0 and data.count(b"\n") <= count:
            step = min(PIECE_BYTES, position)
            position -= step
            stream.seek(position)
            data = stream.read(step) + data
    return data.decode("utf-8", "replace").splitlines()[-count:]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--lines", type=int, required=True)
    options = parser.parse_args()
    lines = last_lines(options.file, options.lines) if options.file.is_file() else []
    # The console's code page has no part in this.
    sys.stdout.buffer.write("\n".join(lines).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
