"""A signalling server, streamer processes and players that are gone after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.streamer_peer import JoinPlayer, Receiver, SignallingServer, StartStreamer, StreamerProcess


@pytest.fixture
async def server() -> AsyncIterator[SignallingServer]:
    signalling = SignallingServer()
    yield signalling
    await signalling.close()


@pytest.fixture
async def start(server: SignallingServer) -> AsyncIterator[StartStreamer]:
    """Start a streamer; it is told the server's address unless ``url`` says otherwise."""
    started: list[StreamerProcess] = []

    async def begin(*arguments: str, **named: str | None) -> StreamerProcess:
        streamer = await StreamerProcess.start(*arguments, **{"url": server.url, **named})
        started.append(streamer)
        return streamer

    yield begin
    for streamer in started:
        await streamer.stop()


@pytest.fixture
async def join(server: SignallingServer, start: StartStreamer) -> AsyncIterator[JoinPlayer]:
    """Join a player to the streamer that is connected."""
    joined: list[Receiver] = []

    async def enter(player_id: str = "player1", *, sfu: bool = False) -> Receiver:
        receiver = Receiver(server, player_id)
        joined.append(receiver)
        return await receiver.join(sfu=sfu)

    yield enter
    for receiver in joined:
        await receiver.leave()
