"""Back up or restore the embedded database: its SQLite files in one tar file.

python - backup DATA_DIRECTORY ARCHIVE      while the database runs: SQLite's online backup gives one moment's content
python - restore DATA_DIRECTORY ARCHIVE     while it is stopped: the old files are kept beside, as *.before-restore
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import sqlite3
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

DEADLINE_SECONDS = 30.0


def backup(data: Path, archive: Path) -> int:
    """Copy every database; return how many."""
    names = sorted(path.name for path in data.glob("*.db"))
    if not names:
        sys.exit(f"{data} has no database. Is mongodb_data_directory right?")
    with tempfile.TemporaryDirectory(dir=archive.parent) as work:
        for name in names:
            copy = Path(work) / name
            with (
                contextlib.closing(
                    sqlite3.connect(f"file:{data / name}?mode=ro", uri=True, timeout=DEADLINE_SECONDS)
                ) as source,
                contextlib.closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
                (verdict,) = target.execute("PRAGMA integrity_check").fetchone()
            if verdict != "ok":
                sys.exit(f"{name} is damaged: {verdict}")
        with tarfile.open(archive, "w:gz") as tar:
            for name in names:
                tar.add(Path(work) / name, arcname=name)
    archive.chmod(0o600)
    return len(names)


def unpack(archive: Path, data: Path) -> list[Path]:
    """Put the archive's databases beside the present ones, each with ``.restoring`` after its name; return them."""
    owner = data.stat()
    fresh: list[Path] = []
    if not tarfile.is_tarfile(archive):
        sys.exit(f"{archive} is no backup of the embedded database.")
    try:
        with tarfile.open(archive) as tar:
            members = [member for member in tar.getmembers() if member.isfile()]
            if any("/" in member.name or not member.name.endswith(".db") for member in members) or not members:
                sys.exit(f"{archive} is no backup of the embedded database.")
            with gzip.open(archive) as whole:  # its checksum is at the very end, where tarfile does not look
                while whole.read(1 << 20):
                    pass
            for member in members:
                stream = tar.extractfile(member)
                assert stream is not None
                fresh.append(data / f"{member.name}.restoring")
                with fresh[-1].open("wb") as file:
                    shutil.copyfileobj(stream, file)
                fresh[-1].chmod(0o640)
                os.chown(fresh[-1], owner.st_uid, owner.st_gid)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        for path in fresh:
            path.unlink(missing_ok=True)
        sys.exit(f"{archive} cannot be restored: {error}")
    return fresh


def restore(data: Path, archive: Path) -> int:
    """Put the archive's databases in place of the present ones; return how many. The directory's owner gets them.

    What is there is touched only when everything of the archive lies beside it, whole.
    """
    fresh = unpack(archive, data)
    for path in [*data.glob("*.db"), *data.glob("*.db-wal"), *data.glob("*.db-shm")]:
        path.replace(path.with_name(f"{path.name}.before-restore"))
    for path in fresh:
        path.replace(path.with_suffix(""))
    return len(fresh)


if __name__ == "__main__":
    action = backup if sys.argv[1] == "backup" else restore
    print(action(Path(sys.argv[2]), Path(sys.argv[3])))
