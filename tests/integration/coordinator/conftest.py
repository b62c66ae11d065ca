"""A stand per test over one database per run and engine; each test has a database name of its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from runtime.chassis.clock import Clock, SystemClock
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
def clock() -> Clock:
    """The machine's; a module about hours and days has its own that it moves by hand."""
    return SystemClock()


@pytest.fixture
async def stand(engine: DatabaseProcess, clock: Clock) -> AsyncIterator[Stand]:
    stand = Stand(engine.uri, f"t{secrets.token_hex(6)}", clock)
    yield stand
    await stand.close()
