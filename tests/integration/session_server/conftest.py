from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.session_server.coordinator import HOST_KEY, FakeCoordinator, fake_coordinator
from tests.support.session_server.host import HostUnderTest


@pytest.fixture
async def coordinator() -> AsyncIterator[FakeCoordinator]:
    async with fake_coordinator("gpu1", HOST_KEY) as coordinator:
        yield coordinator


@pytest.fixture
async def idle_host(tmp_path: Path, coordinator: FakeCoordinator) -> AsyncIterator[HostUnderTest]:
    """Not started yet, so that a test may change its settings."""
    host = HostUnderTest(tmp_path, coordinator)
    try:
        yield host
    finally:
        await host.close()


@pytest.fixture
async def host(idle_host: HostUnderTest) -> HostUnderTest:
    await idle_host.start()
    return idle_host
