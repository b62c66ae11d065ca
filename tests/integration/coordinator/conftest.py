"""A stand per test over one database per run and engine; each test has a database name of its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.coordinator.database import DatabaseProcess, database, engines
from tests.support.coordinator.stand import Stand


@pytest.fixture(scope="session", params=engines())
def engine(request: pytest.FixtureRequest) -> Iterator[DatabaseProcess]:
    """Shared by all tests of a run; do not hurt it."""
    running = database(request.param)
    running.start()
    yield running
    running.close()


@pytest.fixture
async def stand(engine: DatabaseProcess) -> AsyncIterator[Stand]:
    stand = Stand(engine.uri, f"t{secrets.token_hex(6)}")
    yield stand
    await stand.close()
