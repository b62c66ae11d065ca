"""Work that must run in one instance at a time: its lease, its rounds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from .store.errors import StoreError
from .store.locks import Lease
from .store.store import Store

logger = logging.getLogger(__name__)
LOCK = "timers"
# Renewed every round; another instance takes over this long after the last round of a dead one.
LEASE_SECONDS = 10.0
ROUND_SECONDS = 1.0


class Timers:
    """Runs ``rounds`` in order, once a second, while this instance holds the lease."""

    def __init__(self, store: Store, rounds: list[Callable[[Lease], Awaitable[None]]]) -> None:
        self._store = store
        self._rounds = rounds
        self.holding = False
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Do not wait for the next second: something worth a round has happened."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; then the lease is handed over."""
        try:
            while True:
                await self.round()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ROUND_SECONDS):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            if self.holding:
                with suppress(StoreError):
                    await self._store.locks.release(LOCK)

    async def round(self) -> None:
        """One round, if the lease can be had."""
        try:
            lease = await self._store.locks.acquire(LOCK, LEASE_SECONDS)
        except StoreError as error:
            lease = None
            if self.holding:
                logger.warning("the timers' lease cannot be renewed: %s", error)
        self.holding = lease is not None
        if lease is None:
            return
        for work in self._rounds:
            try:
                # Far below this unless the database hangs; the next round starts over.
                async with asyncio.timeout(LEASE_SECONDS):
                    await work(lease)
            except Exception:
                logger.exception("a round of the timers failed")
