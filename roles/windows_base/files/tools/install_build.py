"""Install one build of a title under its final name, or not at all. For Windows; standard library only.

    install_build.py SOURCE DESTINATION --executable NAME [--sha256 HEX] [--strip yes|no]

SOURCE is a zip file or a directory (a share, say). Prints JSON; on failure exit code 1 and ``msg`` with the fix. The
build is laid out beside its destination, completed with ``.stamp``, and renamed last.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

RENAME_ATTEMPTS = 60
RENAME_PAUSE_SECONDS = 1.0


class BuildError(Exception):
    """The build cannot be installed; the text names the fix."""


def long_path(path: Path) -> Path:
    """The form that Windows takes beyond 260 characters, whatever its policy says."""
    absolute = os.path.abspath(path)
    if os.name != "nt" or absolute.startswith("\\\\?\\"):
        return Path(absolute)
    return Path("\\\\?\\UNC\\" + absolute[2:] if absolute.startswith("\\\\") else "\\\\?\\" + absolute)


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip file; a member that would land outside of ``target`` is refused."""
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                parts = member.filename.replace("\\", "/").split("/")
                if ".." in parts or member.filename.startswith(("/", "\\")) or ":" in member.filename:
                    raise BuildError(
                        f"{archive.name} has the member {member.filename}, which leads out of the build. Pack it anew."
                    )
            packed.extractall(target)
    except zipfile.BadZipFile as error:
        raise BuildError(f"{archive.name} is not a zip file ({error}). Windows builds are packed as zip.") from error


def stripped(folder: Path) -> Path:
    """The one directory at the top."""
    entries = list(folder.iterdir())
    if len(entries) != 1 or not entries[0].is_dir():
        raise BuildError("build.strip is set, but its top is not one directory. Leave build.strip out.")
    return entries[0]


def rename_patiently(build: Path, destination: Path) -> None:
    """A virus scanner that looks at the new files keeps Windows from renaming their folder; it is done in a while."""
    for attempt in range(RENAME_ATTEMPTS):
        try:
            build.rename(destination)
        except PermissionError:
            if attempt + 1 == RENAME_ATTEMPTS:
                raise
            time.sleep(RENAME_PAUSE_SECONDS)
        else:
            return


def install(source: Path, destination: Path, executable: str, sha256: str, strip: bool) -> None:
    """Make ``destination``; raises :class:`BuildError` and leaves nothing when that fails."""
    if not source.exists():
        raise BuildError(f"{source} is not there, or this account may not read it. Correct the source of the build.")
    if sha256:
        if source.is_dir():
            raise BuildError("build.checksum needs a zip file; for a directory leave it out and give build.version.")
        found = file_sha256(source)
        if found != sha256:
            raise BuildError(f"{source.name} has the checksum sha256:{found}, not sha256:{sha256}.")
    incoming = destination.with_name(f".incoming-{destination.name}")
    shutil.rmtree(incoming, ignore_errors=True)
    try:
        if source.is_dir():
            shutil.copytree(source, incoming)
        else:
            incoming.mkdir(parents=True)
            unpack(source, incoming)
        build = stripped(incoming) if strip else incoming
        if executable and not (build / executable.replace("\\", "/")).is_file():
            raise BuildError(
                f"{source.name} has no {executable}. Correct executable in titles.yml: it is relative to the top of "
                "the archive (build.strip drops one leading directory)."
            )
        (build / ".stamp").write_text(destination.name + "\n")
        rename_patiently(build, destination)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--executable", default="", help="relative to the top of the build")
    parser.add_argument("--sha256", default="")
    parser.add_argument("--strip", choices=["yes", "no"], default="no")
    options = parser.parse_args()
    try:
        install(
            long_path(options.source),
            long_path(options.destination),
            options.executable,
            options.sha256,
            options.strip == "yes",
        )
    except (BuildError, OSError) as error:
        print(json.dumps({"msg": str(error)}))
        return 1
    print(json.dumps({"installed": options.destination.name}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
