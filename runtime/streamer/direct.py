"""``--listen``: a page and a tiny signalling server inside the streamer, for browsers to connect without a relay.

For benchmarks (what does a relay add?) and for a first look. Speaks the player's side of Epic's protocol, so the stock
frontend works too: ``ws://HOST:PORT/player``. No tokens and no roles; bind it to loopback.
"""

from __future__ import annotations

import json
import logging
from itertools import count
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.routing import URLSpec
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from .session import Session

logger = logging.getLogger(__name__)
MAX_MESSAGE_BYTES = 1024 * 1024
_PAGE = Path(__file__).with_name("direct.html")


class _PageHandler(RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(_PAGE.read_bytes())


class _PlayerSocket(WebSocketHandler):
    """One player: the server's side of Epic's player protocol."""

    def initialize(self, server: DirectServer) -> None:
        self._server = server
        self._player_id = f"direct{next(server.numbers)}"
        self._loopback = (self.request.remote_ip or "").startswith("127.")

    def check_origin(self, origin: str) -> bool:
        # There is nothing to steal: no cookies, no tokens. Benchmarks load pages from elsewhere.
        return True

    def open(self, *_: str) -> None:
        self._say({"type": "config", "peerConnectionOptions": {"iceServers": []}})

    def on_message(self, message: str | bytes) -> None:
        try:
            body = json.loads(message)
            self._handle(str(body["type"]), body)
        except (ValueError, KeyError, TypeError, RecursionError):
            self._server.session.counters["signalling_malformed"] += 1

    def on_close(self) -> None:
        self._server.session.disconnect_player(self._player_id)

    def _handle(self, kind: str, body: dict[str, Any]) -> None:
        session = self._server.session
        match kind:
            case "listStreamers":
                self._say({"type": "streamerList", "ids": [self._server.streamer_id]})
            case "subscribe":
                session.connect_player(self._player_id, self._say, sfu=False, loopback=self._loopback)
            case "unsubscribe":
                session.disconnect_player(self._player_id)
            case "answer":
                session.on_answer(self._player_id, str(body["sdp"]))
            case "iceCandidate":
                session.on_candidate(self._player_id, body["candidate"])
            case "ping":
                self._say({"type": "pong", "time": body.get("time", 0)})

    def _say(self, message: dict[str, Any]) -> None:
        if message["type"] == "disconnectPlayer":
            self.close(1013, str(message.get("reason", "")))
            return
        try:
            sending = self.write_message(json.dumps(message))
        except WebSocketClosedError:
            return
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())


class DirectServer:
    """Serves until closed. The constructor does no input or output."""

    def __init__(self, session: Session, streamer_id: str) -> None:
        self.session = session
        self.streamer_id = streamer_id
        self.numbers = count(1)
        routes = [URLSpec("/", _PageHandler), URLSpec("/player", _PlayerSocket, {"server": self})]
        self._server = HTTPServer(Application(routes, websocket_max_message_size=MAX_MESSAGE_BYTES))

    def start(self, host: str, port: int) -> None:
        """Listen; raise ``OSError`` when the port is taken."""
        self._server.listen(port, host)
        logger.info("open http://%s:%d/ in a browser", host, port)

    async def close(self) -> None:
        """Stop listening and drop open sockets."""
        self._server.stop()
        await self._server.close_all_connections()
