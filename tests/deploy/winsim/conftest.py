from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.running import BIN
from tests.deploy.simulated import SimulatedHost, simulated_host
from tests.lab.winsim import scenario


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (BIN / "ansible-playbook").exists():
        pytest.skip("Ansible is not installed in this environment: pip install --requirement requirements/deploy.txt")
    folder = tmp_path_factory.mktemp("simulated")
    scenario.prepare(folder)
    return folder


@pytest.fixture
def host(tmp_path: Path, shared: Path) -> Iterator[SimulatedHost]:
    with simulated_host(tmp_path, shared, "127.77.2.11") as running:
        yield running
