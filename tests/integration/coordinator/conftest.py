"""A stand per test over one database per run and engine; each test has a database name of its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from runtime.chassis.clock import Clock, SystemClock
from tests.support.coordinator.database import DatabaseProcess, database, engines
from tests.support.coordinator.stand import Stand


@contextmanager
def _running(engine: str) -> Iterator[DatabaseProcess]:
    own = database(engine)
    own.start()
    try:
        yield own
    finally:
        own.close()


@pytest.fixture(scope="session", params=engines())
def engine(request: pytest.FixtureRequest) -> Iterator[DatabaseProcess]:
    """Shared by all tests of a run; do not hurt it."""
    with _running(request.param) as running:
        yield running


@pytest.fixture(params=[name for name in engines() if name != "mongodb"])
def own_database(request: pytest.FixtureRequest) -> Iterator[DatabaseProcess]:
    """One that a test may hurt."""
    with _running(request.param) as own:
        yield own


@pytest.fixture
async def fragile(own_database: DatabaseProcess) -> AsyncIterator[Stand]:
    """A stand over a database that may be paused or gone at the end."""
    stand = Stand(own_database.uri, "t")
    yield stand
    own_database.resume()
    await stand.close()


@pytest.fixture
def clock() -> Clock:
    """The machine's; a module about hours and days has its own that it moves by hand."""
    return SystemClock()


@pytest.fixture
async def stand(engine: DatabaseProcess, clock: Clock) -> AsyncIterator[Stand]:
    stand = Stand(engine.uri, f"t{secrets.token_hex(6)}", clock)
    yield stand
    await stand.close()
