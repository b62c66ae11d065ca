"""Events for other systems: which there are, when they are tried again. Pure; times are epoch milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from runtime.protocol.states import BookingState, SessionState

from .booking import Booking
from .model import Session

# After each failure; the last one is followed by the dead letters.
PAUSES_SECONDS = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)
_SESSION_EVENTS = {
    SessionState.REQUESTED: "session.created",
    SessionState.QUEUED: "session.queued",
    SessionState.LEASED: "session.leased",
    SessionState.READY: "session.ready",
    SessionState.STREAMING: "session.streaming",
    SessionState.ENDED: "session.ended",
    SessionState.FAILED: "session.failed",
}
_BOOKING_EVENTS = {
    BookingState.PLANNED: "booking.created",
    BookingState.OPEN: "booking.opened",
    BookingState.USED: "booking.used",
    BookingState.MISSED: "booking.missed",
    BookingState.CANCELLED: "booking.cancelled",
}
EVENT_TYPES = (*_SESSION_EVENTS.values(), *_BOOKING_EVENTS.values())


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, kw_only=True, slots=True)
class Receiver:
    """Where events go. ``events`` empty: all."""

    id: str
    url: str
    secret: str
    events: tuple[str, ...] = ()
    created_ms: int = 0
    ca_file: str | None = None
    version: int = 1
    changed_ms: int = 0

    def wants(self, event_type: str) -> bool:
        return not self.events or event_type in self.events


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One event for one receiver. Its id is made of both, so that noticing an event twice makes one delivery."""

    id: str
    receiver: str
    event: str
    type: str
    body: str  # JSON, sent as it is
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    next_ms: int = 0
    last_answer: str = ""
    created_ms: int = 0
    delivered_ms: int | None = None
    version: int = 1
    changed_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """How far the records have been read."""

    id: str
    at_ms: int
    version: int = 1
    changed_ms: int = 0


@dataclass(frozen=True)
class Event:
    """Something that happened, with an id that is the same whoever notices it."""

    id: str
    type: str
    at_ms: int


def session_events(session: Session) -> Iterator[Event]:
    """What has happened to a session so far. Warm sessions begin to exist when they become somebody's."""
    if session.owner is None:
        return
    for state, at_ms in session.times.items():
        if state in _SESSION_EVENTS:
            yield Event(f"{session.id}.{state}", _SESSION_EVENTS[state], at_ms)


def booking_events(booking: Booking) -> Iterator[Event]:
    for state, at_ms in booking.times.items():
        yield Event(f"{booking.id}.{state}", _BOOKING_EVENTS[state], at_ms)


def after_attempt(delivery: Delivery, *, delivered: bool, answer: str, now_ms: int) -> Delivery:
    """The delivery after one attempt to send it."""
    attempts = delivery.attempts + 1
    tried = replace(delivery, attempts=attempts, last_answer=answer[:200])
    if delivered:
        return replace(tried, state=DeliveryState.DELIVERED, delivered_ms=now_ms)
    if attempts > len(PAUSES_SECONDS):
        return replace(tried, state=DeliveryState.DEAD)
    return replace(tried, next_ms=now_ms + PAUSES_SECONDS[attempts - 1] * 1000)


def replayed(delivery: Delivery, now_ms: int) -> Delivery:
    """To be sent again from the beginning, delivered or not."""
    return replace(delivery, state=DeliveryState.PENDING, attempts=0, next_ms=now_ms)
