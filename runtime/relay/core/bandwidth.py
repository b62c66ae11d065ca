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
# A player's estimate never exceeds 1.5 times what it receives and grows by 8 % a second, so after a quiet picture it
# is low for long, whatever the link could carry. Half as much again as was really sent may be tried while nothing
# speaks against it.
PROBE_FACTOR = 1.5
CAREFUL_FACTOR = 1.15
# How long to follow an estimate that fell, without trying more. Doubled every time a trial was followed by another
# fall.
HOLD_SECONDS, MAX_HOLD_SECONDS = 2.0, 64.0
FALL = 0.97
# A trial has worked when clearly more was sent than at the last fall, and for longer than a buffer can hide it.
SUCCESS_FACTOR, SUCCESS_SECONDS = 1.25, 4.0
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
        self._fell_from_bps = 0.0  # what was sent when the estimate fell last
        self._hold_seconds = HOLD_SECONDS
        self._trying_since: float | None = None

    @property
    def hold_seconds(self) -> float:
        return self._hold_seconds

    def sent(self, bitrate_bps: float, seconds: float, now: float) -> None:
        """What was sent to this player in the last interval of ``seconds``."""
        self._sent_bps = bitrate_bps
        if self.fraction_lost < LOW_LOSS:
            self._peak_bps = max(bitrate_bps, self._peak_bps * PEAK_DECAY_PER_SECOND**seconds)
        lasted = self._trying_since is not None and now - self._trying_since > SUCCESS_SECONDS
        if lasted and bitrate_bps > SUCCESS_FACTOR * self._fell_from_bps:
            self._hold_seconds = HOLD_SECONDS
            self._trying_since = None

    def remb(self, bitrate_bps: int, now: float) -> None:
        """The player's own estimate."""
        if self.remb_bps is not None and bitrate_bps < FALL * self.remb_bps and bitrate_bps < self.limits.maximum_bps:
            self._fell(now)
        self.remb_bps = bitrate_bps
        self._reported_at = now

    def loss(self, fraction_lost: float, now: float) -> None:
        """A receiver report about video: 0..1 of what was sent since the last one."""
        seconds = min(2.0, now - self._reported_at) if self._reported_at is not None else 1.0
        self._reported_at = now
        self.fraction_lost = fraction_lost
        if fraction_lost > HIGH_LOSS and self._sent_bps > 0:
            # Going down starts from what is really sent: a limit far above it would take many reports to matter.
            self._fell(now)
            base = min(self._loss_limit_bps, self._sent_bps)
            self._loss_limit_bps = base * (1 - 0.5 * fraction_lost)
            self._peak_bps = min(self._peak_bps, self._loss_limit_bps)
        elif fraction_lost < LOW_LOSS:
            self._loss_limit_bps = min(self.limits.maximum_bps, self._loss_limit_bps * INCREASE_PER_SECOND**seconds)

    def may_try_more(self, now: float) -> bool:
        """Nothing speaks against sending more than the estimate says."""
        return now - self._fell_at > self._hold_seconds and self.fraction_lost < LOW_LOSS

    def trying_more(self, now: float) -> None:
        """More is being sent as a trial; if the estimate falls now, the next trial comes later."""
        if self._trying_since is None:
            self._trying_since = now

    def _fell(self, now: float) -> None:
        if self._trying_since is not None and now - self._fell_at > 1.0:
            self._hold_seconds = min(MAX_HOLD_SECONDS, 2 * self._hold_seconds)
        self._trying_since = None
        self._fell_at, self._fell_from_bps = now, self._sent_bps
        self._peak_bps = min(self._peak_bps, self._sent_bps)

    def usable_bps(self, now: float) -> int | None:
        """None while nothing is known. A link that fell silent keeps its last value: silence is not capacity."""
        if self._reported_at is None:
            return None
        if self.remb_bps is None:
            # Loss alone says too little too late to let the rate grow by it.
            return int(min(self.limits.start_bps, self._loss_limit_bps))
        wanted = float(self.remb_bps)
        if self.may_try_more(now) and wanted < self._trial_bps():
            wanted = self._trial_bps()
            self.trying_more(now)
        proven = max(float(self.limits.start_bps), PROBE_FACTOR * self._peak_bps)
        return int(min(wanted, self._loss_limit_bps, proven))

    def _trial_bps(self) -> float:
        """What to try: a careful step near the rate at which the link was overloaded last, a bold one elsewhere."""
        near = 0.7 * self._fell_from_bps < self._peak_bps < SUCCESS_FACTOR * self._fell_from_bps
        return (CAREFUL_FACTOR if near else PROBE_FACTOR) * self._peak_bps


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
