"""The view as the window policy wants it: places by group of hosts, what runs, what is booked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from runtime.chassis.clock import Clock
from runtime.protocol.states import BookingState

from .config import Bookings
from .domain.booking import Booking
from .domain.model import Host, Session, Title
from .domain.windows import FOREVER_MS, Demand, Group, Hold, Plan, latest_end
from .fleet import Fleet


@dataclass(frozen=True)
class Tier:
    """Hosts on which a session may run for at most ``seconds`` (None: without an end)."""

    hosts: frozenset[str]
    seconds: float | None


class Windows:
    def __init__(self, fleet: Fleet, clock: Clock, settings: Bookings) -> None:
        self._fleet, self._clock, self._settings = fleet, clock, settings

    def plan(self, *, without: str | None = None, without_session: str | None = None) -> Plan:
        """Everything known now, apart from the booking ``without`` and the session ``without_session``."""
        places: Counter[Group] = Counter()
        groups: dict[str, Group] = {}
        for host in self._fleet.hosts.values():
            groups[host.name] = group = self._group(host)
            if host.desired_state != "draining":
                places[group] += _capacity(host)
        now = self._clock.now_ms()
        holds = tuple(
            Hold(groups[session.host], self._until(session, now))
            for session in self._fleet.live()
            if session.holds_slot and session.host in groups and session.id != without_session and not _yields(session)
        )
        demands = tuple(
            self.demand(booking.title, booking.start_ms, booking.end_ms)
            for booking in self._fleet.bookings.values()
            if booking.id != without and self._needs_a_place(booking)
        )
        return Plan(dict(places), holds, demands)

    def demand(self, title: str, start_ms: int, end_ms: int) -> Demand:
        """A window with the time before it in which its session starts."""
        return Demand(title, start_ms - int(self._settings.open_before_seconds * 1000), end_ms)

    def tiers(self, title: Title, length_seconds: float | None, *, booking: str | None = None) -> list[Tier] | None:
        """Hosts for a session that starts now, best first; None when nothing is booked and any host will do."""
        if not any(b.id != booking and self._needs_a_place(b) for b in self._fleet.bookings.values()):
            return None
        now = self._clock.now_ms()
        plan = self.plan(without=booking)
        by_end: dict[int, set[str]] = {}
        ends: dict[Group, int] = {}
        for host in self._fleet.hosts.values():
            if title.name not in host.title:
                continue
            group = self._group(host)
            if group not in ends:
                ends[group] = latest_end(plan, group, now)
            by_end.setdefault(ends[group], set()).add(host.name)
        wanted = FOREVER_MS if length_seconds is None else now + int(length_seconds * 1000)
        enough = now + int(min(length_seconds or FOREVER_MS, self._settings.least_walk_in_seconds) * 1000)
        free = frozenset(name for end, names in by_end.items() if end >= wanted for name in names)
        tiers = [Tier(free, length_seconds)] if free else []
        shorter = sorted((end for end in by_end if enough <= end < wanted), reverse=True)
        return [*tiers, *(Tier(frozenset(by_end[end]), (end - now) / 1000) for end in shorter)]

    def latest_end(self, session: Session) -> int:
        """Until when a running session may go on where it is without taking a booked place."""
        host = self._fleet.hosts.get(session.host or "")
        now = self._clock.now_ms()
        if host is None:
            return now
        return latest_end(self.plan(without_session=session.id), self._group(host), now)

    def _group(self, host: Host) -> Group:
        """Titles that the host can run, labels considered."""
        return frozenset(
            name
            for name in host.title
            if (title := self._fleet.titles.get(name)) is not None
            and all(host.labels.get(key) == value for key, value in title.needs.labels.items())
        )

    def _until(self, session: Session, now: int) -> int:
        if session.ends_ms is not None:
            return session.ends_ms
        length = session.max_length_seconds or self._settings.assumed_length_seconds
        # One that has lasted longer than anybody would think may still be there in a quarter of an hour.
        return max(session.created_ms + int(length * 1000), now + 900_000)

    def _needs_a_place(self, booking: Booking) -> bool:
        if booking.is_final or booking.end_ms <= self._clock.now_ms():
            return False
        session = self._fleet.sessions.get(booking.session or "")
        return booking.state is BookingState.PLANNED or session is None or session.is_final


def _capacity(host: Host) -> int:
    """Hosts that are off now are expected back."""
    return min(host.capacity, host.heartbeat.capacity) if host.heartbeat else host.capacity


def _yields(session: Session) -> bool:
    """Warm sessions give way to anybody."""
    return session.warm and session.owner is None
