"""Repairs what died half way. One instance at a time does it, by a lease; the database decides every repair."""

from __future__ import annotations

import logging
from typing import Any

from runtime.chassis.clock import Clock
from runtime.protocol.states import EndReason

from .config import Sessions
from .domain.model import Session, Slot
from .domain.recovery import ORPHAN_AFTER_MS, Action, is_orphan, judge_session
from .fleet import Fleet
from .idempotency import KEEP_SECONDS
from .lifecycle import Lifecycle
from .store.errors import StoreUnavailableError
from .store.locks import Lease
from .store.slots import slot_key
from .store.store import Store

logger = logging.getLogger(__name__)
SLOTS_SECONDS = 0.25
_LEAST_PAGE = 40
_PAGES = 120
_PURGE_SECONDS = 3600.0
DELIVERIES_SECONDS = 30 * 86400.0
_RESUME_EVERY_MS = 5_000


class Reaper:
    """``sweep`` runs every few seconds in the instance that holds the timers' lease."""

    def __init__(self, store: Store, fleet: Fleet, lifecycle: Lifecycle, clock: Clock, settings: Sessions) -> None:
        self._store, self._fleet, self._lifecycle = store, fleet, lifecycle
        self._clock, self._settings = clock, settings
        self._last: dict[str, float] = {}  # what -> monotonic time
        self._slots_after = ""  # key of the last slot that was looked at
        self._resumed: dict[str, int] = {}  # session -> when its request was sent again

    async def sweep(self, lease: Lease) -> None:
        """One round. A database that goes away ends it; the next round starts over."""
        try:
            await self._sessions(lease)
            if self._due("purge", _PURGE_SECONDS):
                await self._purge()
        except StoreUnavailableError as error:
            logger.warning("sweep interrupted: %s", error)

    async def _sessions(self, lease: Lease) -> None:
        now = self._clock.now_ms()
        self._resumed = {k: at for k, at in self._resumed.items() if now - at < _RESUME_EVERY_MS}
        for session in list(self._fleet.live()):
            verdict = judge_session(
                session,
                self._fleet.hosts.get(session.host or ""),
                now,
                lease_seconds=self._lease_seconds,
                watched_since_ms=lease.since_ms,
            )
            if verdict.action is Action.RESUME:
                if now - self._resumed.get(session.id, 0) >= _RESUME_EVERY_MS:
                    self._resumed[session.id] = now
                    self._lifecycle.resume(session)
            elif verdict.action is Action.STOP and verdict.reason is not None:
                await self._lifecycle.end(session.id, verdict.reason)
            elif verdict.action is Action.FINISH and verdict.reason is not None:
                await self._lifecycle.finish(session.id, verdict.reason, verdict.detail)

    @property
    def _lease_seconds(self) -> float:
        """Never shorter than what marks a host offline."""
        return max(self._settings.lease_seconds, self._fleet.host_timeout_seconds)

    async def slots(self) -> None:
        """Compare one page of the taken slots with the sessions that hold them; the next call goes on after it.

        Called every ``SLOTS_SECONDS`` in the instance with the lease. Pages, because reading all of a large
        installation's slots at once would keep everybody else waiting.
        """
        try:
            await self._slots()
        except StoreUnavailableError as error:
            logger.warning("slots are looked at later: %s", error)

    async def _slots(self) -> None:
        begin = self._slots_after
        page = await self._store.slots.page(begin, self._page)
        end = _key(page[-1]) if len(page) == self._page else None
        self._slots_after = end or ""
        for slot in page:
            await self._free_orphan(slot)
        written = {_key(slot) for slot in page}
        for session in list(self._fleet.live()):
            if not session.holds_slot or session.host is None or session.slot is None:
                continue
            key = slot_key(session.host, session.slot, session.id)
            if begin < key and (end is None or key <= end) and key not in written:
                await self._claim_again(session)

    @property
    def _page(self) -> int:
        """All slots are looked at within half a minute."""
        held = sum(len(load.used) for load in self._fleet.loads())
        return max(_LEAST_PAGE, held // _PAGES)

    async def _free_orphan(self, slot: Slot) -> None:
        if not is_orphan(slot, self._fleet.sessions.get(slot.session), self._clock.now_ms()):
            return
        # The view may be behind; the database decides.
        if is_orphan(slot, await self._store.sessions.get(slot.session), self._clock.now_ms()):
            logger.warning("slot %s:%d was left by session %s; freed", slot.host, slot.number, slot.session)
            await self._store.slots.free(slot.host, slot.number, slot.session)

    async def _claim_again(self, session: Session) -> None:
        """Claim for a session that holds a slot of which nothing is written.

        That is what remains when a database went away between a session's record and the answer to it, and the claim
        was given back although the record had arrived.
        """
        if self._clock.now_ms() - session.changed_ms < ORPHAN_AFTER_MS:
            return
        current = await self._store.sessions.get(session.id)
        if current is None or not current.holds_slot or (current.host, current.slot) != (session.host, session.slot):
            return
        host, number = current.host or "", current.slot or 0
        if any(slot.session == session.id and slot.number == number for slot in await self._store.slots.taken([host])):
            return
        logger.warning("session %s had lost its claim on %s:%d", session.id, host, number)
        if not await self._store.slots.claim(host, number, session.id):
            await self._lifecycle.end(session.id, EndReason.HOST_LOST)

    async def _purge(self) -> None:
        before = self._clock.now_ms() - int(self._settings.keep_seconds * 1000)
        gone = await self._store.sessions.delete_where({"live": 0, "created_ms": {"$lt": before}})
        over: dict[str, Any] = {"live": 0, "end_ms": {"$lt": before}}
        # As long as others of a series are to come, its first window says that they are no leftovers.
        if firsts := {booking.series_first for booking in self._fleet.bookings.values() if booking.series_first}:
            over["_id"] = {"$nin": sorted(firsts)}
        await self._store.bookings.delete_where(over)
        noted = self._clock.now_ms() - int(self._settings.audit_keep_seconds * 1000)
        await self._store.audit.delete_where({"at_ms": {"$lt": noted}})
        keys = self._clock.now_ms() - int(KEEP_SECONDS * 1000)
        await self._store.claims.delete_where({"created_ms": {"$lt": keys}})
        letters = self._clock.now_ms() - int(DELIVERIES_SECONDS * 1000)
        await self._store.deliveries.delete_where({"created_ms": {"$lt": letters}})
        if gone:
            logger.info("%d ended sessions passed their keeping time", gone)

    def _due(self, what: str, interval_seconds: float) -> bool:
        now = self._clock.monotonic()
        if now - self._last.get(what, float("-inf")) < interval_seconds:
            return False
        self._last[what] = now
        return True


def _key(slot: Slot) -> str:
    return slot_key(slot.host, slot.number, slot.session)
