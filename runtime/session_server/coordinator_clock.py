"""Wall time as the coordinator has it, so that a wrong clock on a host refuses no signed request."""

from __future__ import annotations

import logging

from runtime.chassis.clock import Clock

logger = logging.getLogger(__name__)
_TELLING_MS = 10_000


class CoordinatorClock:
    """A :class:`Clock` for signatures. Records keep using the machine's own clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset_ms = 0

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.offset_ms

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def learn(self, coordinator_now_ms: int) -> None:
        """Take over the coordinator's time, as told in an answer that has just come."""
        offset_ms = coordinator_now_ms - self._clock.now_ms()
        if abs(offset_ms - self.offset_ms) > _TELLING_MS:
            logger.warning("this machine's clock differs from the coordinator's by %.0f s; set it", offset_ms / 1000)
        self.offset_ms = offset_ms
