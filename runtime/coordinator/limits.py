"""Token buckets, bounded in number: the least recently used is forgotten, which can only favour its owner."""

from __future__ import annotations

from collections import OrderedDict

from runtime.chassis.clock import Clock
from runtime.protocol.errors import ServiceError

_BUCKETS = 50_000


class RateLimit:
    """``burst`` at once, then ``per_minute`` for each key."""

    def __init__(self, clock: Clock, *, per_minute: int, burst: int) -> None:
        self._clock = clock
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (tokens, at)

    def take(self, key: str, tokens: float = 1.0) -> None:
        """Raise ``rate_limited`` with the time to wait when the bucket is empty."""
        now = self._clock.monotonic()
        left, at = self._buckets.get(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        if left < tokens:
            raise ServiceError("rate_limited", retry_after_seconds=(tokens - left) / self._per_second)
        self._buckets[key] = (left - tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)
