"""A real relay process, and small real peers for it: streamer, player and room page."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import VideoStreamTrack
from av import VideoFrame
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.iostream import IOStream
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from runtime.chassis.clock import SystemClock
from runtime.chassis.entropy import new_session_id
from runtime.chassis.tokens import TokenSigner, new_signing_key
from runtime.protocol import datachannel as dc
from runtime.protocol.datachannel import Direction, Vocabulary
from runtime.protocol.states import Role
from tests.support.waiting import until

DEADLINE_SECONDS = 15.0
KEY = new_signing_key()
PRIVATE_SECRET, STREAMER_SECRET = "private-secret-of-tests", "streamer-secret-of-tests"
UP = Vocabulary.built_in(Direction.TO_STREAMER)
PROTOCOL = (
    dc.text_message(255, json.dumps({"Direction": 0, "KeyDown": {"id": 60, "structure": ["uint8", "uint8"]}})),
    dc.text_message(255, json.dumps({"Direction": 1})),
)
SETTINGS = dc.text_message(7, json.dumps({"PixelStreaming": {"AllowPixelStreamingCommands": False}}))


def up(name: str, *values: Any) -> bytes:
    shape = UP.named(name)
    assert shape is not None
    return shape.message(*values)


class Socket:
    """A WebSocket client that collects what it hears."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.heard: list[dict[str, Any]] = []
        self.closed = asyncio.Event()
        self.is_ending = False
        self._deaf_stream: IOStream | None = None
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str, **headers: str) -> Self:
        request = HTTPRequest(url, headers=headers, request_timeout=DEADLINE_SECONDS)
        return cls(await websocket_connect(request))

    async def _read(self) -> None:
        while (text := await self.connection.read_message()) is not None:
            body = json.loads(text)
            self.heard.append(body)
            if not self.is_ending:
                with contextlib.suppress(WebSocketClosedError):
                    await self.on_message(body)
        self.closed.set()

    async def on_message(self, body: dict[str, Any]) -> None:
        """For subclasses."""

    async def say(self, kind: str, **members: Any) -> None:
        await self.connection.write_message(json.dumps({"type": kind, **members}))

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [body for body in self.heard if body["type"] == kind]

    async def hear(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The ``count``-th message of this type."""
        await until(lambda: len(self.all(kind)) >= count, f"message {count} of type {kind}, heard {self.kinds()}")
        return self.all(kind)[count - 1]

    def kinds(self) -> list[str]:
        return [body["type"] for body in self.heard]

    async def end(self, code: int = 1000) -> None:
        self.is_ending = True
        if self._deaf_stream is not None:
            self._deaf_stream.close()
            self.connection.protocol = None
            return
        self.connection.close(code, "left")
        await asyncio.wait_for(self.closed.wait(), DEADLINE_SECONDS)
        await self._reader

    async def vanish(self) -> None:
        """Like a page whose network or process is gone."""
        stream = self.connection.protocol.stream if self.connection.protocol is not None else None
        if stream is not None:
            stream.close()
        await asyncio.wait_for(self.closed.wait(), DEADLINE_SECONDS)

    def stop_reading(self) -> None:
        """Like a page that hangs: its socket stays open, and fills."""
        self.is_ending = True
        self._reader.cancel()
        assert self.connection.protocol is not None
        stream = self._deaf_stream = self.connection.protocol.stream
        assert isinstance(stream, IOStream)
        asyncio.get_running_loop().remove_reader(stream.socket)

    async def close_code(self) -> int | None:
        await asyncio.wait_for(self.closed.wait(), DEADLINE_SECONDS)
        return self.connection.close_code


class Picture(VideoStreamTrack):
    """A small grey picture, a few times a second."""

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(0.1)
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(64, 64, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        return frame


class Streamer(Socket):
    """A streamer as Epic's JSStreamer is one: offers to each ``playerConnected``."""

    streamer_id = "TestStreamer"
    offer_members: ClassVar[dict[str, Any]] = {}

    def __init__(self, connection: WebSocketClientConnection) -> None:
        super().__init__(connection)
        self.peer: RTCPeerConnection | None = None
        self.channel: RTCDataChannel | None = None
        self.got: list[bytes] = []

    async def on_message(self, body: dict[str, Any]) -> None:
        if body["type"] == "identify":
            await self.say("endpointId", id=self.streamer_id)
        elif body["type"] == "playerConnected":
            await self._offer(body["playerId"])
        elif body["type"] == "answer" and self.peer is not None:
            await self.peer.setRemoteDescription(RTCSessionDescription(body["sdp"], "answer"))

    async def _offer(self, player_id: Any) -> None:
        if self.peer is not None:
            await self.peer.close()
        self.peer = peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = channel = peer.createDataChannel("datachannel")
        channel.on("message", self.got.append)
        channel.on("open", self.greet)
        peer.addTrack(Picture())
        await peer.setLocalDescription(await peer.createOffer())
        await self.say("offer", sdp=peer.localDescription.sdp, playerId=player_id, **self.offer_members)

    def greet(self) -> None:
        for message in (*PROTOCOL, SETTINGS):
            self.send(message)

    def send(self, message: bytes) -> None:
        assert self.channel is not None
        self.channel.send(message)

    async def end(self, code: int = 1000) -> None:
        await super().end(code)
        if self.peer is not None:
            await self.peer.close()

    async def crash(self) -> None:
        """Socket and media stop without a word (as far as aiortc can)."""
        await self.vanish()
        if self.peer is not None:
            for transceiver in self.peer.getTransceivers():
                transceiver.sender.replaceTrack(None)
            await self.peer.close()


class Player(Socket):
    """A page with Epic's frontend, as far as signalling and data go."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        super().__init__(connection)
        self.peer: RTCPeerConnection | None = None
        self.channel: RTCDataChannel | None = None
        self.got: list[bytes] = []
        self.tracks: list[str] = []
        self.frames = 0
        self._drains: list[asyncio.Task[None]] = []

    async def on_message(self, body: dict[str, Any]) -> None:
        if body["type"] == "config":
            await self.say("listStreamers")
        elif body["type"] == "streamerList" and body["ids"]:
            await self._close_peer()
            await self.say("subscribe", streamerId=body["ids"][0])
        elif body["type"] == "offer":
            await self._answer(body["sdp"])

    async def _answer(self, sdp: str) -> None:
        await self._close_peer()
        self.peer = peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))

        @peer.on("datachannel")
        def on_channel(channel: RTCDataChannel) -> None:
            self.channel = channel
            channel.on("message", self.got.append)

        @peer.on("track")
        def on_track(track: Any) -> None:
            self._drains.append(asyncio.create_task(self._drain(track)))

        await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await self.say("layerPreference", spatialLayer=0, temporalLayer=0, playerId="")
        await peer.setLocalDescription(await peer.createAnswer())
        await self.say("answer", sdp=peer.localDescription.sdp, minBitrateBps=0, maxBitrateBps=0)

    async def _drain(self, track: Any) -> None:
        with contextlib.suppress(Exception):
            while True:
                await track.recv()
                self.frames += int(track.kind == "video")

    async def _close_peer(self) -> None:
        if self.peer is not None:
            peer, self.peer, self.channel = self.peer, None, None
            await peer.close()

    async def streaming(self) -> None:
        frames = self.frames
        await until(lambda: self.channel is not None and self.frames > frames, f"a picture; heard {self.kinds()}")

    def send(self, message: bytes) -> None:
        assert self.channel is not None
        self.channel.send(message)

    async def end(self, code: int = 1001) -> None:
        await super().end(code)
        await self._close_peer()
        for drain in self._drains:
            drain.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)


S = TypeVar("S", bound=Streamer)


@dataclass
class RelayProcess:
    """One running relay."""

    process: asyncio.subprocess.Process
    session_id: str
    ready: dict[str, int]
    directory: Path
    signer: TokenSigner
    open_sockets: list[Socket] = field(default_factory=list)

    def token(self, participant: str, role: Role = Role.WATCHER, name: str | None = None, valid: int = 600) -> str:
        return self.signer.sign(self.session_id, person(participant), role, name or participant, valid)[0]

    @property
    def public(self) -> str:
        return f"127.0.0.1:{self.ready['port']}"

    @property
    def private(self) -> str:
        return f"127.0.0.1:{self.ready['private_port']}"

    async def streamer(self) -> Streamer:
        return await self.streamer_of(Streamer)

    async def streamer_of(self, kind: type[S]) -> S:
        found = await kind.open(f"ws://{self.private}/streamer/{STREAMER_SECRET}")
        self.open_sockets.append(found)
        return found

    async def player(self, participant: str, role: Role = Role.WATCHER, kind: type[Player] = Player) -> Player:
        found = await kind.open(f"ws://{self.public}/player?token={self.token(participant, role)}")
        self.open_sockets.append(found)
        return found

    async def raw_room(self, **headers: str) -> Socket:
        found = await Socket.open(f"ws://{self.public}/room", **headers)
        self.open_sockets.append(found)
        return found

    async def room(self, participant: str, role: Role = Role.WATCHER, **hello: Any) -> Socket:
        """A page that is in; its first message is ``welcome``."""
        found = await self.raw_room()
        await found.say("hello", version=1, token=self.token(participant, role), **hello)
        await until(lambda: found.heard or found.closed.is_set(), "an answer to hello")
        return found

    async def get(
        self, path: str, *, method: str = "GET", body: Any = None, secret: str = PRIVATE_SECRET
    ) -> HTTPResponse:
        client = AsyncHTTPClient(force_instance=True)
        try:
            return await client.fetch(
                f"http://{self.private}{path}",
                method=method,
                body=json.dumps(body) if body is not None else None,
                headers={"Authorization": f"Bearer {secret}"},
                request_timeout=DEADLINE_SECONDS,
                raise_error=False,
            )
        finally:
            client.close()

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.get("/private/status")).body)
        return found

    async def status_where(self, test: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """By long polls, as the session server does."""
        status: dict[str, Any] = await self.status()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not test(status):
                path = f"/private/status?seen={status['version']}&wait_seconds=5"
                status = json.loads((await self.get(path)).body)
        return status

    async def stop(self, reason: str = "owner_ended") -> int:
        response = await self.get("/private/stop", method="POST", body={"reason": reason})
        assert response.code == 202
        return await self.exit_code()

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self.process.wait(), DEADLINE_SECONDS)

    def log(self) -> str:
        return (self.directory / "relay.log").read_text(encoding="utf-8")


def person(name: str) -> str:
    """A participant id that reads as a name: 16 characters of base32."""
    return (name + "a" * 16)[:16]


def write_config(directory: Path, session: str, signer: TokenSigner, **changes: Any) -> Path:
    config = {
        "session_id": session,
        "title": "test title",
        "listen": {"address": "127.0.0.1", "port": 0},
        "media": {"addresses": ["127.0.0.1"]},
        "ready_file": str(directory / "ready.json"),
        "streamer_secret": STREAMER_SECRET,
        "private_secret": PRIVATE_SECRET,
        "token_public_key": signer.public_key_pem,
        "log": {"level": "debug"},
        **changes,
    }
    path = directory / "relay.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Whatever the test did, the process does not outlive it."""
    try:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), DEADLINE_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def running_relay(directory: Path, **changes: Any) -> AsyncIterator[RelayProcess]:
    """A relay with ``changes`` to its configuration; afterwards it is gone, and its log holds no traceback."""
    signer, session_id = TokenSigner(KEY, SystemClock()), new_session_id()
    config = write_config(directory, session_id, signer, **changes)
    with (directory / "relay.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-X", "dev", "-m", "runtime", "relay", "--config", str(config),
            stdout=log, stderr=log, env={**os.environ, "PYTHONASYNCIODEBUG": "0"},
        )  # fmt: skip
    relay = RelayProcess(process, session_id, {}, directory, signer)
    ready = directory / "ready.json"
    try:
        await until(lambda: ready.exists() or process.returncode is not None, "the relay is up")
        assert process.returncode is None, relay.log()
        relay.ready = json.loads(ready.read_text(encoding="utf-8"))
        yield relay
    except BaseException:
        print(relay.log()[-6000:], file=sys.stderr)
        raise
    finally:
        try:
            for socket in relay.open_sockets:
                with contextlib.suppress(Exception):
                    await socket.end()
        finally:
            await _ended(process)
    text = relay.log()
    for secret in (PRIVATE_SECRET, STREAMER_SECRET, "eyJ"):
        assert secret not in text, "a secret reached the log"
    assert "Traceback" not in text, text[-6000:]
