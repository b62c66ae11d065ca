"""Molecule scenarios with simulated Windows hosts: three alone, and two behind a coordinator on real systemd."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.lab import missing
from tests.deploy.test_molecule import SCENARIO_SECONDS, run


@pytest.mark.root
@pytest.mark.timeout(SCENARIO_SECONDS + 60)
@pytest.mark.parametrize("scenario", ["session_host", "mixed"])
def test_scenario(scenario: str, tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    try:
        result = run(["test", "--destroy", "always"], scenario, tmp_path, SCENARIO_SECONDS)
    finally:
        run(["destroy"], scenario, tmp_path, 120)
    assert result.returncode == 0, result.stdout[-8000:]
