"""Limits on how often something may happen."""

from __future__ import annotations


class TokenBucket:
    """Allows ``rate`` per second for ever and ``burst`` at once. Time is passed in, in seconds."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens = burst
        self._filled_at: float | None = None

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take ``amount`` if it is there; False leaves the bucket as it was."""
        if self._filled_at is not None:
            # A clock that steps back must not empty the bucket.
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._filled_at) * self._rate)
        self._filled_at = now
        if amount > self._tokens:
            return False
        self._tokens -= amount
        return True
