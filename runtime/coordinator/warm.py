"""Warm pools: sessions kept started and unowned, so that a click is answered at once."""

from __future__ import annotations

import logging

from runtime.chassis.clock import Clock
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, SessionState

from .admission import Admission, Wish
from .domain.model import Session, Title
from .fleet import Fleet
from .lifecycle import Lifecycle
from .store.errors import StoreUnavailableError
from .store.locks import Lease

logger = logging.getLogger(__name__)
# A title whose warm sessions fail is not started over and over: 10 s, doubled up to 10 minutes.
_FIRST_PAUSE_MS = 10_000
_LAST_PAUSE_MS = 600_000


class WarmPools:
    """``round`` runs in the instance with the timers' lease."""

    def __init__(self, fleet: Fleet, admission: Admission, lifecycle: Lifecycle, clock: Clock) -> None:
        self._fleet, self._admission, self._lifecycle, self._clock = fleet, admission, lifecycle, clock
        self._failures: dict[str, int] = {}  # title -> failures in a row
        self._not_before: dict[str, int] = {}
        lifecycle.observers.append(self._observe)

    async def round(self, _: Lease) -> None:
        """Bring every title to its target, one start or stop per title and round."""
        try:
            for title in list(self._fleet.titles.values()):
                await self._title(title)
        except StoreUnavailableError as error:
            logger.warning("warm pools: %s", error)

    async def _title(self, title: Title) -> None:
        warm = self._fleet.warm(title.name)
        target = 0 if title.retired else title.warm
        if len(warm) > target:
            await self._admission.give_way(warm[-1])
        elif len(warm) < target and self._may_start(title):
            try:
                await self._admission.create(Wish(title=title, owner=None))
            except ServiceError as error:
                # No room: whoever waits comes first, and the next try is soon enough in a while.
                self._not_before[title.name] = self._clock.now_ms() + _FIRST_PAUSE_MS
                logger.debug("warm pool of %s: %s", title.name, error.message)

    def _may_start(self, title: Title) -> bool:
        if self._clock.now_ms() < self._not_before.get(title.name, 0):
            return False
        return not self._admission.is_contended(title)

    def _observe(self, before: Session | None, after: Session) -> None:
        if not after.warm:
            return
        if after.state is SessionState.READY:
            self._failures.pop(after.title, None)
        elif after.state is SessionState.FAILED and after.owner is None:
            count = self._failures[after.title] = self._failures.get(after.title, 0) + 1
            pause = min(_FIRST_PAUSE_MS * 2 ** (count - 1), _LAST_PAUSE_MS)
            self._not_before[after.title] = self._clock.now_ms() + pause
        elif after.is_final and after.owner is None and after.reason is EndReason.ADMIN_ENDED:
            # It made room for somebody: do not take the room back at once.
            self._not_before[after.title] = self._clock.now_ms() + _FIRST_PAUSE_MS
