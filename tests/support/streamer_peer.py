"""What a streamer talks to, for its tests: a signalling server as Epic's, and a peer that decodes what it is sent."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RTCP_PSFB_APP, RTCP_PSFB_PLI, RtcpPsfbPacket, pack_remb_fci
from av import AudioFrame, VideoFrame
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from runtime.protocol.datachannel import FROM_STREAMER, text_of
from runtime.streamer import marker
from runtime.streamer.marker import MarkerReading
from runtime.streamer.messages import from_player
from tests.support.waiting import until

SECRET = "s3cretpathpart"
T = TypeVar("T")


class _Socket(WebSocketHandler):
    def initialize(self, server: SignallingServer) -> None:
        self._server = server

    def open(self, *_: str) -> None:
        self._server.connections += 1
        self._server.socket = self
        for message in self._server.greeting:
            self.write_message(json.dumps(message))

    def on_message(self, message: str | bytes) -> None:
        self._server.received.append(json.loads(message))

    def on_close(self) -> None:
        if self._server.socket is self:
            self._server.socket = None


class SignallingServer:
    """The streamer's port of a signalling server. ``received`` holds every message in order."""

    def __init__(self, *, identify_first: bool = False) -> None:
        config = {"type": "config", "peerConnectionOptions": {"iceServers": []}, "protocolVersion": "1.3.0"}
        self.greeting: list[dict[str, Any]] = [config, {"type": "identify"}]
        if identify_first:
            self.greeting.reverse()
        self.received: list[dict[str, Any]] = []
        self.socket: _Socket | None = None
        self.connections = 0
        (bound,) = bind_sockets(0, "127.0.0.1")
        self.port = bound.getsockname()[1]
        self._http = HTTPServer(Application([(f"/streamer/{SECRET}", _Socket, {"server": self})]))
        self._http.add_sockets([bound])

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/streamer/{SECRET}"

    def send(self, **message: Any) -> None:
        assert self.socket is not None, "no streamer is connected"
        self.socket.write_message(json.dumps(message))

    def send_raw(self, text: str) -> None:
        assert self.socket is not None
        self.socket.write_message(text)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message["type"] == kind]

    async def identified(self) -> str:
        await until(lambda: self.of_type("endpointId"), "the streamer names itself")
        self.send(type="endpointIdConfirm", committedId=self.of_type("endpointId")[-1]["id"])
        return str(self.of_type("endpointId")[-1]["id"])

    async def close(self) -> None:
        self._http.stop()
        if self.socket is not None:
            self.socket.close()
        await self._http.close_all_connections()


class StreamerProcess:
    """The real program in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, log: list[str], reader: asyncio.Task[None]) -> None:
        self.process = process
        self.log = log
        self._reader = reader

    @classmethod
    async def start(cls, *arguments: str, url: str | None = None) -> StreamerProcess:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        environment.pop("PIXELSTREAM_STREAMER_URL", None)
        if url is not None:
            environment["PIXELSTREAM_STREAMER_URL"] = url
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "runtime", "streamer", *arguments,
            env=environment, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        log: list[str] = []

        async def read() -> None:
            assert process.stderr is not None
            while line := await process.stderr.readline():
                log.append(line.decode().rstrip())

        return cls(process, log, asyncio.create_task(read()))

    def logged(self, text: str) -> list[str]:
        return [line for line in self.log if text in line]

    async def exit_code(self, seconds: float = 15.0) -> int:
        # Not process.wait(): that also waits for a child which inherited the error stream.
        await until(lambda: self.process.returncode is not None, "the streamer's exit", seconds)
        assert self.process.returncode is not None
        return self.process.returncode

    async def stop(self) -> None:
        """End the process if it has not ended, by force if need be."""
        if self.process.returncode is None:
            self.process.kill()
            await self.exit_code()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        # Closes the pipe's transport, which a test run would otherwise report as leaked.
        getattr(self.process, "_transport").close()  # noqa: B009


class Receiver:
    """A player made of aiortc: answers the offer, decodes picture and sound, keeps data-channel messages."""

    def __init__(self, server: SignallingServer, player_id: str) -> None:
        self.player_id = player_id
        self._server = server
        self._connection = RTCPeerConnection(RTCConfiguration([]))
        self._connection.on("track", self._on_track)
        self._connection.on("datachannel", self._on_channel)
        self._tasks: list[asyncio.Task[None]] = []
        self.channel: RTCDataChannel | None = None
        self.messages: list[bytes] = []
        self.offer = ""
        self.frames = 0
        self.keyframes = 0
        self.readings: list[MarkerReading] = []
        self.luma: npt.NDArray[np.uint8] = np.zeros((1, 1), np.uint8)
        self.timestamps: list[int] = []
        self.last_frame_seconds = 0.0
        self.sound: list[npt.NDArray[np.int16]] = []

    async def join(self, *, sfu: bool = False) -> Receiver:
        """Connect and wait for the first decoded frame and the data channel."""
        self._server.send(type="playerConnected", playerId=self.player_id, dataChannel=True, sfu=sfu)

        def offered() -> list[dict[str, Any]]:
            return [m for m in self._server.of_type("offer") if m["playerId"] == self.player_id]

        self.offer = (await until(offered, "the offer"))[-1]["sdp"]
        await self._connection.setRemoteDescription(RTCSessionDescription(self.offer, "offer"))
        # aiortc's own estimate depends on how busy the test machine is; tests send the estimates they mean.
        for receiver in self._connection.getReceivers():
            receiver.__dict__["_RTCRtpReceiver__remote_bitrate_estimator"] = None
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        self._server.send(type="answer", playerId=self.player_id, sdp=self._connection.localDescription.sdp)
        await until(lambda: self.readings, f"a picture for {self.player_id}")
        await until(lambda: self.channel is not None, f"a data channel for {self.player_id}")
        return self

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.create_task(self._watch(track) if track.kind == "video" else self._hear(track)))

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self.channel = channel
        channel.on("message", self.messages.append)

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, VideoFrame)
            self.frames += 1
            self.last_frame_seconds = time.monotonic()
            self.keyframes += bool(frame.key_frame)
            self.timestamps.append(frame.pts or 0)
            self.luma = frame.to_ndarray(format="gray").astype(np.uint8)
            reading = marker.decode(self.luma)
            if reading is not None:
                self.readings.append(reading)

    async def _hear(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            self.sound.append(frame.to_ndarray().astype(np.int16).reshape(-1))
            del self.sound[:-200]

    def open_channel(self, stream_id: int) -> RTCDataChannel:
        """A channel that both sides agreed upon."""
        return self._connection.createDataChannel("player", negotiated=True, id=stream_id)

    def send(self, name: str, *values: Any) -> None:
        assert self.channel is not None
        self.channel.send(from_player(name, *values))

    def received(self, name: str) -> list[bytes]:
        """Messages from the streamer of this name."""
        return [message for message in self.messages if message[0] == FROM_STREAMER[name][0]]

    def received_json(self, name: str) -> list[Any]:
        return [json.loads(text_of(message)) for message in self.received(name)]

    async def reading(self, condition: Callable[[MarkerReading], bool], what: str) -> MarkerReading:
        """Wait for a frame whose marker satisfies ``condition``."""
        seen = await until(lambda: [reading for reading in self.readings[-3:] if condition(reading)], what)
        return seen[-1]

    async def more_frames(self, count: int) -> None:
        wanted = self.frames + count
        await until(lambda: self.frames >= wanted, f"{count} more frames")

    def around(self, x: float, y: float, reach: float = 0.05) -> npt.NDArray[np.uint8]:
        """The latest picture's luma around a place given in fractions."""
        height, width = self.luma.shape
        return self.luma[
            int((y - reach) * height) : int((y + reach) * height), int((x - reach) * width) : int((x + reach) * width)
        ].copy()

    async def received_bytes(self) -> int:
        """Bytes that arrived on the transport so far."""
        report = await self._connection.getStats()
        return sum(entry.bytesReceived for entry in report.values() if entry.type == "transport")

    async def rate_bps(self, seconds: float = 2.0) -> float:
        """Bits per second that arrive over the next while."""
        before, start = await self.received_bytes(), time.monotonic()
        await asyncio.sleep(seconds)
        return (await self.received_bytes() - before) * 8 / (time.monotonic() - start)

    async def ask_for_keyframe(self) -> None:
        """Picture loss indication (RFC 4585 section 6.3.1)."""
        await self._feedback(RTCP_PSFB_PLI, self._video_ssrc, b"")

    async def estimate(self, bitrate_bps: int) -> None:
        """Receiver estimated maximum bitrate."""
        await self._feedback(RTCP_PSFB_APP, 0, pack_remb_fci(bitrate_bps, [self._video_ssrc]))

    @property
    def _video_ssrc(self) -> int:
        video = self.offer[self.offer.index("m=video") :]
        line = next(line for line in video.splitlines() if line.startswith("a=ssrc:"))
        return int(line.removeprefix("a=ssrc:").split()[0])

    async def _feedback(self, fmt: int, media_ssrc: int, fci: bytes) -> None:
        receiver = next(r for r in self._connection.getReceivers() if r.track.kind == "video")
        await receiver._send_rtcp(RtcpPsfbPacket(fmt=fmt, ssrc=1, media_ssrc=media_ssrc, fci=fci))

    async def leave(self) -> None:
        await self._connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


# What the fixtures of the streamer's integration tests hand out.
StartStreamer = Callable[..., Awaitable[StreamerProcess]]
JoinPlayer = Callable[..., Awaitable[Receiver]]
