"""A mirror of stand-ins for the installers that the roles fetch: ``python -m tests.lab.winsim.mirror FOLDER``.

Each file has the name of the real one and a few bytes of content, always the same. ``sums.json`` holds their SHA-256 by
name, for the inventory of a test; what running one of them leaves behind is in ``programs/installers.py``.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path

PLAIN = (
    "python-3.12.10-amd64.exe",
    "VC_redist.x64.exe",
    "directx_Jun2010_redist.exe",
    "573.42-quadro-rtx-desktop-notebook-win10-win11-64bit-international-dch-whql.exe",
)
MIME_TYPES = "types {\n    text/html html;\n    application/javascript js;\n}\n"
ARCHIVES = {
    "shawl-v1.9.0-win64.zip": {"shawl.exe": "MZ shawl", "LICENSE": "MIT"},
    "nginx-1.28.2.zip": {
        "nginx-1.28.2/nginx.exe": "MZ nginx",
        "nginx-1.28.2/conf/mime.types": MIME_TYPES,
        "nginx-1.28.2/conf/nginx.conf": "# the distribution's own\n",
        "nginx-1.28.2/html/index.html": "<p>nginx</p>\n",
    },
}


def make(folder: Path) -> dict[str, str]:
    """Write all files into ``folder``; returns their SHA-256 by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PLAIN:
        (folder / name).write_text(f"stand-in for {name}\n")
    for name, members in ARCHIVES.items():
        write_zip(folder / name, {member: text.encode() for member, text in members.items()})
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (*PLAIN, *ARCHIVES)}
    (folder / "sums.json").write_text(json.dumps(sums, indent=1))
    return sums


def write_zip(file: Path, members: dict[str, bytes]) -> None:
    """Write an archive whose bytes depend on its members alone."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in sorted(members.items()):
            archive.writestr(zipfile.ZipInfo(name), data)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
