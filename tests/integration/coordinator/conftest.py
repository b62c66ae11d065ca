"""A stand per test over one embedded database per run; each test has a database name of its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.coordinator.database import EmbeddedDatabase
from tests.support.coordinator.stand import Stand


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedDatabase]:
    database = EmbeddedDatabase()
    database.start()
    yield database
    database.close()


@pytest.fixture
async def stand(embedded: EmbeddedDatabase) -> AsyncIterator[Stand]:
    stand = Stand(embedded.uri, f"t{secrets.token_hex(6)}")
    yield stand
    await stand.close()
