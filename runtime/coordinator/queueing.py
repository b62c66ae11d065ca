"""The queue at work: who is still there, who is next."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import replace

from runtime.chassis.clock import Clock
from runtime.protocol.states import EndReason, SessionState

from .admission import Admission
from .config import Sessions
from .domain import queue
from .domain.model import Session, Title
from .fleet import Fleet
from .lifecycle import Lifecycle
from .live import Hub, session_topic
from .scheduler import BUSY, Verdict, availability, judge
from .store.errors import StoreError, StoreUnavailableError
from .store.locks import Lease

logger = logging.getLogger(__name__)
_REMEMBERED_LENGTHS = 50
_RETRY_SECONDS = 1.0
# Estimates of waiting times may be this old; positions are always of the moment.
_FRESH_SECONDS = 1.0


class Queueing:
    """``round`` runs in the instance with the timers' lease; ``touch`` in every instance, for its own open pages."""

    def __init__(
        self,
        fleet: Fleet,
        admission: Admission,
        lifecycle: Lifecycle,
        hub: Hub,
        clock: Clock,
        settings: Sessions,
    ) -> None:
        self._fleet, self._admission, self._lifecycle, self._hub = fleet, admission, lifecycle, hub
        self._clock, self._settings = clock, settings
        self._seen: set[str] = set()  # tickets whose owner was heard of since the last touch
        self._lengths: dict[str, deque[float]] = {}  # title -> seconds of recent sessions
        self._told: tuple[str, ...] = ()
        self._standings: tuple[int, float, dict[str, int]] | None = None  # revision, when, ticket -> others before
        self._outlooks: dict[str, tuple[float, queue.Outlook]] = {}  # title -> when, outlook
        self.waits: deque[float] = deque(maxlen=1000)
        lifecycle.observers.append(self._observe)
        admission.is_contended = self.is_contended

    # --- presence ---

    def saw(self, session_id: str) -> None:
        """The owner's page or program asked about a queued session just now."""
        self._seen.add(session_id)

    @property
    def touch_seconds(self) -> float:
        return self._settings.queue_grace_seconds / 3

    async def touch(self) -> None:
        """Write down who is still waiting here. What a database that is away does not take is tried again soon, until
        about when the next call is due."""
        for attempt in range(max(1, int(self.touch_seconds / _RETRY_SECONDS))):
            try:
                await self._touch()
                return
            except StoreError as error:
                if attempt == 0:
                    logger.warning("who waits cannot be written down yet: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _touch(self) -> None:
        seen, self._seen = self._seen, set()
        unsaved = [session.id for session in self._fleet.queued() if session.id in seen]
        try:
            while unsaved:
                await self._lifecycle.change(unsaved[-1], self._mark_seen)
                unsaved.pop()
        finally:
            self._seen.update(unsaved)

    def _mark_seen(self, session: Session) -> Session | None:
        if session.queue is None or session.state is not SessionState.QUEUED:
            return None
        return replace(session, queue=replace(session.queue, seen_ms=self._clock.now_ms()))

    # --- turns ---

    async def round(self, lease: Lease) -> None:
        """Let go of tickets that were left, then give out what is free, in order."""
        ordered = queue.order(self._fleet.queued())
        now, grace = self._clock.now_ms(), self._settings.queue_grace_seconds
        # While the database was away nobody could be written down as present.
        watched_since_ms = max(lease.since_ms, self._lifecycle.database_failed_ms)
        try:
            for session in ordered:
                if queue.has_left(session, now, grace_seconds=grace, watched_since_ms=watched_since_ms):
                    await self._lifecycle.end(session.id, EndReason.QUEUE_LEFT)
            await self._promote(queue.order(self._fleet.queued()))
        except StoreUnavailableError as error:
            logger.warning("queue round interrupted: %s", error)

    async def _promote(self, ordered: list[Session]) -> None:
        blocked: set[str] = set()  # titles for which nothing is free in this round
        for session in ordered:
            if session.title in blocked:
                continue
            title = self._fleet.titles.get(session.title)
            if title is None or title.retired:
                await self._lifecycle.end(session.id, EndReason.ADMIN_ENDED)
            elif not await self._admission.promote(session, title):
                blocked.add(session.title)

    def tell(self) -> None:
        """Wake the pages of everybody whose position changed."""
        ordered = tuple(session.id for session in queue.order(self._fleet.queued()))
        if ordered != self._told:
            for session_id in ordered:
                self._hub.publish(session_topic(session_id))
            self._told = ordered

    # --- what to say ---

    def is_contended(self, title: Title) -> bool:
        """Does somebody wait already for what this title could run on? Then a newcomer goes behind them."""
        return any(self._competes(session.title, title.name) for session in self._fleet.queued())

    def position(self, session: Session) -> tuple[int, float | None]:
        """Position from 1, and the estimated wait in seconds."""
        ahead = self._ahead().get(session.id, 0)
        return ahead + 1, self._outlook(session.title, ahead)

    def _ahead(self) -> dict[str, int]:
        """Of everybody who waits; a shift of the queue is told to all of them, and is reckoned once."""
        revision, now = self._fleet.queue_revision, self._clock.monotonic()
        known = self._standings
        if known is None or known[0] != revision or now - known[1] >= _FRESH_SECONDS:
            ordered = queue.order(self._fleet.queued())
            self._standings = known = (revision, now, queue.standings(ordered, self._competes))
        return known[2]

    def wait_for_newcomer(self, title: str) -> float | None:
        """Estimate for somebody who would queue now."""
        ahead = sum(self._competes(session.title, title) for session in self._fleet.queued())
        return self._outlook(title, ahead)

    def _outlook(self, title_name: str, ahead: int) -> float | None:
        title = self._fleet.titles.get(title_name)
        if title is None:
            return None
        monotonic = self._clock.monotonic()
        known = self._outlooks.get(title_name)
        if known is None or monotonic - known[0] >= _FRESH_SECONDS:
            now = self._clock.now_ms()
            hosts = self._hosts(title)
            outlook = queue.Outlook(
                [s for s in self._fleet.live() if s.holds_slot and s.host in hosts],
                now,
                typical_seconds=self._typical(title_name),
                free=availability(self._fleet.loads(), title, now).free,
            )
            self._outlooks[title_name] = known = (monotonic, outlook)
        return known[1].wait_seconds(ahead)

    def _typical(self, title: str) -> float:
        lengths = self._lengths.get(title)
        return sum(lengths) / len(lengths) if lengths else queue.ASSUMED_SECONDS

    def _hosts(self, title: Title) -> set[str]:
        now = self._clock.now_ms()
        return {
            load.host.name
            for load in self._fleet.loads()
            if (verdict := judge(load, title, now)) is Verdict.FITS or verdict in BUSY
        }

    def _competes(self, one: str, other: str) -> bool:
        if one == other:
            return True
        return any(one in host.title and other in host.title for host in self._fleet.hosts.values())

    def _observe(self, before: Session | None, after: Session) -> None:
        queued_at = after.times.get(SessionState.QUEUED)
        if after.state is SessionState.LEASED and before is not None and before.state is SessionState.QUEUED:
            self.waits.append((self._clock.now_ms() - (queued_at or 0)) / 1000)
        if after.is_final and after.ended_ms is not None and SessionState.LEASED in after.times:
            seconds = (after.ended_ms - after.times[SessionState.LEASED]) / 1000
            self._lengths.setdefault(after.title, deque(maxlen=_REMEMBERED_LENGTHS)).append(seconds)
