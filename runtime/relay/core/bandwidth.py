"""Which bitrate the streamer's encoder is asked for, given what each player can take.

There is one encoding for everybody, so somebody's link has to decide. Each player's own estimate (REMB) and its loss
reports are turned into what it can take; the title's policy picks from these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class BandwidthPolicy(StrEnum):
    """Title setting ``bandwidth``: whose link decides the quality that everybody sees."""

    PROTECT_CONTROLLER = "protect_controller"
    PROTECT_SLOWEST = "protect_slowest"
    FIXED = "fixed"


# Loss-based control as in draft-ietf-rmcat-gcc-02 section 6: below 2 % go up, above 10 % go down, between hold.
LOW_LOSS, HIGH_LOSS = 0.02, 0.10
INCREASE_PER_SECOND = 1.08


@dataclass
class LinkEstimate:
    """What one player's link takes, from its reports. Bits per second."""

    maximum_bps: int
    remb_bps: int | None = None
    loss_limit_bps: float = 0.0
    fraction_lost: float = 0.0
    reported_at: float | None = None

    def __post_init__(self) -> None:
        self.loss_limit_bps = float(self.maximum_bps)

    def remb(self, bitrate_bps: int, now: float) -> None:
        self.remb_bps = bitrate_bps
        self.reported_at = now

    def loss(self, fraction_lost: float, sent_bps: float, now: float) -> None:
        """A receiver report about video: 0..1 lost of what was sent at ``sent_bps`` since the last one."""
        seconds = min(2.0, now - self.reported_at) if self.reported_at is not None else 1.0
        self.reported_at = now
        self.fraction_lost = fraction_lost
        if fraction_lost > HIGH_LOSS and sent_bps > 0:
            # Going down starts from what is really sent: a limit far above it would take many reports to matter.
            base = min(self.loss_limit_bps, sent_bps)
            self.loss_limit_bps = base * (1 - 0.5 * fraction_lost)
        elif fraction_lost < LOW_LOSS:
            self.loss_limit_bps = min(self.maximum_bps, self.loss_limit_bps * INCREASE_PER_SECOND**seconds)

    def usable_bps(self) -> int | None:
        """None while nothing is known. A link that fell silent keeps its last value: silence is not capacity."""
        if self.reported_at is None:
            return None
        limit = int(self.loss_limit_bps)
        return limit if self.remb_bps is None else min(limit, self.remb_bps)


@dataclass(frozen=True)
class BandwidthLimits:
    """Bounds on what is ever asked for. Bits per second."""

    minimum_bps: int
    maximum_bps: int


def target_bps(
    policy: BandwidthPolicy,
    limits: BandwidthLimits,
    usable_bps: Iterable[tuple[bool, int | None]],
) -> int:
    """The bitrate to ask the encoder for. ``usable_bps`` has (is in control, usable bitrate or None) of every player.

    ``protect_controller``: the slowest link among those in control; with nobody in control, the median link, so that
    one bad link cannot decide. ``protect_slowest``: the slowest link that can carry the minimum at all; a link that
    cannot would ruin the picture for everybody and still not work. ``fixed``: the maximum.
    """
    if policy is BandwidthPolicy.FIXED:
        return limits.maximum_bps
    known = [(controls, bps) for controls, bps in usable_bps if bps is not None]
    if policy is BandwidthPolicy.PROTECT_SLOWEST:
        candidates = [bps for _, bps in known if bps >= limits.minimum_bps] or [bps for _, bps in known]
        chosen = min(candidates, default=limits.maximum_bps)
    else:
        controlling = [bps for controls, bps in known if controls]
        others = sorted(bps for _, bps in known)
        chosen = min(controlling) if controlling else others[len(others) // 2] if others else limits.maximum_bps
    return max(limits.minimum_bps, min(chosen, limits.maximum_bps))
