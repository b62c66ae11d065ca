"""Taking and giving back slots: claim in the database first, then write it on the session."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import Histogram

from runtime.chassis.clock import Clock

from .domain.model import Session, Title
from .fleet import Fleet
from .scheduler import Placement, Refusal, place
from .store.store import Store
from .windows import Tier, Windows

logger = logging.getLogger(__name__)
# Every lost race teaches the view one taken slot; more in a row means that the view is far behind.
_RACES = 25


@dataclass(frozen=True)
class Claim:
    """A slot taken; until ``ends_ms`` when a booking needs the place then."""

    placement: Placement
    ends_ms: int | None

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
        self,
        title: Title,
        session_id: str,
        *,
        length_seconds: float | None = None,
        booking: str | None = None,
        refused_by: Iterable[str] = (),
    ) -> Claim | Refusal:
        """Choose a host beside everything that is booked, and take the slot.

        The caller must :meth:`settle` the claim once it is on the session.
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

    async def give_back(self, claim: Claim, session_id: str) -> None:
        """Undo a claim that did not reach a session."""
        try:
            await self._store.slots.free(claim.host, claim.slot, session_id)
        finally:
            self.settle(claim)

    async def free(self, session: Session) -> None:
        """Give back the slot of a session that is over. Repeating it, here or elsewhere, does no harm."""
        if session.host is not None and session.slot is not None:
            await self._store.slots.free(session.host, session.slot, session.id)
