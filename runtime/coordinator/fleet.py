"""What this process knows of titles, hosts and sessions: the last known state, kept current by ``sync``.

Reads and placement are answered from here. Decisions that write are conditioned on record versions in the database,
so a view that is behind costs a retry and never a wrong write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from runtime.chassis.clock import Clock
from runtime.protocol.states import SessionState

from .domain.booking import Booking
from .domain.model import Heartbeat, Host, Session, Title
from .live import HOSTS, TITLES, Hub, session_topic
from .scheduler import HostLoad, load_of

# Ended sessions stay this long, for pages that still show the reason.
_REMEMBER_ENDED_MS = 15 * 60 * 1000


class Fleet:
    """One process's view. Every ``put_...`` ignores records older than the one it has."""

    def __init__(self, clock: Clock, hub: Hub, *, host_timeout_seconds: float) -> None:
        self._clock = clock
        self._hub = hub
        self._host_timeout_seconds = host_timeout_seconds
        self.titles: dict[str, Title] = {}
        self.hosts: dict[str, Host] = {}
        self.sessions: dict[str, Session] = {}
        self.bookings: dict[str, Booking] = {}  # planned and open ones
        self._held: dict[str, dict[int, str]] = {}  # host -> slot -> session
        self._claiming: dict[str, set[int]] = {}  # host -> slots being taken by this process
        self._strangers: dict[str, int] = {}
        self._loads: dict[str, HostLoad] = {}
        self._in_order = True  # of names
        self._by_owner: dict[str, set[str]] = {}
        self._creating: dict[str, Session] = {}  # being written by this process for the first time
        self._queued: set[str] = set()
        self.queue_revision = 0  # rises when somebody joins or leaves the queue
        self._warm: set[str] = set()
        # Rises at every change of what the catalogue shows.
        self.revision = 0

    # --- titles and hosts ---

    def put_title(self, title: Title) -> None:
        known = self.titles.get(title.name)
        if known is None or known.version < title.version:
            self.titles[title.name] = title
            self._catalogue_changed()

    def drop_title(self, name: str) -> None:
        if self.titles.pop(name, None) is not None:
            self._catalogue_changed()

    def put_host(self, host: Host) -> None:
        """A host as the database has it; the newer heartbeat wins, whichever side has it."""
        known = self.hosts.get(host.name)
        if known is not None:
            if known.version > host.version:
                host = replace(known, heartbeat=_newer(known.heartbeat, host.heartbeat))
            else:
                host = replace(host, heartbeat=_newer(host.heartbeat, known.heartbeat))
            if host == known:
                return
        self.hosts[host.name] = host
        self._refresh(host.name)

    def put_heartbeat(self, name: str, heartbeat: Heartbeat, strangers: int) -> None:
        self._strangers[name] = strangers
        self.put_host(replace(self.hosts[name], heartbeat=heartbeat))
        self._refresh(name)

    def drop_host(self, name: str) -> None:
        if self.hosts.pop(name, None) is not None:
            self._loads.pop(name, None)
            self._catalogue_changed()

    @property
    def host_timeout_seconds(self) -> float:
        """Longer than configured when many hosts are asked to speak less often."""
        return max(self._host_timeout_seconds, 3.5 * self.heartbeat_seconds(0.0))

    def heartbeat_seconds(self, wanted: float) -> float:
        """The interval asked of hosts: at most 100 heartbeats per second over all of them."""
        return max(wanted, len(self.hosts) / 100)

    def put_booking(self, booking: Booking) -> None:
        known = self.bookings.get(booking.id)
        if known is not None and known.version >= booking.version:
            return
        if booking.is_final:
            self.bookings.pop(booking.id, None)
        else:
            self.bookings[booking.id] = booking

    def drop_booking(self, booking_id: str) -> None:
        self.bookings.pop(booking_id, None)

    # --- sessions ---

    def put_session(self, session: Session) -> None:
        known = self.sessions.get(session.id)
        if known is not None:
            if known.version >= session.version:
                return
            self._unindex(known)
        self.sessions[session.id] = session
        self._index(session)
        touched = {host for host in (known.host if known else None, session.host) if host}
        for host in touched:
            self._refresh(host)
        if known is None or known.state is not session.state:
            self._catalogue_changed()
        self._hub.publish(session_topic(session.id))

    def forget_ended(self) -> None:
        """Drop sessions that ended a while ago."""
        before = self._clock.now_ms() - _REMEMBER_ENDED_MS
        for session in [s for s in self.sessions.values() if s.is_final and (s.ended_ms or 0) < before]:
            self._unindex(session)
            del self.sessions[session.id]

    def drop_session(self, session_id: str) -> None:
        session = self.sessions.pop(session_id, None)
        if session is not None:
            self._unindex(session)
            if session.host:
                self._refresh(session.host)

    @contextmanager
    def creating(self, session: Session) -> Iterator[None]:
        """Count ``session`` for its owner while it is not written yet."""
        self._creating[session.id] = session
        try:
            yield
        finally:
            self._creating.pop(session.id, None)

    def live(self) -> Iterator[Session]:
        return (session for session in self.sessions.values() if not session.is_final)

    def on_host(self, name: str) -> list[Session]:
        """Sessions that hold a slot of the host."""
        return [self.sessions[session_id] for session_id in self._held.get(name, {}).values()]

    def owned_by(self, owner_id: str) -> list[Session]:
        """With those that this process is just creating."""
        owned = [self.sessions[session_id] for session_id in self._by_owner.get(owner_id, ())]
        coming = (s for s in self._creating.values() if s.id not in self.sessions)
        return owned + [s for s in coming if s.owner is not None and s.owner.id == owner_id]

    def queued(self) -> list[Session]:
        return [self.sessions[session_id] for session_id in self._queued]

    def warm(self, title: str) -> list[Session]:
        """Sessions of ``title`` that nobody owns yet, the readiest first."""
        found = [s for s in self.unowned() if s.title == title and s.state is not SessionState.STOPPING]
        return sorted(found, key=lambda s: (SessionState.READY not in s.times, s.created_ms))

    def unowned(self) -> list[Session]:
        """All warm sessions that nobody owns yet, also those that are being stopped."""
        return [self.sessions[session_id] for session_id in self._warm]

    # --- capacity ---

    def loads(self) -> Iterable[HostLoad]:
        """All hosts by name, by which placement decides between equals."""
        if not self._in_order:
            self._loads = dict(sorted(self._loads.items()))
            self._in_order = True
        return self._loads.values()

    def load(self, name: str) -> HostLoad | None:
        return self._loads.get(name)

    def begin_claim(self, host: str, slot: int) -> None:
        """Count a slot as used while it is being taken, so that the next placement does not choose it too."""
        self._claiming.setdefault(host, set()).add(slot)
        self._refresh(host, quiet=True)

    def end_claim(self, host: str, slot: int) -> None:
        self._claiming.get(host, set()).discard(slot)
        self._refresh(host, quiet=True)

    # --- inside ---

    def _index(self, session: Session) -> None:
        if session.holds_slot and session.host is not None and session.slot is not None:
            self._held.setdefault(session.host, {})[session.slot] = session.id
        if session.owner is not None:
            self._by_owner.setdefault(session.owner.id, set()).add(session.id)
        if session.state is SessionState.QUEUED:
            self._queued.add(session.id)
            self.queue_revision += 1
        if session.warm and session.owner is None and not session.is_final:
            self._warm.add(session.id)

    def _unindex(self, session: Session) -> None:
        if session.host is not None and session.slot is not None:
            held = self._held.get(session.host, {})
            if held.get(session.slot) == session.id:
                del held[session.slot]
        if session.owner is not None:
            owned = self._by_owner.get(session.owner.id, set())
            owned.discard(session.id)
            if not owned:
                self._by_owner.pop(session.owner.id, None)
        if session.id in self._queued:
            self._queued.discard(session.id)
            self.queue_revision += 1
        self._warm.discard(session.id)

    def _refresh(self, name: str, *, quiet: bool = False) -> None:
        host = self.hosts.get(name)
        if host is None:
            return
        used = frozenset(self._held.get(name, ())) | self._claiming.get(name, frozenset())
        before = self._loads.get(name)
        self._in_order = self._in_order and before is not None
        after = load_of(host, used, self._strangers.get(name, 0), self.host_timeout_seconds)
        self._loads[name] = after
        now = self._clock.now_ms()
        if before is None or _visible(before, now) != _visible(after, now):
            if quiet:
                self.revision += 1
            else:
                self._catalogue_changed()
        self._hub.publish(HOSTS)

    def _catalogue_changed(self) -> None:
        self.revision += 1
        self._hub.publish(TITLES)


def _newer(one: Heartbeat | None, other: Heartbeat | None) -> Heartbeat | None:
    if one is None or other is None:
        return one or other
    return one if one.at_ms >= other.at_ms else other


def _visible(load: HostLoad, now_ms: int) -> tuple[int, int, bool, bool]:
    """What of a host the catalogue depends on."""
    return load.free, load.capacity, load.accepting, load.online_until_ms >= now_ms
