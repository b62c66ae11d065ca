"""Sessions once they are admitted: start, report, stop, free.

Order matters. A slot is claimed before anything starts and written on the session with its first record; a session is
written as over before its slot is given back. Whatever dies in between, ``reaper`` finds one of the two states.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from runtime.chassis.client import PeerUnreachableError
from runtime.chassis.clock import Clock
from runtime.chassis.lifecycle import Background
from runtime.chassis.log import log_context
from runtime.protocol.control import SessionReport, StartSession
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, SessionState

from .capacity import Capacity
from .config import Sessions
from .domain import session as transitions
from .domain.model import Host, Session, Title
from .fleet import Fleet
from .hosts import HostClient
from .scheduler import Refusal
from .store.errors import StoreError
from .store.store import Store

logger = logging.getLogger(__name__)
# Answers of a host that has not started the session and says so.
_REFUSALS = frozenset({"host_full", "draining", "title_unavailable"})
_FIRST_PAUSE_SECONDS = 0.25
_LAST_PAUSE_SECONDS = 3.0
# Unanswered start requests before another host is tried; the first host may have started it, see reports.py.
_UNANSWERED = 3
Change = Callable[[Session], Session | None]
# Told of every change of a session made by this process: (before or None, after).
Observer = Callable[[Session | None, Session], None]


class Lifecycle:
    """All changes of sessions by this process."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        capacity: Capacity,
        hosts: HostClient,
        clock: Clock,
        settings: Sessions,
        build_request: Callable[[Session, Title, Host], StartSession],
    ) -> None:
        self._store, self._fleet, self._capacity, self._hosts = store, fleet, capacity, hosts
        self._clock, self._settings, self._build_request = clock, settings, build_request
        self._background = Background()
        self._busy: set[str] = set()  # sessions with a start or stop under way in this process
        self.observers: list[Observer] = []

    async def close(self) -> None:
        await self._background.close()

    async def add(self, session: Session) -> Session:
        """Write a new session's first record."""
        session = await self._store.sessions.insert(session)
        self._noted(None, session)
        return session

    def resume(self, session: Session) -> None:
        """Bring a leased session to its host, or a stopping one to its end, unless that is under way here."""
        if session.id in self._busy:
            return
        if session.state is SessionState.LEASED:
            self._busy.add(session.id)
            self._background.spawn(f"start {session.id}", self._start(session.id))
        elif session.state is SessionState.STOPPING:
            self._busy.add(session.id)
            self._background.spawn(f"stop {session.id}", self._stop(session.id))

    @property
    def database_failed_ms(self) -> int:
        """When the database last failed to answer this process; 0: never."""
        failed = self._store.connection.last_failure
        return 0 if failed is None else self._clock.now_ms() - int((self._clock.monotonic() - failed) * 1000)

    # --- change ---

    async def change(self, session_id: str, decide: Change) -> tuple[Session | None, bool]:
        """Apply ``decide``; see ``Records.change``. Frees the slot when the session is over by this."""
        before, after, changed = await self._store.sessions.change_from(
            session_id, decide, known=self._fleet.sessions.get(session_id)
        )
        if after is None:
            self._fleet.drop_session(session_id)
        else:
            await self._settle(before, after, changed)
        return after, changed

    async def _settle(self, before: Session | None, after: Session, changed: bool) -> None:
        if not changed:
            self._fleet.put_session(after)
            return
        self._noted(before, after)
        if after.is_final:
            await self._capacity.free(after)

    def _noted(self, before: Session | None, after: Session) -> None:
        self._fleet.put_session(after)
        if before is None or before.state is not after.state:
            logger.info("session %s is %s%s", after.id, after.state, f" ({after.reason})" if after.reason else "")
        for observer in self.observers:
            observer(before, after)

    # --- start ---

    async def _start(self, session_id: str) -> None:
        with log_context(session=session_id):
            try:
                await self._start_until_it_holds(session_id)
            except StoreError as error:
                logger.warning("start is left to the reaper: %s", error)
            finally:
                self._busy.discard(session_id)
                session = self._fleet.sessions.get(session_id)
                if session is not None and session.state is SessionState.STOPPING:
                    # Ended while the start request was on its way: the host may have started it after the stop.
                    self.resume(session)

    async def _start_until_it_holds(self, session_id: str) -> None:
        pause, unanswered = _FIRST_PAUSE_SECONDS, 0
        while True:
            session = self._fleet.sessions.get(session_id)
            if session is None or session.state is not SessionState.LEASED or session.host is None:
                return
            refused = False
            try:
                report = await self._ask_to_start(session)
            except PeerUnreachableError as error:
                unanswered += 1
                detail = f"The host {session.host} did not answer: {error}"
            except ServiceError as error:
                detail = f"The host {session.host} refused: {error.message}"
                refused = True
                if error.code not in _REFUSALS:
                    await self.finish(session_id, EndReason.START_FAILED, detail)
                    return
            else:
                await self._apply(session.host, report)
                return
            logger.warning("%s", detail)
            if (refused or unanswered >= _UNANSWERED) and await self._move(session):
                pause, unanswered = _FIRST_PAUSE_SECONDS, 0
                continue
            if self._clock.now_ms() >= (session.lease_expires_ms or 0):
                await self.finish(session_id, EndReason.START_FAILED, detail)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE_SECONDS)

    async def _apply(self, host: str, report: SessionReport) -> None:
        await self.change(
            report.session_id,
            lambda s: transitions.apply_report(s, report, self._clock.now_ms(), host=host, sequence=0),
        )

    async def _ask_to_start(self, session: Session) -> SessionReport:
        assert session.host is not None
        host, title = self._fleet.hosts.get(session.host), self._fleet.titles.get(session.title)
        if host is None or title is None or title.name not in host.title:
            raise ServiceError("title_unavailable", "The registry no longer has this title on this host.")
        return await self._hosts.start(host, self._build_request(session, title, host))

    async def _move(self, session: Session) -> bool:
        """Put a leased session on another host; False when there is none."""
        title = self._fleet.titles.get(session.title)
        if title is None or session.host is None:
            return False
        length = (session.ends_ms - self._clock.now_ms()) / 1000 if session.ends_ms else session.max_length_seconds
        claim = await self._capacity.claim_slot(
            title,
            session.id,
            length_seconds=length,
            booking=session.booking,
            refused_by=(*session.refused_by, session.host),
        )
        if isinstance(claim, Refusal):
            return False
        placement = claim.placement

        def decide(current: Session) -> Session | None:
            if current.state is not SessionState.LEASED or current.host != session.host:
                return None
            return transitions.move(
                current,
                host=placement.host,
                slot=placement.slot,
                gpu=placement.gpu,
                build=self._fleet.hosts[placement.host].title[title.name].build,
                why=placement.why,
                now_ms=self._clock.now_ms(),
                lease_seconds=self._settings.lease_seconds,
            )

        try:
            now, changed = await self.change(session.id, decide)
            if not changed:
                await self._capacity.give_back(claim, session, now)
                return True  # somebody else decided; look again
        finally:
            # Also when nobody knows whether it was written: then the claim in the database is the reaper's.
            self._capacity.settle(claim)
        await self._capacity.leave(session)
        return True

    # --- end ---

    async def end(self, session_id: str, reason: EndReason) -> Session:
        """Begin the end; raise ``session_not_found``. Ending what is over or ending changes nothing."""
        after, _ = await self.change(session_id, lambda s: transitions.stop(s, reason, self._clock.now_ms()))
        if after is None:
            raise ServiceError("session_not_found")
        self.resume(after)
        return after

    async def finish(self, session_id: str, reason: EndReason, detail: str | None = None) -> bool:
        """Write the end without asking the host; True when this call did it."""
        _, changed = await self.change(
            session_id, lambda s: transitions.finish(s, s.reason or reason, detail, self._clock.now_ms())
        )
        return changed

    async def _stop(self, session_id: str) -> None:
        """Bring the order to end to the host once; heartbeats and the reaper repeat it when it is lost."""
        try:
            with log_context(session=session_id):
                session = self._fleet.sessions.get(session_id)
                if session is None or session.host is None or session.reason is None:
                    return
                host = self._fleet.hosts.get(session.host)
                if host is None:
                    await self.finish(session_id, session.reason, "The host is no longer in the registry.")
                    return
                report = await self._hosts.stop(host, session_id, session.reason)
                if report is None:
                    await self.finish(session_id, session.reason)
                    return
                await self._apply(session.host, report)
        except (PeerUnreachableError, ServiceError, StoreError) as error:
            logger.warning("stopping %s: %s", session_id, error)
        finally:
            self._busy.discard(session_id)
