"""Who gets a session now, who waits, who is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_session_id
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, SessionState

from .capacity import Capacity, Claim
from .config import Sessions
from .domain import session as transitions
from .domain.model import Owner, QueueTicket, Session, Title
from .fleet import Fleet
from .lifecycle import Lifecycle
from .scheduler import Refusal
from .store.errors import StoreError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody asks for. ``owner`` None: a warm session. ``ends_ms``: the end of a booked window."""

    title: Title
    owner: Owner | None
    wait: bool = False
    booking: str | None = None
    ends_ms: int | None = None


class Admission:
    def __init__(
        self, fleet: Fleet, capacity: Capacity, lifecycle: Lifecycle, clock: Clock, settings: Sessions
    ) -> None:
        self._fleet, self._capacity, self._lifecycle = fleet, capacity, lifecycle
        self._clock, self._settings = clock, settings
        self._joining = 0  # tickets of the queue that are just being written
        # Does somebody wait already for what this title could run on? Set by the queue.
        self.is_contended: Callable[[Title], bool] = lambda title: False

    async def create(self, wish: Wish, session_id: str | None = None) -> Session:
        """A warm, leased or (``wish.wait``) queued session; raise ``no_capacity``, ``no_host`` or ``queue_full``."""
        session = self._requested(wish, session_id or new_session_id())
        # From before the first wait on: whoever asks meanwhile finds it among what its owner has.
        with self._fleet.creating(session):
            adopted = await self._adopt(wish)
            if adopted is not None:
                return adopted
            claim = self._not_now(wish) or await self._claim(session, wish.title)
            if isinstance(claim, Refusal):
                return await self._refused(wish, session, claim)
            try:
                leased = await self._lifecycle.add(self._leased(session, claim, wish.title))
            except StoreError:
                await self._undo(claim, session)
                raise
            finally:
                self._capacity.settle(claim)
            self._lifecycle.resume(leased)
            return leased

    async def promote(self, session: Session, title: Title) -> bool:
        """Give a queued session a slot if there is one now; True when it left the queue."""
        claim = await self._claim(session, title)
        if isinstance(claim, Refusal):
            if claim.kind == "busy":
                await self.make_room(title)
            return False

        def decide(current: Session) -> Session | None:
            return self._leased(current, claim, title) if current.state is SessionState.QUEUED else None

        try:
            now, changed = await self._lifecycle.change(session.id, decide)
            if not changed:
                await self._undo(claim, session, now)
        except StoreError:
            await self._undo(claim, session)
            raise
        finally:
            self._capacity.settle(claim)
        if now is not None and changed:
            self._lifecycle.resume(now)
        return True

    async def make_room(self, title: Title) -> bool:
        """End one warm session of another title on a host that ``title`` could use; True when one is on its way out."""
        if not self._fleet.unowned():
            return False
        usable = {host.name for host in self._fleet.hosts.values() if title.name in host.title}
        warm = [session for session in self._fleet.unowned() if session.host in usable]
        if any(session.state is SessionState.STOPPING for session in warm):
            return True
        for session in sorted((s for s in warm if s.title != title.name), key=lambda s: s.created_ms):
            if await self.give_way(session):
                return True
        return False

    async def give_way(self, warm: Session) -> bool:
        """End a warm session; False when that is not to be, because somebody has taken it over meanwhile."""

        def decide(current: Session) -> Session | None:
            if current.owner is not None:
                return None
            return transitions.stop(current, EndReason.ADMIN_ENDED, self._clock.now_ms())

        ended, changed = await self._lifecycle.change(warm.id, decide)
        if ended is None or not changed:
            return False
        self._lifecycle.resume(ended)
        return True

    async def _adopt(self, wish: Wish) -> Session | None:
        """Hand over a warm session, or one that is on its way."""
        owner = wish.owner
        if owner is None or self._is_behind(wish):
            return None
        now = self._clock.now_ms()
        for warm in self._fleet.warm(wish.title.name):
            room = self._capacity.room_for(warm, self._length(wish), booking=wish.booking)
            if room is None:
                continue

            def decide(current: Session, room: float | None = room.seconds) -> Session | None:
                taken = transitions.adopt(current, owner, now, room)
                if taken is None:
                    return None
                return replace(taken, booking=wish.booking, ends_ms=wish.ends_ms or taken.ends_ms)

            session, changed = await self._lifecycle.change(warm.id, decide)
            if changed:
                return session
        return None

    async def _refused(self, wish: Wish, session: Session, refusal: Refusal) -> Session:
        if refusal.kind == "offline":
            raise ServiceError("no_host", details={"why": refusal.why})
        makes_room = wish.owner is not None and await self.make_room(wish.title)
        if not wish.wait:
            retry = 5 if makes_room else 15
            raise ServiceError("no_capacity", details={"why": refusal.why}, retry_after_seconds=retry)
        if len(self._fleet.queued()) + self._joining >= self._settings.queue_length:
            raise ServiceError("queue_full", retry_after_seconds=60)
        now = self._clock.now_ms()
        queued = transitions.enter(session, SessionState.QUEUED, now)
        self._joining += 1
        try:
            return await self._lifecycle.add(replace(queued, queue=QueueTicket(queued_ms=now, seen_ms=now)))
        finally:
            self._joining -= 1

    async def _claim(self, session: Session, title: Title) -> Claim | Refusal:
        return await self._capacity.claim(
            title, session.id, length_seconds=session.max_length_seconds, booking=session.booking
        )

    def _requested(self, wish: Wish, session_id: str) -> Session:
        now = self._clock.now_ms()
        return Session(
            id=session_id,
            title=wish.title.name,
            state=SessionState.REQUESTED,
            created_ms=now,
            times={SessionState.REQUESTED: now},
            owner=wish.owner,
            warm=wish.owner is None,
            booking=wish.booking,
            ends_ms=wish.ends_ms,
            max_length_seconds=self._length(wish),
        )

    def _length(self, wish: Wish) -> float | None:
        if wish.ends_ms is not None:
            return max(1.0, (wish.ends_ms - self._clock.now_ms()) / 1000)
        return wish.title.limits.max_length_seconds or self._settings.max_length_seconds

    def _leased(self, session: Session, claim: Claim, title: Title) -> Session:
        placement = claim.placement
        return transitions.lease(
            session,
            host=placement.host,
            slot=placement.slot,
            gpu=placement.gpu,
            build=self._fleet.hosts[placement.host].title[title.name].build,
            why=placement.why,
            now_ms=self._clock.now_ms(),
            lease_seconds=self._settings.lease_seconds,
            ends_ms=session.ends_ms or claim.ends_ms,
        )

    def _is_behind(self, wish: Wish) -> bool:
        """Walk-ins go behind those who wait; bookings do not, their place was reckoned with."""
        return wish.booking is None and self.is_contended(wish.title)

    def _not_now(self, wish: Wish) -> Refusal | None:
        if wish.owner is not None and self._is_behind(wish):
            return Refusal("busy", "Others wait for it already.")
        return None

    async def _undo(self, claim: Claim, session: Session, now: Session | None = None) -> None:
        try:
            await self._capacity.give_back(claim, session, now)
        except StoreError as error:
            logger.warning("slot %s:%d is left to the reaper: %s", claim.host, claim.slot, error)
