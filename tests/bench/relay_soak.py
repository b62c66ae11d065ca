"""``make bench NAME=relay_soak``: does a relay that people join and leave for an hour stay as small as it was?

A real relay process with one small stream (0.6 Mbit/s, so that a soak disturbs nothing else on the machine). Some
viewers stay from beginning to end; guests come and go all the time, each with a player and a room page, media, data
channel, chat, and now and then voice. Some leave without a goodbye. Prints the relay's memory once a minute and one
JSON object last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tornado.websocket import WebSocketClientConnection

from runtime.chassis.clock import SystemClock
from runtime.chassis.entropy import new_session_id
from runtime.chassis.tokens import TokenSigner
from runtime.protocol.states import Role
from tests.integration.relay_room.relay_harness import KEY, STREAMER_SECRET, Socket, person, up, write_config
from tests.support.media_peer import VP8_DELTA, VP8_KEYFRAME, RawPeer
from tests.support.waiting import until

FPS, PACKETS_PER_FRAME, PACKET_BYTES = 30, 2, 1200
SAMPLE_SECONDS = 20.0
# What the first minutes allocate (caches that fill, the allocator's arenas) is not growth.
SETTLE_SHARE = 0.15
WARM_UP_GUESTS = 12
STAY_SECONDS = 10.0


class Title(Socket):
    """The application: identifies itself, offers, and sends frames until it is closed."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        super().__init__(connection)
        self.peer = RawPeer()
        self.sends: asyncio.Task[None] | None = None

    async def on_message(self, body: dict[str, Any]) -> None:
        if body["type"] == "identify":
            await self.say("endpointId", id="Soak")
        elif body["type"] == "playerConnected":
            await self.peer.open()
            self.peer.open_channel()
            await self.say("offer", sdp=self.peer.offer("VP8", audio=False), playerId=body["playerId"])
        elif body["type"] == "answer":
            await self.peer.connect(body["sdp"])
            self.sends = asyncio.create_task(self._send())

    async def _send(self) -> None:
        begin = time.monotonic()
        for frame in itertools.count():
            body = VP8_KEYFRAME if frame % (10 * FPS) == 0 else VP8_DELTA
            for i in range(PACKETS_PER_FRAME):
                last = i == PACKETS_PER_FRAME - 1
                payload = (body if i == 0 else b"\x80" + body[1:]).ljust(PACKET_BYTES, b"\0")
                await self.peer.send_rtp(self.peer.packet(timestamp=frame * 3000, marker=last, payload=payload))
            self.peer.rtcp.clear()
            self.peer.messages.clear()
            self.peer.ice.raw.clear()
            self.heard.clear()
            await asyncio.sleep(max(0.0, begin + (frame + 1) / FPS - time.monotonic()))


class Page(Socket):
    """A player's signalling, with a raw peer for its media."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        super().__init__(connection)
        self.peer = RawPeer()
        self.packets = 0

    async def on_message(self, body: dict[str, Any]) -> None:
        if body["type"] == "config":
            await self.say("listStreamers")
        elif body["type"] == "streamerList" and body["ids"]:
            await self.say("subscribe", streamerId=body["ids"][0])
        elif body["type"] == "offer":
            await self.peer.open()
            self.peer.know(body["sdp"])
            await self.say("answer", sdp=self.peer.answer(body["sdp"]))
            await self.peer.connect()

    def forget(self) -> int:
        """Drop what was received, so that the load generator does not grow; returns how many packets it was."""
        count = len(self.peer.rtp)
        self.peer.rtp.clear()
        self.peer.rtcp.clear()
        self.peer.messages.clear()
        self.peer.ice.raw.clear()
        self.heard.clear()
        self.packets += count
        return count

    async def streaming(self) -> None:
        await until(lambda: self.peer.rtp and self.peer.channel is not None, f"a picture; heard {self.kinds()}")


@dataclass
class Relay:
    """The process under test and how to get in."""

    process: psutil.Process
    public: str
    private: str
    session_id: str
    signer: TokenSigner
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def newcomer(self, role: Role) -> str:
        """A join token of somebody who was never here."""
        name = "".join("abcdefghijklmnopqrstuvwxyz"[int(digit)] for digit in f"{next(self.numbers):07}")
        return self.signer.sign(self.session_id, person(name), role, name, 24 * 3600)[0]

    async def page(self, token: str) -> Page:
        return await Page.open(f"ws://{self.public}/player?token={token}")

    async def room(self, token: str) -> Socket:
        room = await Socket.open(f"ws://{self.public}/room")
        try:
            await room.say("hello", version=1, token=token)
            await room.hear("welcome")
        except BaseException:
            await room.end()
            raise
        return room

    @property
    def mib(self) -> float:
        """What is the process's alone, also where the system has written it to its swap space: the resident size falls
        when other programs need memory, and says nothing then."""
        memory = self.process.memory_full_info()
        return float(memory.uss + getattr(memory, "swap", 0)) / 2**20

    @property
    def descriptors(self) -> int:
        return int(self.process.num_fds())


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Relay]:
    signer, session_id = TokenSigner(KEY, SystemClock()), new_session_id()
    policy = {"max_players": 200, "voice": True, "idle_seconds": 0, "max_length_seconds": None}
    config = write_config(directory, session_id, signer, log={"level": "warning"}, policy=policy)
    with (directory / "relay.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "runtime", "relay", "--config", str(config), stdout=log, stderr=log
        )
    ready = directory / "ready.json"
    try:
        await until(lambda: ready.exists() or process.returncode is not None, "the relay is up")
        facts = json.loads(ready.read_text(encoding="utf-8"))
        public, private = f"127.0.0.1:{facts['port']}", f"127.0.0.1:{facts['private_port']}"
        yield Relay(psutil.Process(process.pid), public, private, session_id, signer)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        sys.stderr.write((directory / "relay.log").read_text(encoding="utf-8", errors="replace")[-4000:])


async def talk(room: Socket) -> None:
    """A voice call, joined and left again."""
    await room.say("voice.join")
    offer = await room.hear("voice.offer")
    peer = RawPeer()
    await peer.open()
    try:
        peer.know(offer["sdp"])
        await room.say("voice.answer", sdp=peer.answer(offer["sdp"], microphone=True))
        await peer.connect()
        await room.say("voice.leave")
    finally:
        await peer.close()


async def guest(relay: Relay, number: int, stay_seconds: float) -> None:
    """One person's visit, from the join link to the closed tab. Raises when any of it did not work."""
    token = relay.newcomer(Role.WATCHER)
    room = await relay.room(token)
    try:
        page = await relay.page(token)
    except BaseException:
        await room.end()
        raise
    vanishes = number % 5 == 0
    try:
        await page.streaming()
        assert page.peer.channel is not None
        page.peer.send_data(up("LatencyTest", "{}"))
        await room.say("chat", text=f"guest {number}")
        if number % 3 == 0:
            await talk(room)
        await asyncio.sleep(stay_seconds)
    finally:
        if vanishes:
            page.peer.vanish()
            await page.vanish()
            await room.vanish()
        else:
            await page.end(1001)
            await page.peer.close()
            await room.end()


@dataclass
class Visits:
    """Guests that come in a steady row."""

    relay: Relay
    every_seconds: float
    count: int = 0
    failures: list[str] = field(default_factory=list)
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def present(self) -> int:
        return len(self._running)

    async def go_on(self, until_time: float) -> None:
        while time.monotonic() < until_time:
            self.count += 1
            task = asyncio.create_task(self._one(self.count))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            await asyncio.sleep(self.every_seconds)
        await asyncio.gather(*self._running)

    async def _one(self, number: int) -> None:
        try:
            await guest(self.relay, number, STAY_SECONDS)
        except Exception as error:  # counted and told: a soak goes on
            self.failures.append(f"guest {number}: {type(error).__name__}: {error}")
            print(self.failures[-1], file=sys.stderr, flush=True)


@dataclass
class Samples:
    """The relay's memory over time, from when viewers were in."""

    began: float = field(default_factory=time.monotonic)
    points: list[tuple[float, float, int]] = field(default_factory=list)  # (seconds, MiB, viewers)

    def add(self, mib: float, viewers: int) -> float:
        seconds = time.monotonic() - self.began
        self.points.append((seconds, mib, viewers))
        return seconds

    def around(self, seconds: float) -> tuple[float, float, int]:
        """The sample of that time, or the last one of a shorter soak."""
        return min(self.points, key=lambda point: abs(point[0] - seconds))

    def growth_per_hour(self) -> float:
        """Slope of a line through everything after the settling."""
        late = [p for p in self.points if p[0] >= SETTLE_SHARE * self.points[-1][0]]
        if len(late) < 2:
            return 0.0
        return statistics.linear_regression([p[0] for p in late], [p[1] for p in late]).slope * 3600


async def watch(
    relay: Relay, residents: list[tuple[Page, Socket]], visits: Visits, samples: Samples, until_time: float
) -> int:
    """Sample until it is time; returns how many residents did not get their picture in some interval."""
    starved = 0
    lines = itertools.count()
    while time.monotonic() < until_time:
        await asyncio.sleep(min(SAMPLE_SECONDS, max(0.1, until_time - time.monotonic())))
        for page, room in residents:
            starved += page.forget() == 0
            room.heard.clear()
        seconds = samples.add(relay.mib, len(residents) + visits.present)
        if next(lines) % 3 == 0:
            print(f"{seconds / 60:5.1f} min {relay.mib:7.2f} MiB, {relay.descriptors} descriptors", flush=True)
    return starved


async def soak(minutes: float, viewers: int, every_seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="relay-soak-") as name:
        async with running(Path(name)) as relay:
            title = await Title.open(f"ws://{relay.private}/streamer/{STREAMER_SECRET}")
            try:
                await until(lambda: title.sends is not None, "the application streams")
                await asyncio.gather(*(guest(relay, n, 0.5) for n in range(1, WARM_UP_GUESTS + 1)))
                return await _measured(relay, minutes, viewers, every_seconds)
            finally:
                if title.sends is not None:
                    title.sends.cancel()
                with contextlib.suppress(Exception):
                    await title.end()
                    await title.peer.close()


async def _measured(relay: Relay, minutes: float, viewers: int, every_seconds: float) -> dict[str, Any]:
    before, cpu_before = relay.mib, sum(relay.process.cpu_times()[:2])
    residents: list[tuple[Page, Socket]] = []
    for n in range(viewers):
        token = relay.newcomer(Role.OWNER if n == 0 else Role.WATCHER)
        room = await relay.room(token)
        page = await relay.page(token)
        await page.streaming()
        residents.append((page, room))
    samples, visits = Samples(), Visits(relay, every_seconds)
    samples.add(relay.mib, viewers)
    end = time.monotonic() + 60 * minutes
    starved, _ = await asyncio.gather(watch(relay, residents, visits, samples, end), visits.go_on(end))
    wall = time.monotonic() - samples.began
    cpu = sum(relay.process.cpu_times()[:2]) - cpu_before
    for page, room in residents:
        await page.end(1001)
        await page.peer.close()
        await room.end()
    await asyncio.sleep(2.0)
    growth = samples.growth_per_hour()
    at, mib, present = samples.around(1800)
    return {
        "minutes": round(wall / 60, 1),
        "viewers_staying": viewers,
        "joins": visits.count,
        "joins_failed": len(visits.failures),
        "intervals_without_picture": starved,
        "mib_before_viewers": round(before, 2),
        # With everything that the stream itself takes, the packet cache above all.
        "mib_per_viewer": round((mib - before) / present, 3),
        "mib_per_viewer_measured_at_minutes": round(at / 60, 1),
        "viewers_then": present,
        "mib_at_the_end": round(samples.points[-1][1], 2),
        "mib_growth_per_hour": round(growth, 3),
        "bytes_growth_per_join": round(growth * 2**20 / 3600 * every_seconds),
        "mib_after_everybody_left": round(relay.mib, 2),
        "descriptors_after_everybody_left": relay.descriptors,
        "relay_cpu_percent": round(100 * cpu / wall, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--viewers", type=int, default=8, help="who stay from beginning to end")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two guests")
    arguments = parser.parse_args()
    figures = asyncio.run(soak(arguments.minutes, arguments.viewers, arguments.every))
    figures["machine"] = f"{os.cpu_count()} CPUs, {platform.platform()}, Python {platform.python_version()}"
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
