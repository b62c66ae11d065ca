"""What hosts say: heartbeats (all of their sessions, now and then) and events (one change each, at least once)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from runtime.chassis.clock import Clock
from runtime.protocol.control import EndTime, HeartbeatReply, HostHeartbeat, SessionEvent, SessionReport
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, SessionState

from .config import Sessions
from .domain import session as transitions
from .domain.model import Heartbeat, Host, Session
from .fleet import Fleet
from .lifecycle import Lifecycle
from .store.errors import StoreUnavailableError
from .store.store import Store

logger = logging.getLogger(__name__)
_FINAL = (SessionState.ENDED, SessionState.FAILED)
# A session that its host does not list is lost only after this long in a state the host reported: a heartbeat may have
# been written before the start and read after it.
_UNLISTED_GRACE_MS = 15_000


class Reports:
    """Applies what hosts report, compares it with what is known, and answers with what must not run."""

    def __init__(self, store: Store, fleet: Fleet, lifecycle: Lifecycle, clock: Clock, settings: Sessions) -> None:
        self._store, self._fleet, self._lifecycle = store, fleet, lifecycle
        self._clock, self._settings = clock, settings

    async def heartbeat(self, said: HostHeartbeat) -> HeartbeatReply:
        """Raise ``host_unknown``. Works from the last known state while the database is away."""
        host = await self.host(said.host)
        now = self._clock.now_ms()
        end: dict[str, EndReason] = {}
        end_times: dict[str, EndTime] = {}
        strangers = 0
        for report in said.sessions:
            try:
                wish = await self._compare(host, report, now)
            except StoreUnavailableError:
                continue  # nothing is ended on a guess
            if wish is not None:
                end[report.session_id] = wish
                strangers += self._is_stranger(host, report)
                continue
            ends_ms = self._untold_end(report)
            if ends_ms is not None:
                end_times[report.session_id] = EndTime(ends_ms=ends_ms, seconds_left=max(0, ends_ms - now) / 1000)
        beat = _beat(said, now)
        self._fleet.put_heartbeat(host.name, beat, strangers)
        try:
            if not await self._store.write_heartbeat(host.name, beat):
                self._fleet.drop_host(host.name)
                raise ServiceError("host_unknown")
            await self._unlisted(host, said, now)
        except StoreUnavailableError as error:
            logger.warning("heartbeat of %s is kept in memory only: %s", host.name, error)
        return HeartbeatReply(
            desired_state=self._fleet.hosts[host.name].desired_state,
            interval_seconds=self._fleet.heartbeat_seconds(self._settings.heartbeat_interval_seconds),
            now_ms=now,
            end_sessions=end,
            end_times=end_times,
        )

    async def events(self, host_name: str, events: list[SessionEvent]) -> list[str]:
        """Apply in order; the ids that need not come again. Raise ``host_unknown`` or ``StoreUnavailableError``."""
        host = await self.host(host_name)
        applied = []
        for event in sorted(events, key=lambda e: (e.report.session_id, e.sequence)):
            await self._lifecycle.change(event.report.session_id, self._applying(event.report, host, event.sequence))
            applied.append(event.event_id)
        return applied

    async def host(self, name: str) -> Host:
        """The host by the view, else by the database; raise ``host_unknown``."""
        known = self._fleet.hosts.get(name)
        if known is None:
            known = await self._store.hosts.get(name)
            if known is None:
                raise ServiceError("host_unknown")
            self._fleet.put_host(known)
        return known

    def _applying(self, report: SessionReport, host: Host, sequence: int) -> Callable[[Session], Session | None]:
        return lambda s: transitions.apply_report(s, report, self._clock.now_ms(), host=host.name, sequence=sequence)

    async def _compare(self, host: Host, report: SessionReport, now: int) -> EndReason | None:
        """The reason for which this session must not run there, or None when it may."""
        session = await self._known(report.session_id)
        if report.state in _FINAL:
            await self._repair(session, report, host, now)
            return None
        if session is None:
            return EndReason.ADMIN_ENDED
        if session.is_final:
            return session.reason or EndReason.ADMIN_ENDED
        if session.host != host.name:
            return EndReason.HOST_LOST
        await self._repair(session, report, host, now)
        if session.state is SessionState.STOPPING and report.state is not SessionState.STOPPING:
            return session.reason
        return None

    async def _known(self, session_id: str) -> Session | None:
        """The session by the view; what must not run is decided by the database alone."""
        session = self._fleet.sessions.get(session_id)
        if session is not None and not session.is_final:
            return session
        try:
            found = await self._store.sessions.get(session_id)
        except StoreUnavailableError:
            if session is None:
                raise
            return session
        if found is not None:
            self._fleet.put_session(found)
        return found

    async def _repair(self, session: Session | None, report: SessionReport, host: Host, now: int) -> None:
        """Take over what the host says now when it differs from what its events have told so far."""
        if session is None:
            return
        decide = self._applying(report, host, 0)
        try:
            if decide(session) is not None:
                await self._lifecycle.change(session.id, decide)
        except StoreUnavailableError as error:
            logger.warning("report on %s not kept yet: %s", session.id, error)

    def _untold_end(self, report: SessionReport) -> int | None:
        session = self._fleet.sessions.get(report.session_id)
        return None if session is None else transitions.untold_end(session, report)

    def _is_stranger(self, host: Host, report: SessionReport) -> bool:
        """Does it take room there that the slots do not show?"""
        session = self._fleet.sessions.get(report.session_id)
        return session is None or session.is_final or session.host != host.name

    async def _unlisted(self, host: Host, said: HostHeartbeat, now: int) -> None:
        """Sessions that should run there and do not, when no event about them can still be on its way."""
        if said.events_waiting:
            return
        listed = {report.session_id for report in said.sessions}
        for session in self._fleet.on_host(host.name):
            if session.id in listed or session.state is SessionState.LEASED:
                continue
            if now - max(session.times.values(), default=now) < _UNLISTED_GRACE_MS:
                continue
            await self._lifecycle.finish(
                session.id, EndReason.HOST_LOST, f"The host {host.name} runs but no longer has this session."
            )


def _beat(said: HostHeartbeat, now: int) -> Heartbeat:
    return Heartbeat(
        at_ms=now,
        sent_ms=said.sent_ms,
        boot_id=said.boot_id,
        version=said.version,
        platform=said.platform,
        capacity=said.capacity,
        draining=said.draining,
        cpu=said.cpu,
        memory_total_bytes=said.memory_total_bytes,
        memory_available_bytes=said.memory_available_bytes,
        disk_free_bytes=said.disk_free_bytes,
        gpus=said.gpus,
        sessions={r.session_id: str(r.state) for r in said.sessions if r.state not in _FINAL},
        events_waiting=said.events_waiting,
    )
