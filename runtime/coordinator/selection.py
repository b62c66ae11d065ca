"""What somebody wants to see of a list: as a query for the database, and as a test of what is remembered here, so that
lists are answered while the database is away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.protocol.errors import ServiceError
from runtime.protocol.states import BookingState, SessionState

from .domain.booking import Booking
from .domain.model import Session

LIVE = "live"
_LIVE_SESSIONS = frozenset(str(s) for s in SessionState if s not in (SessionState.ENDED, SessionState.FAILED))
_LIVE_BOOKINGS = frozenset({str(BookingState.PLANNED), str(BookingState.OPEN)})


def states_of(text: str) -> frozenset[str]:
    """Of a query argument: words with commas between them."""
    return frozenset(word for word in text.split(",") if word)


def cursor_of(text: str) -> tuple[int, str] | None:
    """Time and key of the last item of the page before; raise ``bad_request``."""
    if not text:
        return None
    time, _, key = text.partition("-")
    if not time.isdecimal():
        raise ServiceError("bad_request", "The cursor is not one of ours.")
    return int(time), key


@dataclass(frozen=True, kw_only=True)
class SessionSelection:
    """Newest first. Empty values do not select."""

    owner: str = ""
    title: str = ""
    host: str = ""
    states: frozenset[str] = frozenset()
    after: tuple[int, str] | None = None

    def query(self) -> dict[str, Any]:
        wanted = {"owner_id": self.owner, "title": self.title, "host": self.host}
        query: dict[str, Any] = {name: value for name, value in wanted.items() if value}
        if self.states == {LIVE}:
            query["live"] = 1
        elif self.states:
            query["state"] = {"$in": sorted(self._states)}
        if self.after is not None:
            created_ms, key = self.after
            query["$or"] = [{"created_ms": {"$lt": created_ms}}, {"created_ms": created_ms, "_id": {"$lt": key}}]
        return query

    def matches(self, session: Session) -> bool:
        return (
            (not self.owner or (session.owner is not None and session.owner.id == self.owner))
            and self.title in ("", session.title)
            and self.host in ("", session.host)
            and (not self.states or str(session.state) in self._states)
            and (self.after is None or (session.created_ms, session.id) < self.after)
        )

    @property
    def _states(self) -> frozenset[str]:
        return (self.states | _LIVE_SESSIONS) - {LIVE} if LIVE in self.states else self.states


@dataclass(frozen=True, kw_only=True)
class BookingSelection:
    """By start. Empty values do not select."""

    owner: str = ""
    title: str = ""
    states: frozenset[str] = frozenset()
    ends_after: int | None = None
    starts_before: int | None = None
    after: tuple[int, str] | None = None

    def query(self) -> dict[str, Any]:
        wanted = {"owner_id": self.owner, "title": self.title}
        query: dict[str, Any] = {name: value for name, value in wanted.items() if value}
        if self.states:
            query["state"] = {"$in": sorted(self._states)}
        if self.ends_after is not None:
            query["end_ms"] = {"$gt": self.ends_after}
        if self.starts_before is not None:
            query["start_ms"] = {"$lt": self.starts_before}
        if self.after is not None:
            start_ms, key = self.after
            query["$or"] = [{"start_ms": {"$gt": start_ms}}, {"start_ms": start_ms, "_id": {"$gt": key}}]
        return query

    def matches(self, booking: Booking) -> bool:
        return (
            self.owner in ("", booking.owner.id)
            and self.title in ("", booking.title)
            and (not self.states or str(booking.state) in self._states)
            and (self.ends_after is None or booking.end_ms > self.ends_after)
            and (self.starts_before is None or booking.start_ms < self.starts_before)
            and (self.after is None or (booking.start_ms, booking.id) > self.after)
        )

    @property
    def _states(self) -> frozenset[str]:
        return (self.states | _LIVE_BOOKINGS) - {LIVE} if LIVE in self.states else self.states
