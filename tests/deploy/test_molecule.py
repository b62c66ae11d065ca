"""The molecule scenarios: real systemd machines, deployed by the playbooks that operators run.

Each takes minutes. They need root (containers, a bridge), and build their image and package repository once
(``.cache/lab``). Logs of a failed run are kept in ``.build/molecule/<scenario>-test.log``.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .lab import missing
from .running import BIN, PROJECT, ansible_environment

SCENARIO_SECONDS = 1500


def run(arguments: list[str], scenario: str, home: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    log = PROJECT / ".build/molecule" / f"{scenario}-{arguments[0]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = ansible_environment(home) | {
        "MOLECULE_GLOB": "tests/molecule/*/molecule.yml",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(home / "molecule"),
    }
    del environment["ANSIBLE_CONFIG"]  # molecule writes its own
    with log.open("w") as output:
        result = subprocess.run(
            [str(BIN / "molecule"), *arguments, "--scenario-name", scenario],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=seconds,
        )
    return subprocess.CompletedProcess(result.args, result.returncode, log.read_text(), "")


def play(scenario: str, home: Path) -> None:
    """Run a scenario, which ends with its destruction; where it had no time for that, destroy what it left."""
    try:
        result = run(["test", "--destroy", "always"], scenario, home, SCENARIO_SECONDS)
    except BaseException:
        run(["destroy"], scenario, home, 120)
        raise
    assert result.returncode == 0, result.stdout[-8000:]


@pytest.mark.root
@pytest.mark.timeout(SCENARIO_SECONDS + 60)
@pytest.mark.parametrize("scenario", ["coordinator", "full"])
def test_scenario(scenario: str, tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    play(scenario, tmp_path)
