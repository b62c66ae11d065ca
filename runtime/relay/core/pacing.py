"""How much may leave at once towards one player, and what may wait for company.

A streamer without a pacer sends a keyframe as one burst of a few hundred kilobytes; sent on like that it overflows
the buffer in front of a home connection and loses what every player needs most. The bucket lets ordinary frames
through untouched and spreads the rest over the next tens of milliseconds.

A streamer with a pacer sends every packet by itself, and one packet to sixteen players is sixteen system calls. Sent
together with its neighbours it costs a third, and nobody sees the difference: a frame can only be decoded when its last
packet is there, and that one never waits.
"""

from __future__ import annotations

from dataclasses import dataclass

# The rate may be exceeded this many times, as libwebrtc's own pacer does: spreading must not become a queue.
RATE_FACTOR = 2.5
MIN_BURST_BYTES = 48_000
BURST_SECONDS = 0.02

# With fewer players than this, sending packets singly costs too little to be worth a delay.
GATHER_PLAYERS = 8
GATHER_SECONDS = 0.0025
# A player's link must not see much larger bursts than the streamer's own pacer makes.
GATHER_PACKETS = 16


def may_gather(players: int, packets: int, waited_seconds: float, *, frame_ended: bool) -> bool:
    """True if ``packets`` of one stream may wait for the next ones of their frame before they are sent on."""
    return (
        not frame_ended and players >= GATHER_PLAYERS and packets < GATHER_PACKETS and waited_seconds < GATHER_SECONDS
    )


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
