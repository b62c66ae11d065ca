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


# Loss-based control as in draft-ietf-rmcat-gcc-02 section 6: below 2 % go up, above the high mark go down, between
# hold. The high mark is 15 rather than 10 %: a wireless link that loses one packet in ten at random is repaired by
# RTX, and no bitrate would make it lose less.
LOW_LOSS, HIGH_LOSS = 0.02, 0.15
INCREASE_PER_SECOND = 1.08
# A player's estimate never exceeds 1.5 times what it receives, so with quiet content it is low whatever the link
# could carry. Twice of what is really sent may be tried while nothing speaks against it.
PROBE_FACTOR = 2.0
# How long to follow an estimate that fell, without trying more. Doubled every time a trial was followed by another
# fall.
HOLD_SECONDS, MAX_HOLD_SECONDS = 2.0, 32.0
FALL = 0.95
# How fast the memory of a high rate fades.
PEAK_DECAY_PER_SECOND = 0.95


@dataclass(frozen=True)
class BandwidthLimits:
    """Bounds on what is ever asked for, and what may be sent to a link that nothing is known about. Bits per second."""

    minimum_bps: int
    start_bps: int
    maximum_bps: int


class LinkEstimate:
    """What one player's link takes, from its reports and from what it has been seen to take. Bits per second.

    A new link starts at ``start_bps`` and must prove more: the first estimate that a browser reports is its upper
    bound, not a measurement, and a stream that begins at that rate would drown a home connection.
    """

    def __init__(self, limits: BandwidthLimits) -> None:
        self.limits = limits
        self.remb_bps: int | None = None
        self.fraction_lost = 0.0
        self._loss_limit_bps = float(limits.maximum_bps)
        self._sent_bps = 0.0
        self._peak_bps = 0.0
        self._reported_at: float | None = None
        self._fell_at = -1e9
        self._fell_to_bps = 0
        self._hold_seconds = HOLD_SECONDS
        self._tried_more = False

    @property
    def hold_seconds(self) -> float:
        return self._hold_seconds

    def sent(self, bitrate_bps: float, seconds: float) -> None:
        """What was sent to this player in the last interval of ``seconds``."""
        self._sent_bps = bitrate_bps
        if self.fraction_lost < LOW_LOSS:
            self._peak_bps = max(bitrate_bps, self._peak_bps * PEAK_DECAY_PER_SECOND**seconds)
        if self._tried_more and bitrate_bps > 1.3 * self._fell_to_bps:
            # More was tried, more was sent, and the estimate did not fall.
            self._hold_seconds = HOLD_SECONDS

    def remb(self, bitrate_bps: int, now: float) -> None:
        if self.remb_bps is not None and bitrate_bps < FALL * self.remb_bps and bitrate_bps < self.limits.maximum_bps:
            if now - self._fell_at > 1.0 and self._tried_more:
                self._hold_seconds = min(MAX_HOLD_SECONDS, 2 * self._hold_seconds)
            self._tried_more = False
            self._fell_at, self._fell_to_bps = now, bitrate_bps
            self._peak_bps = min(self._peak_bps, self._sent_bps)
        self.remb_bps = bitrate_bps
        self._reported_at = now

    def loss(self, fraction_lost: float, now: float) -> None:
        """A receiver report about video: 0..1 of what was sent since the last one."""
        seconds = min(2.0, now - self._reported_at) if self._reported_at is not None else 1.0
        self._reported_at = now
        self.fraction_lost = fraction_lost
        if fraction_lost > HIGH_LOSS and self._sent_bps > 0:
            # Going down starts from what is really sent: a limit far above it would take many reports to matter.
            base = min(self._loss_limit_bps, self._sent_bps)
            self._loss_limit_bps = base * (1 - 0.5 * fraction_lost)
            self._peak_bps = min(self._peak_bps, self._loss_limit_bps)
        elif fraction_lost < LOW_LOSS:
            self._loss_limit_bps = min(self.limits.maximum_bps, self._loss_limit_bps * INCREASE_PER_SECOND**seconds)

    def may_try_more(self, now: float) -> bool:
        """Nothing speaks against sending more than the estimate says."""
        return now - self._fell_at > self._hold_seconds and self.fraction_lost < LOW_LOSS

    def tried_more(self) -> None:
        """More is being sent as a trial; if the estimate falls now, the next trial comes later."""
        self._tried_more = True

    def usable_bps(self, now: float) -> int | None:
        """None while nothing is known. A link that fell silent keeps its last value: silence is not capacity."""
        if self._reported_at is None:
            return None
        wanted = float(self.remb_bps) if self.remb_bps is not None else self._loss_limit_bps
        if self.may_try_more(now) and wanted < PROBE_FACTOR * self._peak_bps:
            wanted = PROBE_FACTOR * self._peak_bps
            self._tried_more = True
        proven = max(float(self.limits.start_bps), PROBE_FACTOR * self._peak_bps)
        return int(min(wanted, self._loss_limit_bps, proven))


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
        chosen = min(candidates, default=limits.start_bps)
    else:
        controlling = [bps for controls, bps in known if controls]
        others = sorted(bps for _, bps in known)
        chosen = min(controlling) if controlling else others[len(others) // 2] if others else limits.start_bps
    return max(limits.minimum_bps, min(chosen, limits.maximum_bps))
