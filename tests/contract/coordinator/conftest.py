"""The store's promises on every engine that is there: embedded always, FerretDB when on PATH, MONGODB_URI when set."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from runtime.chassis.clock import ManualClock
from runtime.coordinator.store.store import Store
from tests.support.coordinator.database import database, engines


@pytest.fixture(scope="session", params=engines())
def engine_uri(request: pytest.FixtureRequest) -> Iterator[str]:
    engine = database(request.param)
    engine.start()
    yield engine.uri
    engine.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def stores(engine_uri: str, clock: ManualClock) -> AsyncIterator[tuple[Store, Store]]:
    """Two processes' stores over one new database."""
    name = f"contract_{secrets.token_hex(6)}"
    pair = tuple(Store(engine_uri, name, writer=writer, clock=clock) for writer in ("one", "two"))
    for store in pair:
        await store.open()
    yield pair
    await pair[0].connection.drop_database()
    for store in pair:
        await store.close()


@pytest.fixture
def store(stores: tuple[Store, Store]) -> Store:
    return stores[0]
