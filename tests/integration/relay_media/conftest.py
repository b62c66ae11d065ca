"""Fixtures: a running media hub, with settings or without."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from runtime.relay.rtc.hub import MediaSettings
from tests.support.media_session import Session, SessionMaker


@pytest.fixture
async def make_session() -> AsyncIterator[SessionMaker]:
    made: list[Session] = []

    async def make(**settings: object) -> Session:
        session = Session(MediaSettings(**settings))  # type: ignore[arg-type]
        made.append(session)
        await session.hub.start()
        return session

    yield make
    for session in made:
        await session.close()


@pytest.fixture
async def session(make_session: SessionMaker) -> Session:
    return await make_session()
