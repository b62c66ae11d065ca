"""Molecule scenarios with simulated Windows hosts: three alone, and two behind a coordinator on real systemd."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.lab import missing
from tests.deploy.test_molecule import SCENARIO_SECONDS, play


@pytest.mark.root
@pytest.mark.timeout(SCENARIO_SECONDS + 60)
@pytest.mark.parametrize("scenario", ["session_host", "mixed"])
def test_scenario(scenario: str, tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    play(scenario, tmp_path)
