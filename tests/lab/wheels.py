"""Wheels of this checkout for the scenarios: ``python -m tests.lab.wheels`` prints the folder that holds them.

``now`` is the checkout as it is, ``next`` the same with a higher version, ``broken`` one whose coordinator does not
start. They are kept below ``.cache/lab/wheels`` under a name made of what they are built from; the newest few stay.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("LAB_CACHE") or PROJECT / ".cache/lab") / "wheels"
KEEP = 3
BROKEN = 'def main(argv):\n    print("this version does not start")\n    return 1\n'


def copied(source: Path) -> str:
    """Copy what wheels are built from, since work may go on in the checkout; returns its digest, as deployments do."""
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / file, source / file)
    shutil.copytree(PROJECT / "runtime", source / "runtime", ignore=shutil.ignore_patterns("web", "__pycache__"))
    specification = importlib.util.spec_from_file_location(
        "build_bundle", PROJECT / "roles/runtime_install/files/build_bundle.py"
    )
    assert specification is not None
    assert specification.loader is not None
    bundle = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(bundle)
    text: str = bundle.source_digest(source)
    return text[:24]


def build(source: Path, folder: Path) -> None:
    version = source / "runtime/__init__.py"
    text = version.read_text()
    for kind, number in (("now", None), ("next", "99.1.0"), ("broken", "99.2.0")):
        if number is not None:
            version.write_text(re.sub(r'(?m)^(__version__ *= *)"[^"]*"', rf'\g<1>"{number}"', text))
        if kind == "broken":
            (source / "runtime/coordinator/app.py").write_text(BROKEN)
        # With the build tool that this environment has: fetching it anew would take far longer than the build.
        options = ["--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder / kind}"]
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", *options, str(source)]
        subprocess.run(command, check=True, stdout=sys.stderr, timeout=300)


def main() -> int:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock, tempfile.TemporaryDirectory() as name:
        fcntl.flock(lock, fcntl.LOCK_EX)
        source = Path(name)
        final = CACHE / copied(source)
        if not final.is_dir():
            building = CACHE / f"{final.name}.building"
            shutil.rmtree(building, ignore_errors=True)
            build(source, building)
            building.rename(final)
        final.touch()
        kept = sorted((path for path in CACHE.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for old in kept[:-KEEP]:
            shutil.rmtree(old)
    print(final)
    return 0


if __name__ == "__main__":
    sys.exit(main())
