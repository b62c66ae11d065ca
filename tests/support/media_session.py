"""A hub with its events on record, and raw peers that are closed in the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from runtime.relay.rtc.hub import MediaHub, MediaSettings
from tests.support.media_peer import RawPeer
from tests.support.waiting import until


class Recorder:
    """Every event of a hub, in order, as (name, *arguments)."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def on_player_open(self, player_id: str) -> None:
        self.events.append(("player_open", player_id))

    def on_player_media(self, player_id: str) -> None:
        self.events.append(("player_media", player_id))

    def on_player_data(self, player_id: str, message: bytes) -> None:
        self.events.append(("player_data", player_id, message))

    def on_player_closed(self, player_id: str, why: str) -> None:
        self.events.append(("player_closed", player_id, why))

    def on_reoffer(self, player_id: str) -> None:
        self.events.append(("reoffer", player_id))

    def on_streamer_open(self) -> None:
        self.events.append(("streamer_open",))

    def on_streamer_media(self) -> None:
        self.events.append(("streamer_media",))

    def on_streamer_data(self, message: bytes) -> None:
        self.events.append(("streamer_data", message))

    def on_streamer_player_data(self, player_id: str, message: bytes) -> None:
        self.events.append(("streamer_player_data", player_id, message))

    def on_streamer_closed(self, why: str) -> None:
        self.events.append(("streamer_closed", why))

    def named(self, name: str) -> list[tuple[object, ...]]:
        return [event for event in self.events if event[0] == name]


class Session:
    """A running hub and everybody connected to it."""

    def __init__(self, settings: MediaSettings) -> None:
        self.events = Recorder()
        self.hub = MediaHub(settings, self.events)
        self.peers: list[RawPeer] = []

    async def peer(self, host: str = "127.0.0.1", *, aes_gcm: bool = True) -> RawPeer:
        peer = RawPeer(aes_gcm=aes_gcm)
        await peer.open(host)
        self.peers.append(peer)
        return peer

    async def streamer(self, codec: str = "VP8", host: str = "127.0.0.1", **offer: object) -> RawPeer:
        peer = await self.peer(host)
        peer.open_channel()
        await peer.connect(await self.hub.answer_streamer(peer.offer(codec, **offer)))  # type: ignore[arg-type]
        await until(lambda: (stats := self.hub.stats().streamer) is not None and stats.connected, what="streamer")
        return peer

    async def player(
        self,
        player_id: str = "p1",
        host: str = "127.0.0.1",
        *,
        accept_rtx: bool = True,
        aes_gcm: bool = True,
        microphone: bool = False,
        feedback: tuple[str, ...] = (),
    ) -> RawPeer:
        peer = await self.peer(host, aes_gcm=aes_gcm)
        offer = await self.hub.offer_player(player_id)
        peer.know(offer)
        answer = peer.answer(offer, accept_rtx=accept_rtx, microphone=microphone, feedback=feedback)
        await self.hub.accept_player_answer(player_id, answer)
        await peer.connect()
        await until(lambda: ("player_media", player_id) in self.events.events, what="player media")
        return peer

    async def close(self) -> None:
        for peer in self.peers:
            await peer.close()
        await self.hub.close()


@contextlib.asynccontextmanager
async def filming(send_frame: Callable[[int], Awaitable[None]], interval_seconds: float = 0.02) -> AsyncIterator[None]:
    """Meanwhile ``send_frame`` is called with 0, 1, 2, ... at this pace."""
    stop = asyncio.Event()

    async def film() -> None:
        frame = 0
        while not stop.is_set():
            await send_frame(frame)
            frame += 1
            await asyncio.sleep(interval_seconds)

    task = asyncio.get_running_loop().create_task(film())
    try:
        yield
    finally:
        stop.set()
        await task


SessionMaker = Callable[..., Awaitable[Session]]
