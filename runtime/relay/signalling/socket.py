"""Base of the relay's WebSockets: JSON in and out, with a bound on everything a peer can make us hold or do."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from runtime.chassis import codec
from runtime.chassis.clock import Clock
from runtime.chassis.log import scrub
from runtime.chassis.web import JsonHandler
from runtime.protocol.errors import ServiceError
from runtime.protocol.room import CloseCode
from runtime.relay.config import Limits
from runtime.relay.core.rates import TokenBucket

from .wire import UnknownMessageError, decode

logger = logging.getLogger(__name__)
_UNKNOWN_LOGGED = 5  # lines per connection
_MAX_REASON_BYTES = 120  # a close frame holds 125 with the code


class JsonSocket(JsonHandler, WebSocketHandler):
    """Subclasses set ``messages`` and ``what``, and implement ``opened``, ``received`` and ``gone``.

    Messages are handled one after the other: the next is read when ``received`` is done. A message that cannot be
    obeyed is answered by ``refuse``; too many, too fast or too big closes this socket and no other.
    """

    messages: Mapping[str, type[Any]] = {}
    what = "socket"
    limits: Limits
    clock: Clock
    counters: Counter[str]
    message_rate = (30.0, 100.0)  # per second, burst

    def setup(self, limits: Limits, clock: Clock, counters: Counter[str]) -> None:
        """``counters``: of all sockets together, what was not obeyed, by cause."""
        self.limits, self.clock, self.counters = limits, clock, counters
        self._rate = TokenBucket(*self.message_rate)
        self._bad = self._unknown = 0
        self._queued_messages = 0
        self._queued_bytes = 0
        self.is_shut = False

    # --- for subclasses ---

    def opened(self) -> None:
        """The upgrade is done; messages may be sent."""

    async def received(self, message: Any) -> None:
        """One decoded message; may raise ``ServiceError``."""

    def gone(self, code: int | None) -> None:
        """The connection is over; called once for every ``opened``."""

    def refuse(self, error: ServiceError, about: str | None) -> None:
        """Tell the peer that a message was not obeyed."""

    # --- sending ---

    def send(self, body: Mapping[str, Any]) -> None:
        """Queue a message. A peer that does not read is cut off when the queue is full."""
        if self.is_shut or self.ws_connection is None:
            return
        text = codec.encode(body)
        if (
            self._queued_messages >= self.limits.send_queue_messages
            or self._queued_bytes + len(text) > self.limits.send_queue_bytes
        ):
            logger.warning("%s does not read its messages; closing it", self.what)
            self.counters["not_reading"] += 1
            self.abort()
            return
        try:
            sent = self.write_message(text.decode("utf-8"))
        except WebSocketClosedError:
            return
        self._queued_messages += 1
        self._queued_bytes += len(text)
        sent.add_done_callback(lambda done: self._was_sent(done, len(text)))

    def _was_sent(self, done: asyncio.Future[None], size: int) -> None:
        self._queued_messages -= 1
        self._queued_bytes -= size
        if not done.cancelled():
            done.exception()  # the connection ended first; ``gone`` tells

    def shut(self, code: int, reason: str = "") -> None:
        """Close after what is queued; nothing is received any more."""
        if not self.is_shut:
            self.is_shut = True
            self.close(int(code), reason.encode("utf-8")[:_MAX_REASON_BYTES].decode("utf-8", "ignore"))

    def abort(self) -> None:
        """Drop the connection without a word."""
        self.is_shut = True
        if self.ws_connection is not None:
            self.ws_connection._abort()

    # --- Tornado's side ---

    def check_origin(self, origin: str) -> bool:
        return True  # judged in prepare, with an answer that says what to do

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        # Epic's page may be configured to offer some; a browser closes a connection whose offer was not taken up.
        return subprotocols[0] if subprotocols else None

    @property
    def max_message_size(self) -> int:
        return self.limits.signalling_message_bytes

    @property
    def ping_interval(self) -> float | None:
        return self.limits.ping_interval_seconds

    @property
    def ping_timeout(self) -> float | None:
        return self.limits.ping_timeout_seconds

    def open(self, *args: str, **kwargs: str) -> None:
        self.set_nodelay(True)
        self.opened()

    async def on_message(self, message: str | bytes) -> None:
        if self.is_shut:
            return
        if not self._rate.take(self.clock.monotonic()):
            logger.warning("%s sends too many messages; closing it", self.what)
            self.counters["flood"] += 1
            self.shut(CloseCode.REFUSED, "Too many messages.")
            return
        try:
            decoded = decode(message, self.messages)
        except UnknownMessageError as unknown:
            self.unknown(str(unknown))
            return
        except ServiceError as error:
            self.count_bad(error, None)
            return
        try:
            await self.received(decoded)
        except ServiceError as error:
            self.refuse(error, getattr(decoded, "TYPE", None))

    def unknown(self, kind: str) -> None:
        """A message of a type we do not know: newer peers may send some."""
        self._unknown += 1
        self.counters["unknown"] += 1
        if self._unknown <= _UNKNOWN_LOGGED:
            logger.info("%s sent a message of unknown type %r; ignored", self.what, scrub(kind))

    def count_bad(self, error: ServiceError, about: str | None) -> None:
        """Answer a malformed message, and close at the limit."""
        self._bad += 1
        self.counters["malformed"] += 1
        if self._bad > self.limits.bad_messages:
            logger.warning("%s sends malformed messages; closing it", self.what)
            self.shut(CloseCode.REFUSED, "Too many malformed messages.")
            return
        self.refuse(error, about)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        # A message that was being handled when the process ended is no failure.
        if not isinstance(value, asyncio.CancelledError):
            super().log_exception(typ, value, tb)

    def on_close(self) -> None:
        self.is_shut = True
        self.gone(self.close_code)
