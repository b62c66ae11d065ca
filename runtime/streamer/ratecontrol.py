"""The encoder's bitrate from what receivers report.

Every peer gets the same encoding, so the slowest receiver decides. Two signals per peer: the receiver's own estimate
(REMB, draft-alvestrand-rmcat-remb) and the loss in its receiver reports, treated as in the loss-based part of Google
congestion control (draft-ietf-rmcat-gcc, section 6): above 10 % decrease, below 2 % grow slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

_LOSS_HIGH = 0.10
_LOSS_LOW = 0.02
_GROWTH = 1.08
# A decrease must have had time to show before the next one.
_DECREASE_INTERVAL_SECONDS = 0.3


@dataclass
class _PeerRate:
    estimate_bps: float | None = None
    loss_limit_bps: float | None = None
    decreased_seconds: float = float("-inf")


class RateControl:
    """Bits per second for the encoder, between ``min_bps`` and ``max_bps``; ``start_bps`` until somebody reports."""

    def __init__(self, start_bps: int, min_bps: int, max_bps: int) -> None:
        self.start_bps, self.min_bps, self.max_bps = start_bps, min_bps, max_bps
        self._peers: dict[str, _PeerRate] = {}

    def limit(self, *, min_bps: int | None = None, max_bps: int | None = None) -> None:
        """Change the bounds; the lower one never exceeds the upper one."""
        self.max_bps = self.max_bps if max_bps is None else max_bps
        self.min_bps = min(self.min_bps if min_bps is None else min_bps, self.max_bps)

    def on_estimate(self, peer: str, bitrate_bps: int) -> None:
        """A receiver's estimate of what its path carries."""
        self._peers.setdefault(peer, _PeerRate()).estimate_bps = float(bitrate_bps)

    def on_loss(self, peer: str, fraction: float, now_seconds: float) -> None:
        """The fraction lost, 0..1, of a receiver report."""
        state = self._peers.setdefault(peer, _PeerRate())
        if fraction > _LOSS_HIGH:
            if now_seconds - state.decreased_seconds >= _DECREASE_INTERVAL_SECONDS:
                state.decreased_seconds = now_seconds
                state.loss_limit_bps = max(self.min_bps, self.target_bps * (1 - 0.5 * fraction))
        elif fraction < _LOSS_LOW and state.loss_limit_bps is not None:
            state.loss_limit_bps *= _GROWTH
            if state.loss_limit_bps >= self.max_bps:
                state.loss_limit_bps = None

    def on_left(self, peer: str) -> None:
        """A peer is gone; its limits no longer count."""
        self._peers.pop(peer, None)

    @property
    def target_bps(self) -> int:
        """What the encoder should produce now."""
        estimates = [state.estimate_bps for state in self._peers.values() if state.estimate_bps is not None]
        wanted = min(estimates) if estimates else float(self.start_bps)
        limits = [state.loss_limit_bps for state in self._peers.values() if state.loss_limit_bps is not None]
        return round(min(self.max_bps, max(self.min_bps, min([wanted, *limits]))))
