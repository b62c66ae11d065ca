"""The sender's estimate, held to a simulated link: a queue that drains at its rate in front of a fixed delay."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.delay_estimate import DelayEstimate
from runtime.relay.core.transport_cc import Arrivals

M = 1_000_000
PACKET = 1200
START = 2 * M


@dataclass
class Link:
    """Carries ``rate_bps``; what is too much waits."""

    rate_bps: float
    delay: float = 0.025
    free_at: float = 0.0
    arrivals: Arrivals = field(default_factory=Arrivals)

    def send(self, number: int, now: float) -> float:
        """Seconds that the packet waits in the queue."""
        begins = max(now, self.free_at)
        self.free_at = begins + 8 * PACKET / self.rate_bps
        self.arrivals.add(number, self.free_at + self.delay)
        return begins - now


def run(link: Link, estimate: DelayEstimate, seconds: float, start: float = 0.0) -> tuple[int, float]:
    """A sender that sends what the estimate says; (last estimate, longest wait in the second half)."""
    now, credit, feedback_at, bps, longest = start, 0.0, start, float(START), 0.0
    while now < start + seconds:
        now += 0.005
        credit += bps * 0.005 / 8
        count = int(credit // PACKET)
        credit -= count * PACKET
        for number in estimate.take(count, PACKET, now):
            waited = link.send(number, now)
            longest = max(longest, waited) if now > start + seconds / 2 else 0.0
        if now - feedback_at >= 0.1:
            feedback_at = now
            body = link.arrivals.feedback()
            found = estimate.feedback(body, now) if body is not None else None
            bps = found if found is not None else bps
    return int(bps), longest


@pytest.mark.parametrize("rate", [1 * M, 5 * M, 12 * M])
def test_a_link_is_found_and_not_drowned(rate: int) -> None:
    estimate = DelayEstimate(START, 30 * M)
    found, longest = run(Link(rate), estimate, 60)
    assert 0.6 * rate < found < 1.25 * rate
    assert longest < 0.35, "the queue in front of the link stays short"


def test_a_link_that_shrinks_is_followed_within_seconds() -> None:
    estimate, link = DelayEstimate(START, 30 * M), Link(8 * M)
    before, _ = run(link, estimate, 40)
    link.rate_bps = 2 * M
    after, _ = run(link, estimate, 10, start=40)
    assert before > 4.5 * M
    assert after < 2.6 * M


def test_a_wide_link_is_not_limited() -> None:
    estimate = DelayEstimate(START, 10 * M)
    found, _ = run(Link(1000 * M), estimate, 60)
    assert found == 10 * M


def test_an_estimate_never_runs_away_from_what_arrives() -> None:
    estimate, link = DelayEstimate(START, 30 * M), Link(1000 * M)
    found = None
    for tick in range(600):  # a quiet picture: 100 packets a second
        now = 0.01 * tick
        for number in estimate.take(1, PACKET, now):
            link.send(number, now)
        if tick % 10 == 9:
            body = link.arrivals.feedback()
            assert body is not None
            found = estimate.feedback(body, now)
    assert found is not None
    assert found <= START


def test_feedback_about_nothing_says_nothing() -> None:
    estimate = DelayEstimate(START, 30 * M)
    arrivals = Arrivals()
    arrivals.add(77, 1.0)
    body = arrivals.feedback()
    assert body is not None
    assert estimate.feedback(body, 1.0) is None, "a number that was never sent"
    with pytest.raises(ValueError, match="short"):
        estimate.feedback(b"\0", 1.0)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.floats(0, 1e6)), max_size=60), st.integers(0, 200))
def test_no_feedback_breaks_it(packets: list[tuple[int, float]], sent: int) -> None:
    estimate = DelayEstimate(START, 30 * M)
    estimate.take(sent, PACKET, 0.0)
    arrivals = Arrivals()
    for number, at in packets:
        arrivals.add(number, at)
    body = arrivals.feedback()
    if body is not None:
        found = estimate.feedback(body, 1.0)
        assert found is None or 50_000 <= found <= 30 * M
