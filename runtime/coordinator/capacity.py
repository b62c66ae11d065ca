"""Taking and giving back slots, and the places of titles with a limit of their own: claim in the database first, then
write it on the session."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

from prometheus_client import Histogram

from runtime.chassis.clock import Clock

from .domain.model import Session, Title, places_of
from .fleet import Fleet
from .scheduler import Placement, Refusal, place
from .store.errors import StoreError
from .store.store import Store
from .windows import Tier, Windows

logger = logging.getLogger(__name__)
# Every lost race teaches the view one taken slot; more in a row means that the view is far behind.
_RACES = 25


@dataclass(frozen=True)
class Claim:
    """A slot taken; until ``ends_ms`` when a booking needs it then. ``place``: of the title, when that is limited."""

    placement: Placement
    ends_ms: int | None
    place: int | None = None

    @property
    def host(self) -> str:
        return self.placement.host

    @property
    def slot(self) -> int:
        return self.placement.slot


class Capacity:
    """Claims over the hosts of the fleet."""

    def __init__(
        self, store: Store, fleet: Fleet, windows: Windows, clock: Clock, policy: str, placement: Histogram
    ) -> None:
        self._windows, self._placement = windows, placement
        self._store, self._fleet, self._clock, self._policy = store, fleet, clock, policy

    def choose(self, title: Title, refused_by: Iterable[str] = ()) -> Placement | Refusal:
        """Placement by the view alone; nothing is taken."""
        return place(self._fleet.loads(), title, self._clock.now_ms(), policy=self._policy, refused_by=refused_by)

    async def claim(
        self, title: Title, session_id: str, *, length_seconds: float | None = None, booking: str | None = None
    ) -> Claim | Refusal:
        """A slot for a session that has none, within the title's own limit over all hosts; see :meth:`claim_slot`."""
        place = await self._claim_place(title, session_id)
        if isinstance(place, Refusal):
            return place
        found: Claim | Refusal | None = None
        try:
            found = await self.claim_slot(title, session_id, length_seconds=length_seconds, booking=booking)
        finally:
            if place is not None and not isinstance(found, Claim):
                await self._free_place(title.name, place, session_id)
        return replace(found, place=place) if isinstance(found, Claim) else found

    async def _claim_place(self, title: Title, session_id: str) -> int | Refusal | None:
        """One of the ``max_sessions`` places of a title; None when it has no such limit.

        The view alone would let everybody through who asks before the first one is written.
        """
        most = title.limits.max_sessions
        if most is None:
            return None
        full = Refusal("busy", f"{title.name} already runs in {most} session(s), its limit.")
        if sum(1 for s in self._fleet.live() if s.title == title.name and s.holds_slot) >= most:
            return full
        places = places_of(title.name)
        taken = {slot.session: slot.number for slot in await self._store.slots.taken([places])}
        if session_id in taken:
            return taken[session_id]
        for number in range(most):
            if number not in taken.values() and await self._store.slots.claim(places, number, session_id):
                return number
        return full

    async def _free_place(self, title: str, place: int, session_id: str) -> None:
        try:
            await self._store.slots.free(places_of(title), place, session_id)
        except StoreError as error:
            logger.warning("place %d of %s is left to the reaper: %s", place, title, error)

    async def claim_slot(
        self,
        title: Title,
        session_id: str,
        *,
        length_seconds: float | None = None,
        booking: str | None = None,
        refused_by: Iterable[str] = (),
    ) -> Claim | Refusal:
        """Choose a host beside everything that is booked, and take the slot.

        The caller must :meth:`settle` the claim, whatever becomes of it.
        """
        tiers = self._windows.tiers(title, length_seconds, booking=booking)
        if tiers is None:
            found = await self._claim(title, session_id, frozenset(refused_by))
            return found if isinstance(found, Refusal) else Claim(found, None)
        refusal = Refusal("busy", "Every free place is booked.")
        for tier in tiers:
            avoid = frozenset(refused_by) | (self._fleet.hosts.keys() - tier.hosts)
            found = await self._claim(title, session_id, avoid)
            if not isinstance(found, Refusal):
                limited = tier.seconds is not None and tier.seconds != length_seconds
                ends = self._clock.now_ms() + int((tier.seconds or 0) * 1000) if limited else None
                return Claim(found, ends)
            refusal = found
        return refusal

    async def _claim(self, title: Title, session_id: str, refused_by: frozenset[str]) -> Placement | Refusal:
        blocked: list[tuple[str, int]] = []
        began = self._clock.monotonic()
        try:
            for _ in range(_RACES):
                chosen = self.choose(title, refused_by)
                if isinstance(chosen, Refusal):
                    return chosen
                self._fleet.begin_claim(chosen.host, chosen.slot)
                taken = False
                try:
                    taken = await self._store.slots.claim(chosen.host, chosen.slot, session_id)
                finally:
                    if not taken:
                        # Stays counted as used until this call ends, so that the next turn chooses another.
                        blocked.append((chosen.host, chosen.slot))
                if taken:
                    self._placement.observe(self._clock.monotonic() - began)
                    return chosen
            logger.warning("gave up placing %s after %d lost races", title.name, _RACES)
            return Refusal("busy", "Other requests took every free slot first.")
        finally:
            for host, slot in blocked:
                self._fleet.end_claim(host, slot)

    def room_for(self, warm: Session, length_seconds: float | None, *, booking: str | None) -> Tier | None:
        """How long a warm session may be somebody's where it runs; None when a booking needs its place too soon."""
        title = self._fleet.titles.get(warm.title)
        if title is None or warm.host is None:
            return None
        tiers = self._windows.tiers(title, length_seconds, booking=booking)
        if tiers is None:
            return Tier(frozenset({warm.host}), length_seconds)
        return next((tier for tier in tiers if warm.host in tier.hosts), None)

    def settle(self, claim: Claim) -> None:
        """The session record carries the claim now (or it was given back): stop counting it twice."""
        self._fleet.end_claim(claim.host, claim.slot)

    async def give_back(self, claim: Claim, session: Session, now: Session | None = None) -> None:
        """Undo a claim that was not written on ``session``. ``now``: what became of it instead.

        Another driver of the same session may have claimed the same and been first to write it. One document stands
        for both claims then, and it is the session's.
        """
        held = now if now is not None and now.holds_slot else None
        try:
            if held is None or (held.host, held.slot) != (claim.host, claim.slot):
                await self._store.slots.free(claim.host, claim.slot, session.id)
            if held is None and claim.place is not None:
                await self._free_place(session.title, claim.place, session.id)
        finally:
            self.settle(claim)

    async def leave(self, session: Session) -> None:
        """Give back the slot that a session had before it moved."""
        if session.host is not None and session.slot is not None:
            await self._store.slots.free(session.host, session.slot, session.id)

    async def free(self, session: Session) -> None:
        """Give back what a session that is over had. Repeating it, here or elsewhere, does no harm."""
        await self.leave(session)
        title = self._fleet.titles.get(session.title)
        # A limit that was lifted meanwhile leaves its place to the reaper.
        if session.host is not None and title is not None and title.limits.max_sessions is not None:
            await self._store.slots.free_all(session.id)
