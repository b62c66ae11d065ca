"""The streamer's side of Epic's signalling over a WebSocket, kept up with back-off.

Source: Epic's PixelStreamingInfrastructure (MIT): the server greets with ``config`` and ``identify`` in either order;
the streamer names itself with ``endpointId``, then gets ``playerConnected`` for each player and sends an ``offer``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import HTTPClientError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketError, websocket_connect

from runtime.chassis.clock import Clock
from runtime.protocol import signalling

from .session import Session

logger = logging.getLogger(__name__)

PROTOCOL_VERSION = "1.1.0"
PING_SECONDS = 30.0
# Two pings unanswered and some patience: the connection is dead although nobody closed it.
SILENCE_SECONDS = 75.0
CONNECT_SECONDS = 10.0
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 8.0
MAX_MESSAGE_BYTES = 1024 * 1024


class GaveUpError(Exception):
    """No signalling server answered for as long as the options allow."""


class SignallingClient:
    """Connects, answers the server, and connects again when the socket drops."""

    def __init__(self, url: str, streamer_id: str, session: Session, clock: Clock, give_up_seconds: float) -> None:
        self._url = url
        self._streamer_id = streamer_id
        self._session = session
        self._clock = clock
        self._give_up_seconds = give_up_seconds
        self._loopback = is_loopback(url)
        self._socket: WebSocketClientConnection | None = None
        self._heard_seconds = 0.0

    async def run(self) -> None:
        """Stay connected until cancelled; raise ``GaveUpError`` after ``give_up_seconds`` without a server."""
        delay = FIRST_RETRY_SECONDS
        alone_since = self._clock.monotonic()
        while True:
            if await self._one_connection():
                delay, alone_since = FIRST_RETRY_SECONDS, self._clock.monotonic()
            if self._clock.monotonic() - alone_since > self._give_up_seconds:
                raise GaveUpError(f"no signalling server for {self._give_up_seconds:.0f} s")
            # A little chance keeps many streamers from returning to a restarted server at the same moment.
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311
            delay = min(LAST_RETRY_SECONDS, delay * 1.7)

    async def _one_connection(self) -> bool:
        """One connection from beginning to end; False when none came about."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._socket = await websocket_connect(self._url, max_message_size=MAX_MESSAGE_BYTES)
        except (
            OSError,
            TimeoutError,
            HTTPClientError,
            HTTPStreamClosedError,
            HTTPTimeoutError,
            WebSocketError,
        ) as error:
            logger.warning("cannot reach the signalling server: %s", error)
            return False
        logger.info("connected to the signalling server")
        self._heard_seconds = self._clock.monotonic()
        pinging = asyncio.create_task(self._ping())
        try:
            await self._listen(self._socket)
        finally:
            pinging.cancel()
            self._socket.close()
            self._socket = None
            self._session.disconnect_all()
        logger.warning("the signalling server closed the connection")
        return True

    async def _listen(self, socket: WebSocketClientConnection) -> None:
        while True:
            waited = self._clock.monotonic() - self._heard_seconds
            try:
                async with asyncio.timeout(max(0.1, SILENCE_SECONDS - waited)):
                    raw = await socket.read_message()
            except TimeoutError:
                logger.warning("the signalling server has been silent for %.0f s", SILENCE_SECONDS)
                return
            if raw is None:
                return
            self._heard_seconds = self._clock.monotonic()
            self.on_text(raw)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            self._send({"type": "ping", "time": self._clock.now_ms()})

    def on_text(self, raw: str | bytes) -> None:
        """Take one message; what is malformed or unknown is counted and ignored."""
        try:
            message = json.loads(raw)
            kind = message["type"]
            self._handle(str(kind), message)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._session.counters["signalling_malformed"] += 1
            logger.warning("malformed signalling message (%s)", type(error).__name__)

    def _handle(self, kind: str, message: dict[str, Any]) -> None:
        player_id = str(message.get("playerId", ""))
        match kind:
            case "config":
                servers = (message.get("peerConnectionOptions") or {}).get("iceServers") or []
                self._session.ice_servers = [entry for entry in servers if isinstance(entry, dict)]
            case "identify":
                identity = signalling.EndpointId(id=self._streamer_id, protocolVersion=PROTOCOL_VERSION)
                self._send(signalling.to_json_object(identity))
            case "endpointIdConfirm":
                logger.info("known to the server as %s", message["committedId"])
            case "playerConnected":
                player_id = str(message["playerId"])
                sfu = message.get("sfu") is True
                self._session.connect_player(player_id, self._send, sfu=sfu, loopback=self._loopback)
            case "playerDisconnected":
                self._session.disconnect_player(player_id)
            case "answer":
                self._session.on_answer(player_id, str(message["sdp"]))
            case "iceCandidate":
                self._session.on_candidate(player_id, message["candidate"])
            case "streamerDataChannels":
                channels = int(message["sendStreamId"]), int(message["recvStreamId"])
                self._session.on_player_channels(str(message["sfuId"]), str(message["playerId"]), *channels)
            case "ping":
                self._send({"type": "pong", "time": message.get("time", 0)})
            case "pong" | "layerPreference":
                pass
            case _:
                self._session.counters["signalling_unknown"] += 1
                logger.info("ignoring a signalling message of type %.40s", kind)

    def _send(self, message: dict[str, Any]) -> None:
        """Send if there is a connection; without one there is nobody to tell."""
        if self._socket is None:
            return
        try:
            sending = self._socket.write_message(json.dumps(message))
        except WebSocketClosedError:
            return
        # Fails only when the socket closes, which the reader notices.
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine by its loopback interface."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"
