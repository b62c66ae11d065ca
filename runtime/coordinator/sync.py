"""Keep the view current: what other processes changed, every moment; everything, now and then."""

from __future__ import annotations

import logging

from runtime.chassis.clock import Clock

from .accounts import Accounts
from .fleet import Fleet
from .store.errors import StoreUnavailableError
from .store.store import Store

logger = logging.getLogger(__name__)
CHANGES_SECONDS = 0.5
# Clocks of the writers may differ by this much; re-reading a change is harmless.
_OVERLAP_MS = 10_000
_EVERYTHING_SECONDS = 60.0


class Sync:
    """``poll`` is called every ``CHANGES_SECONDS``."""

    def __init__(self, store: Store, fleet: Fleet, accounts: Accounts, clock: Clock) -> None:
        self._store, self._fleet, self._accounts, self._clock = store, fleet, accounts, clock
        self._since_ms = 0
        self._everything_at: float | None = None
        self._failing = False

    async def load(self) -> None:
        """Read everything; the service answers only after this has worked once."""
        started_ms = self._clock.now_ms()
        titles = {title.name: title for title in await self._store.titles.find()}
        hosts = {host.name: host for host in await self._store.hosts.find()}
        sessions = await self._store.sessions.find({"live": 1})
        for title in titles.values():
            self._fleet.put_title(title)
        for name in [name for name in self._fleet.titles if name not in titles]:
            self._fleet.drop_title(name)
        for host in hosts.values():
            self._fleet.put_host(host)
        for name in [name for name in self._fleet.hosts if name not in hosts]:
            self._fleet.drop_host(name)
        for session in sessions:
            self._fleet.put_session(session)
        await self._load_bookings()
        await self._load_accounts()
        await self._check_missing({session.id for session in sessions}, started_ms)
        self._fleet.forget_ended()
        self._since_ms = started_ms - _OVERLAP_MS
        self._everything_at = self._clock.monotonic()

    async def poll(self) -> None:
        try:
            if self._everything_at is None or self._clock.monotonic() - self._everything_at > _EVERYTHING_SECONDS:
                await self.load()
            else:
                await self._changes()
        except StoreUnavailableError as error:
            if not self._failing:
                logger.warning("the database does not answer; serving the last known state: %s", error)
            self._failing = True
            return
        if self._failing:
            logger.warning("the database answers again")
            self._failing = False
            # Changes may have been missed by more than the overlap.
            self._everything_at = None

    async def _changes(self) -> None:
        started_ms = self._clock.now_ms()
        for title in await self._store.titles.changed_by_others(self._since_ms):
            self._fleet.put_title(title)
        for host in await self._store.hosts.changed_by_others(self._since_ms):
            self._fleet.put_host(host)
        for session in await self._store.sessions.changed_by_others(self._since_ms):
            self._fleet.put_session(session)
        for booking in await self._store.bookings.changed_by_others(self._since_ms):
            self._fleet.put_booking(booking)
        for user in await self._store.users.changed_by_others(self._since_ms):
            self._accounts.put_user(user)
        for key in await self._store.api_keys.changed_by_others(self._since_ms):
            self._accounts.put_key(key)
        self._since_ms = started_ms - _OVERLAP_MS

    async def _load_bookings(self) -> None:
        bookings = await self._store.bookings.find({"live": 1})
        for gone in self._fleet.bookings.keys() - {booking.id for booking in bookings}:
            self._fleet.drop_booking(gone)
        for booking in bookings:
            self._fleet.put_booking(booking)

    async def _load_accounts(self) -> None:
        users, keys = await self._store.users.find(), await self._store.api_keys.find()
        self._accounts.keep_only({user.name for user in users}, {key.id for key in keys})
        for user in users:
            self._accounts.put_user(user)
        for key in keys:
            self._accounts.put_key(key)

    async def _check_missing(self, live: set[str], started_ms: int) -> None:
        """Sessions that are live in the view and were not in the database's list."""
        for session in [s for s in self._fleet.live() if s.id not in live and s.changed_ms < started_ms]:
            found = await self._store.sessions.get(session.id)
            if found is None:
                self._fleet.drop_session(session.id)
            else:
                self._fleet.put_session(found)
