"""More time for a running session, as long as it takes nothing from anybody."""

from __future__ import annotations

import logging
from collections.abc import Callable

from runtime.chassis.client import PeerUnreachableError
from runtime.chassis.clock import Clock
from runtime.protocol.control import EndTime
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import SessionState

from .domain import session as transitions
from .domain.model import Session, Title
from .fleet import Fleet
from .hosts import HostClient
from .lifecycle import Lifecycle
from .windows import Windows

logger = logging.getLogger(__name__)
_LEAST_MS = 60_000  # less is not worth the trouble


class Extension:
    def __init__(
        self,
        fleet: Fleet,
        windows: Windows,
        lifecycle: Lifecycle,
        hosts: HostClient,
        clock: Clock,
        is_contended: Callable[[Title], bool],
    ) -> None:
        self._fleet, self._windows, self._lifecycle = fleet, windows, lifecycle
        self._hosts, self._clock, self._is_contended = hosts, clock, is_contended

    async def extend(self, session: Session, seconds: float | None, *, without_bounds: bool) -> Session:
        """Move the end by ``seconds`` (None: as far as may be).

        Nobody has more than one whole length before them, nobody gets more time while others wait for the place, and
        nobody gets a place that is booked. An administrator (``without_bounds``) is held by the bookings alone. Raise
        ``extension_refused``.
        """
        if session.is_final:
            raise ServiceError("session_ended")
        if session.state not in (SessionState.READY, SessionState.STREAMING):
            raise ServiceError("session_not_ready")
        if session.ends_ms is None:
            raise ServiceError("extension_refused", "This session has no end that could be moved.")
        wanted = self._wanted(session, session.ends_ms, seconds, without_bounds=without_bounds)
        until = min(wanted, self._windows.latest_end(session))
        if until - session.ends_ms < min(_LEAST_MS, wanted - session.ends_ms) or until <= session.ends_ms:
            why = "Its place is booked." if until < wanted else "It has its whole length before it already."
            raise ServiceError("extension_refused", details={"why": why, "ends_at": session.ends_ms})
        now, changed = await self._lifecycle.change(session.id, lambda current: transitions.extend(current, until))
        if now is None or now.is_final:
            raise ServiceError("session_ended")
        if changed:
            await self._tell(now)
        return now

    def _wanted(self, session: Session, ends_ms: int, seconds: float | None, *, without_bounds: bool) -> int:
        whole = session.max_length_seconds or (ends_ms - session.created_ms) / 1000
        if without_bounds:
            return ends_ms + int((seconds or whole) * 1000)
        title = self._fleet.titles.get(session.title)
        if title is not None and self._is_contended(title):
            raise ServiceError(
                "extension_refused", details={"why": "Others wait for a place.", "ends_at": session.ends_ms}
            )
        bound = self._clock.now_ms() + int(whole * 1000)
        return bound if seconds is None else min(bound, ends_ms + int(seconds * 1000))

    async def _tell(self, session: Session) -> None:
        """At once, because the old end may be near; heartbeats repeat it when this is lost."""
        host = self._fleet.hosts.get(session.host or "")
        if host is None or session.ends_ms is None:
            return
        left = max(0, session.ends_ms - self._clock.now_ms()) / 1000
        try:
            await self._hosts.set_end_time(host, session.id, EndTime(ends_ms=session.ends_ms, seconds_left=left))
        except (PeerUnreachableError, ServiceError) as error:
            logger.warning("the new end of %s comes to %s with its next heartbeat: %s", session.id, host.name, error)
