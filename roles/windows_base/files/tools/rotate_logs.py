"""Rotate the logs of a program that opens them anew when told to. For Windows; standard library only.

    rotate_logs.py DIRECTORY --keep N --bytes N -- COMMAND...

Each ``x.log`` that has reached ``--bytes`` becomes ``x.1.log`` and so on; COMMAND then tells the program to open new
ones. Prints JSON: ``rotated`` (names).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

_NUMBERED = re.compile(r".*\.\d+\.log")
COMMAND_SECONDS = 60


def rotate(log: Path, keep: int) -> None:
    """Shift the older files by one number; the oldest goes."""
    for number in range(keep, 0, -1):
        older = log.with_name(f"{log.stem}.{number}.log")
        newer = log.with_name(f"{log.stem}.{number - 1}.log") if number > 1 else log
        if newer.exists():
            newer.replace(older)


def rotate_all(directory: Path, keep: int, least_bytes: int) -> list[str]:
    """Rotate what has grown enough; returns the names."""
    logs = [log for log in sorted(directory.glob("*.log")) if not _NUMBERED.fullmatch(log.name)]
    grown = [log for log in logs if log.stat().st_size >= least_bytes]
    for log in grown:
        rotate(log, keep)
    return [log.name for log in grown]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--keep", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    rotated = rotate_all(options.directory, options.keep, options.bytes)
    print(json.dumps({"rotated": rotated}))
    if not rotated:
        return 0
    return subprocess.run(options.command, timeout=COMMAND_SECONDS, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
