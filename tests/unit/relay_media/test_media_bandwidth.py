"""Whose link decides, and what a link is believed to carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.bandwidth import (
    HOLD_SECONDS,
    MAX_HOLD_SECONDS,
    BandwidthLimits,
    BandwidthPolicy,
    LinkEstimate,
    target_bps,
)

M = 1_000_000
LIMITS = BandwidthLimits(1 * M, 6 * M, 30 * M)
CONTROLLER, SLOWEST, FIXED = (
    BandwidthPolicy.PROTECT_CONTROLLER,
    BandwidthPolicy.PROTECT_SLOWEST,
    BandwidthPolicy.FIXED,
)


@pytest.mark.parametrize(
    ("policy", "links", "expected"),
    [
        (FIXED, [(True, 2 * M)], 30 * M),
        (CONTROLLER, [(True, 8 * M), (False, 2 * M)], 8 * M),
        (CONTROLLER, [(False, 2 * M), (False, 9 * M), (False, 12 * M)], 9 * M),
        (CONTROLLER, [(True, None), (False, 5 * M)], 5 * M),
        (CONTROLLER, [(True, 100)], 1 * M),
        (CONTROLLER, [], 6 * M),
        (SLOWEST, [(True, 8 * M), (False, 2 * M)], 2 * M),
        (SLOWEST, [(True, 8 * M), (False, 300_000)], 8 * M),
        (SLOWEST, [(True, 300_000)], 1 * M),
        (SLOWEST, [(True, None)], 6 * M),
        (CONTROLLER, [(True, 90 * M)], 30 * M),
    ],
)
def test_the_policy_decides(policy: BandwidthPolicy, links: list[tuple[bool, int | None]], expected: int) -> None:
    assert target_bps(policy, LIMITS, links) == expected


@given(
    st.sampled_from(list(BandwidthPolicy)),
    st.lists(st.tuples(st.booleans(), st.none() | st.integers(0, 10**9)), max_size=20),
)
def test_the_limits_always_hold(policy: BandwidthPolicy, links: list[tuple[bool, int | None]]) -> None:
    assert LIMITS.minimum_bps <= target_bps(policy, LIMITS, links) <= LIMITS.maximum_bps


def test_a_new_link_must_prove_more_than_the_start() -> None:
    link = LinkEstimate(LIMITS)
    assert link.usable_bps(0.0) is None
    link.remb(30 * M, 0.0)  # what a browser says before it has measured anything
    assert link.usable_bps(0.0) == 6 * M
    link.sent(6 * M, 1.0, 1.0)
    assert link.usable_bps(1.0) == 9 * M
    link.sent(9 * M, 1.0, 2.0)
    assert link.usable_bps(2.0) == 13.5 * M


def test_an_estimate_that_fell_is_followed_for_a_while_and_then_more_is_tried() -> None:
    link = LinkEstimate(LIMITS)
    link.remb(30 * M, 0.0)
    link.sent(1 * M, 1.0, 1.0)
    link.remb(850_000, 10.0)
    assert link.usable_bps(10.5) == 850_000
    assert link.usable_bps(10.0 + HOLD_SECONDS + 0.1) == 1.15 * M, "carefully, where it fell"
    link.sent(2 * M, 1.0, 13.0)
    assert link.usable_bps(13.0) == 3 * M, "boldly, once past it"


def test_trials_that_fail_become_rare_and_one_that_works_makes_them_frequent_again() -> None:
    link = LinkEstimate(LIMITS)
    now = 0.0
    link.remb(30 * M, now)
    for _ in range(10):
        link.sent(3 * M, 1.0, now)
        now += link.hold_seconds + 1
        assert (link.usable_bps(now) or 0) > 2_600_000
        link.remb(4 * M, now + 0.1)
        link.remb(2_550_000, now + 1.2)
        now += 2.5
    assert link.hold_seconds == MAX_HOLD_SECONDS
    now += MAX_HOLD_SECONDS + 1
    link.usable_bps(now)
    link.sent(5 * M, 1.0, now + 1)
    assert link.hold_seconds == MAX_HOLD_SECONDS, "a buffer can hide too much for a second or two"
    link.sent(5 * M, 1.0, now + 5)
    assert link.hold_seconds == HOLD_SECONDS


def test_heavy_loss_lowers_what_a_link_is_believed_to_carry() -> None:
    link = LinkEstimate(LIMITS)
    link.remb(30 * M, 0.0)
    link.sent(10 * M, 1.0, 1.0)
    link.loss(0.3, 1.0)
    assert link.usable_bps(1.0) == pytest.approx(8.5 * M)
    link.sent(8.5 * M, 1.0, 2.0)
    link.loss(0.05, 2.0)
    assert link.usable_bps(2.0) == pytest.approx(8.5 * M)
    for second in range(3, 8):
        link.loss(0.0, float(second))
    assert link.usable_bps(8.0) == pytest.approx(8.5 * M * 1.08**5, rel=0.01)


def test_without_an_estimate_nothing_is_tried() -> None:
    link = LinkEstimate(LIMITS)
    link.loss(0.0, 1.0)
    link.sent(6 * M, 1.0, 1.0)
    assert link.usable_bps(2.0) == 6 * M


def test_random_loss_of_a_tenth_costs_no_quality() -> None:
    link = LinkEstimate(LIMITS)
    link.remb(20 * M, 0.0)
    for second in range(1, 60):
        link.sent(10 * M, 1.0, float(second))
        link.loss(0.07 + 0.06 * (second % 2), float(second))
    assert (link.usable_bps(61.0) or 0) >= 6 * M


class Connection:
    """A home connection and a browser behind it, a second at a time, as draft-ietf-rmcat-gcc-02 section 5.5 has it: the
    estimate falls on overload, else grows by 8 %, or slowly where the last overload was; never past 1.5 times what
    comes."""

    def __init__(self, capacity_bps: float) -> None:
        self.capacity_bps = capacity_bps
        self.estimate_bps = 30.0 * M
        self.overloads = 0
        self._overloaded_at_bps = 0.0

    def second(self, link: LinkEstimate, now: float, wanted_bps: float) -> float:
        """The encoder sends what it wants of what is allowed; returns the rate."""
        sent = min(wanted_bps, link.usable_bps(now) or LIMITS.start_bps)
        received = min(sent, self.capacity_bps)
        if sent > 1.02 * self.capacity_bps:
            self.overloads += 1
            self._overloaded_at_bps = received
            self.estimate_bps = 0.85 * received
        else:
            near = abs(self.estimate_bps - self._overloaded_at_bps) < 0.2 * self._overloaded_at_bps
            grown = self.estimate_bps + 40_000 if near else 1.08 * self.estimate_bps
            self.estimate_bps = max(self.estimate_bps, min(grown, 1.5 * received))
        link.sent(sent, 1.0, now)
        link.remb(int(self.estimate_bps), now)
        link.loss(max(0.0, 1 - received / sent), now)
        return received


def test_a_narrow_link_is_used_well_and_seldom_overloaded() -> None:
    link, connection = LinkEstimate(LIMITS), Connection(4 * M)
    rates = [connection.second(link, float(second), 20 * M) for second in range(300)]
    assert sum(rates[60:]) / 240 > 0.7 * 4 * M
    assert connection.overloads < 25


def test_a_wide_link_is_filled_within_seconds_after_a_quiet_picture() -> None:
    link, connection = LinkEstimate(LIMITS), Connection(50 * M)
    for second in range(20):
        connection.second(link, float(second), 500_000)
    connection.estimate_bps = 450_000  # a false alarm, as jitter on a wireless link causes
    for second in range(20, 40):
        connection.second(link, float(second), 500_000)
    rates = [connection.second(link, float(second), 20 * M) for second in range(40, 55)]
    assert rates[-1] > 10 * M
