"""How much may leave at once towards one player.

A streamer without a pacer sends a keyframe as one burst of a few hundred kilobytes; sent on like that it overflows
the buffer in front of a home connection and loses what every player needs most. The bucket lets ordinary frames
through untouched and spreads the rest over the next tens of milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

# The rate may be exceeded this many times, as libwebrtc's own pacer does: spreading must not become a queue.
RATE_FACTOR = 2.5
MIN_BURST_BYTES = 48_000
BURST_SECONDS = 0.02


@dataclass
class TokenBucket:
    """Bytes that may leave now. ``rate_bps`` is what the link is believed to carry."""

    rate_bps: float
    _tokens: float = MIN_BURST_BYTES
    _at: float = 0.0

    @property
    def bytes_per_second(self) -> float:
        return RATE_FACTOR * self.rate_bps / 8

    @property
    def burst_bytes(self) -> float:
        return max(MIN_BURST_BYTES, self.bytes_per_second * BURST_SECONDS)

    def take(self, size: int, now: float) -> bool:
        """True if ``size`` bytes may leave now; then they are paid for. A full bucket pays for any size."""
        self._fill(now)
        if size > self._tokens and self._tokens < self.burst_bytes:
            return False
        self._tokens -= size
        return True

    def affordable(self, now: float) -> int:
        """How many bytes may leave now."""
        self._fill(now)
        return max(0, int(self._tokens))

    def spend(self, size: int) -> None:
        """Pay for bytes that leave in any case."""
        self._tokens -= size

    def _fill(self, now: float) -> None:
        self._tokens = min(self.burst_bytes, self._tokens + (now - self._at) * self.bytes_per_second)
        self._at = now
