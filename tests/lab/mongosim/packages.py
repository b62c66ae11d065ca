"""Debian packages of the stand-in that look like MongoDB's from outside, in a signed repository.

python -m tests.lab.mongosim.packages DIRECTORY       writes DIRECTORY/*.deb, InRelease and key.asc
"""

from __future__ import annotations

import email.utils
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# What the stand-in needs, as Python alone: the lab's machines may have another Python than this one.
LIBRARIES = ("bson", "pymongo", "nx_27017", "neosqlite", "yaml")
LIBRARY = "usr/lib/mongosim"
SECONDS = 60
PROGRAM = """#!/bin/sh
PYTHONPATH=/usr/lib/mongosim PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 -m {module} "$@"
"""
# As in MongoDB's package: no restart, no sandbox, the user of the package.
UNIT = """[Unit]
Description=MongoDB Database Server
Documentation=https://docs.mongodb.org/manual
After=network-online.target
Wants=network-online.target

[Service]
User=mongodb
Group=mongodb
EnvironmentFile=-/etc/default/mongod
Environment="MONGODB_CONFIG_OVERRIDE_NOFORK=1"
ExecStart=/usr/bin/mongod --config /etc/mongod.conf
RuntimeDirectory=mongodb
LimitNOFILE=64000
TasksMax=infinity
TasksAccounting=false

[Install]
WantedBy=multi-user.target
"""
CONFIGURATION = """storage:
  dbPath: /var/lib/mongodb
systemLog:
  destination: file
  logAppend: true
  path: /var/log/mongodb/mongod.log
net:
  port: 27017
  bindIp: 127.0.0.1
"""
# MongoDB's package makes user and directories, and starts nothing.
AFTER_INSTALLATION = """#!/bin/sh
set -e
if ! getent passwd mongodb >/dev/null; then
  useradd --system --user-group --no-create-home --home-dir /home/mongodb --shell /usr/sbin/nologin mongodb
fi
for directory in /var/lib/mongodb /var/log/mongodb; do
  mkdir -p "$directory"
  chown mongodb:mongodb "$directory"
done
"""
CONTROL = """Package: {name}
Version: 8.0.0
Architecture: all
Maintainer: lab
Depends: {depends}
Description: stand-in for the package of that name, for tests
"""


def _write(file: Path, text: str, mode: int = 0o644) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def _library(tree: Path) -> None:
    sources = {name: importlib.util.find_spec(name) for name in LIBRARIES}
    for name, found in sources.items():
        assert found is not None, f"{name} is not installed: pip install --requirement requirements/dev.txt"
        assert found.origin is not None
        _python_only(Path(found.origin).parent, tree / LIBRARY / name)
    _python_only(HERE, tree / LIBRARY / "mongosim")


def _python_only(source: Path, target: Path) -> None:
    def others(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if not name.endswith(".py") and not (Path(folder) / name).is_dir()]

    shutil.copytree(source, target, ignore=others)
    for cache in target.rglob("__pycache__"):
        shutil.rmtree(cache)


def _build(tree: Path, name: str, depends: str, target: Path) -> None:
    _write(tree / "DEBIAN/control", CONTROL.format(name=name, depends=depends))
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(target / f"{name}.deb")]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
    shutil.rmtree(tree)


def _sign(target: Path) -> None:
    """Write InRelease, and the public key beside it."""
    index = subprocess.run(
        ["dpkg-scanpackages", "--multiversion", "."], cwd=target, check=True, capture_output=True, timeout=SECONDS
    ).stdout
    (target / "Packages").write_bytes(index)
    digest = hashlib.sha256(index).hexdigest()
    date = email.utils.formatdate(usegmt=True)
    (target / "Release").write_text(
        f"Origin: lab\nLabel: lab\nDate: {date}\nSHA256:\n {digest} {len(index)} Packages\n"
    )
    home = target / "gpg"
    home.mkdir(mode=0o700)
    environment = os.environ | {"GNUPGHOME": str(home)}
    for arguments in (
        ["--batch", "--passphrase", "", "--quick-generate-key", "lab <lab@lab.test>", "ed25519", "sign", "never"],
        ["--batch", "--clear-sign", "--output", "InRelease", "Release"],
        ["--batch", "--armor", "--output", "key.asc", "--export"],
    ):
        subprocess.run(
            ["gpg", *arguments], cwd=target, env=environment, check=True, capture_output=True, timeout=SECONDS
        )
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, capture_output=True, timeout=SECONDS)
    shutil.rmtree(home)
    (target / "Release").unlink()


def build(target: Path) -> Path:
    """Make the repository; return the file of its key."""
    target.mkdir(parents=True)
    tree = target / "tree"
    _library(tree)
    _write(tree / "usr/bin/mongod", PROGRAM.format(module="mongosim"), 0o755)
    _write(tree / "lib/systemd/system/mongod.service", UNIT)
    _write(tree / "etc/mongod.conf", CONFIGURATION)
    _write(tree / "DEBIAN/conffiles", "/etc/mongod.conf\n")
    _write(tree / "DEBIAN/postinst", AFTER_INSTALLATION, 0o755)
    _build(tree, "mongodb-org-server", "python3", target)
    for name in ("mongodump", "mongorestore"):
        _write(tree / f"usr/bin/{name}", PROGRAM.format(module=f"mongosim.tools {name}"), 0o755)
    _build(tree, "mongodb-database-tools", "mongodb-org-server", target)
    _sign(target)
    return target / "key.asc"


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
