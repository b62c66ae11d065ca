"""Remove old version directories, but none that is wanted or in use. For Windows; standard library only.

    prune_directories.py DIRECTORY --keep N [--protect PATH]...

Prints JSON: ``removed`` and ``busy`` (names). Windows refuses to rename a directory while a file in it is open or
runs, so a rename is the test: what cannot be renamed is in use and stays whole. What somebody, a virus scanner say,
holds after that goes at the next run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOOMED = ".removing-"


def age(entry: Path) -> float:
    """When the version was installed: ``.stamp`` is written last."""
    stamp = entry / ".stamp"
    return (stamp if stamp.exists() else entry).stat().st_mtime


def make_writable_and_retry(function: Callable[[str], Any], path: str, _error: BaseException) -> None:
    """Files marked read-only, as archives often have them, cannot be removed on Windows until the mark is gone."""
    os.chmod(path, stat.S_IWRITE)
    function(path)


def remove(directory: Path) -> None:
    """As much of it as can be; the next run takes the rest."""
    with contextlib.suppress(OSError):
        if sys.version_info >= (3, 12):
            shutil.rmtree(directory, onexc=make_writable_and_retry)
        else:
            shutil.rmtree(directory)


def prune(root: Path, keep: int, protect: list[str]) -> dict[str, list[str]]:
    """Remove all but the ``keep`` newest versions besides the protected ones."""
    removed: list[str] = []
    busy: list[str] = []
    if not root.is_dir():
        return {"removed": removed, "busy": busy}
    protected = {os.path.realpath(path) for path in protect}
    entries = [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    candidates = [entry for entry in entries if os.path.realpath(entry) not in protected]
    for leftover in root.glob(DOOMED + "*"):
        remove(leftover)
    for entry in sorted(candidates, key=age, reverse=True)[keep:]:
        doomed = root / (DOOMED + entry.name)
        try:
            entry.rename(doomed)
        except OSError:
            busy.append(entry.name)
            continue
        remove(doomed)
        removed.append(entry.name)
    return {"removed": sorted(removed), "busy": sorted(busy)}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--keep", type=int, required=True)
    parser.add_argument("--protect", action="append", default=[])
    options = parser.parse_args()
    print(json.dumps(prune(options.directory, options.keep, options.protect)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
