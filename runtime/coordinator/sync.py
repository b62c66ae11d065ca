"""Keep the view current: what other processes changed, every moment; everything, now and then."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

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
_FIRST_PAGE = 500
# While others are served: so few that the embedded engine is done with them within 30 ms.
_PAGE = 40
_END = object()


class Sync:
    """``load`` once, then ``poll`` every ``CHANGES_SECONDS``."""

    def __init__(self, store: Store, fleet: Fleet, accounts: Accounts, clock: Clock) -> None:
        self._store, self._fleet, self._accounts, self._clock = store, fleet, accounts, clock
        self._since_ms = 0
        self._failing = False
        self._everything: AsyncIterator[None] | None = None
        self._everything_at = clock.monotonic()

    async def load(self) -> None:
        """Read everything; the service answers only after this has worked once."""
        started_ms = self._clock.now_ms()
        async for _ in self._pages(_FIRST_PAGE):
            pass
        self._since_ms = started_ms - _OVERLAP_MS

    async def poll(self) -> None:
        """What others changed, and one page of everything when that is due again."""
        try:
            await self._changes()
            await self._go_on()
        except StoreUnavailableError as error:
            if not self._failing:
                logger.warning("the database does not answer; serving the last known state: %s", error)
            self._failing = True
            self._everything = None
            return
        if self._failing:
            logger.warning("the database answers again")
            self._failing = False

    async def _go_on(self) -> None:
        if self._everything is None:
            if self._clock.monotonic() - self._everything_at < _EVERYTHING_SECONDS:
                return
            self._everything = self._pages(_PAGE)
        if await anext(self._everything, _END) is _END:
            self._everything = None

    async def _pages(self, size: int) -> AsyncIterator[None]:
        """Read everything in pages, so that nobody has to wait long for one of them. Finds what changes alone do not
        tell: that something is gone."""
        started_ms = self._clock.now_ms()
        titles: set[str] = set()
        async for page in self._store.titles.pages({}, size):
            for title in page:
                titles.add(title.name)
                self._fleet.put_title(title)
            yield
        for title in [t for t in self._fleet.titles.values() if t.name not in titles and t.changed_ms < started_ms]:
            self._fleet.drop_title(title.name)
        hosts: set[str] = set()
        async for host_page in self._store.hosts.pages({}, size):
            for host in host_page:
                hosts.add(host.name)
                self._fleet.put_host(host)
            yield
        for host in [h for h in self._fleet.hosts.values() if h.name not in hosts and h.changed_ms < started_ms]:
            self._fleet.drop_host(host.name)
        live: set[str] = set()
        async for session_page in self._store.sessions.pages({"live": 1}, size):
            for session in session_page:
                live.add(session.id)
                self._fleet.put_session(session)
            yield
        await self._check_missing(live, started_ms)
        await self._load_bookings()
        await self._load_accounts()
        self._fleet.forget_ended()
        self._everything_at = self._clock.monotonic()

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
        read_ms = self._clock.now_ms()
        users, keys = await self._store.users.find(), await self._store.api_keys.find()
        self._accounts.keep_only({user.name for user in users}, {key.id for key in keys}, read_ms)
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
