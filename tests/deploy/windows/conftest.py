from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.simulated import SimulatedHost, simulated_host


@pytest.fixture
def host(tmp_path: Path, shared: Path) -> Iterator[SimulatedHost]:
    with simulated_host(tmp_path, shared, "127.77.2.21") as running:
        yield running
