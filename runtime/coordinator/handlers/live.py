"""Server-sent events (HTML standard, section 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.iostream import StreamClosedError

from runtime.chassis import codec
from runtime.coordinator.domain.access import owns
from runtime.coordinator.live import TITLES, Listener, session_topic
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import SessionState

from .base import ViewerHandler
from .sessions import SessionsBase

# Proxies close silent connections after a minute, most of them.
_KEEP_ALIVE_SECONDS = 15.0
# Many changes within this time are one event.
_MERGE_SECONDS = 0.25
_RETRY_MS = 2000


class Stream(ViewerHandler):
    """An open stream; ``run`` sends until the client goes or the service stops."""

    _listener: Listener | None = None
    _gone = False

    def open_stream(self) -> None:
        """Raise ``rate_limited`` when the address has too many."""
        streams = self.service.streams
        most = self.service.config.rate_limits.streams_per_address
        if self.service.config.rate_limits.enabled and streams.get(self.address, 0) >= most:
            raise ServiceError("rate_limited", "Too many live connections from this address.", retry_after_seconds=30)
        streams[self.address] = streams.get(self.address, 0) + 1
        self.uncount()
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx hands events through at once
        self.write(f"retry: {_RETRY_MS}\n\n")

    def close_stream(self) -> None:
        streams = self.service.streams
        left = streams.get(self.address, 1) - 1
        if left > 0:
            streams[self.address] = left
        else:
            streams.pop(self.address, None)

    async def run(self, topic: str, send: Callable[[], Awaitable[bool]]) -> None:
        """Call ``send`` now and after each change until it says that it was the last."""
        self.open_stream()
        try:
            with self.service.hub.listen(topic) as listener:
                self._listener = listener
                more = await send()
                while more and not self._gone and not self.service.hub.closed:
                    if await listener.wait(_KEEP_ALIVE_SECONDS):
                        more = await send()
                        await asyncio.sleep(_MERGE_SECONDS)
                    else:
                        await self._keep_alive()
        except StreamClosedError:
            pass
        finally:
            self.close_stream()

    async def event(self, name: str, body: bytes) -> None:
        self.write(b"event: " + name.encode() + b"\ndata: " + body + b"\n\n")
        await self.flush()

    async def _keep_alive(self) -> None:
        await self.still_here()
        self.write(":\n\n")
        await self.flush()

    async def still_here(self) -> None:
        """For streams whose being open means something."""

    def on_connection_close(self) -> None:
        self._gone = True
        if self._listener is not None:
            self._listener.notify()

    def finish(self, chunk: Any = None) -> Any:
        if self._gone:
            return None
        return super().finish(chunk)


class TitlesStream(Stream):
    async def get(self) -> None:
        self.require("titles:read")
        last = ""

        async def send() -> bool:
            nonlocal last
            whole = self.service.catalogue.whole(self.principal)
            if whole.etag != last:
                last = whole.etag
                await self.event("titles", whole.body)
            return True

        await self.run(TITLES, send)


class SessionStream(Stream, SessionsBase):
    public = True

    async def get(self, session_id: str) -> None:
        self.require("sessions:read")
        session = await self.service.rooms.session(session_id)
        last = b""
        self._waiting = session.state is SessionState.QUEUED and owns(self.principal, session)
        self._session_id = session_id

        async def send() -> bool:
            nonlocal last
            current = self.service.fleet.sessions.get(session_id, session)
            self._waiting = current.state is SessionState.QUEUED and owns(self.principal, current)
            body = codec.encode(self.show(current))
            if body != last:
                last = body
                await self.event("session", body)
            return not current.is_final

        await self.run(session_topic(session_id), send)

    async def still_here(self) -> None:
        if self._waiting:
            self.service.queueing.saw(self._session_id)
