"""The closure of the runtime resolves to wheels for Windows: what the controller builds for a host is complete."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy.running import PROJECT, load_plugin
from tests.lab.winsim import scenario
from tests.lab.winsim.programs import pip


@pytest.mark.timeout(600)
def test_every_requirement_has_a_wheel_for_windows(tmp_path: Path) -> None:
    wheel = scenario.wheel(tmp_path, "99.0.0")
    command = [
        sys.executable,
        str(PROJECT / "roles/runtime_install/files/build_bundle.py"),
        f"--source={PROJECT}",
        f"--cache={PROJECT / '.cache/deploy'}",
        "--python=3.12",
        "--platform=windows-x86_64",
        f"--wheel={wheel}",
        "--requirements=requirements/runtime.txt",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, done.stdout + done.stderr
    bundle = Path(json.loads(done.stdout)["bundle"])
    with zipfile.ZipFile(bundle) as archive:
        names = [Path(name).name for name in archive.namelist() if name.startswith("wheels/")]
        listing = archive.read("requirements.txt").decode().splitlines()
    assert [name for name in names if not pip.fits(name)] == []
    assert len(names) == len([line for line in listing if line.strip()])
    assert {name.split("-")[0] for name in names} >= {"aiortc", "av", "cryptography", "msgspec", "psutil", "tornado"}
    assert all("--hash=sha256:" in line for line in listing if line.strip())


def test_what_cannot_be_had_for_windows_is_marked_in_the_lock() -> None:
    bundle = load_plugin("roles/runtime_install/files/build_bundle.py")
    text = (PROJECT / "requirements/runtime.txt").read_text()
    windows = {line.split("==")[0] for line in bundle.requirements_for([text], "3.12", "windows-x86_64")}
    assert "uvloop" not in windows
    assert {"aiortc", "psutil", "tornado"} <= windows
