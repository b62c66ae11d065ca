"""The bucket: ordinary frames pass, bursts are spread, nothing is ever owed for long. Gathering: what may wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.pacing import (
    GATHER_PACKETS,
    GATHER_PLAYERS,
    GATHER_SECONDS,
    MIN_BURST_BYTES,
    RATE_FACTOR,
    TokenBucket,
    may_gather,
)

M = 1_000_000


def test_a_steady_stream_at_its_rate_is_never_held() -> None:
    bucket = TokenBucket(15 * M)
    for frame in range(600):
        assert bucket.take(31_250, frame / 60)


def test_a_keyframe_is_spread_over_the_time_the_link_needs() -> None:
    bucket = TokenBucket(10 * M)
    sent, now, size = 0, 1.0, 400_000
    began = now
    while sent < size:
        if bucket.take(1200, now):
            sent += 1200
        else:
            now += 0.001
    expected = (size - bucket.burst_bytes) / (RATE_FACTOR * 10 * M / 8)
    assert now - began == pytest.approx(expected, rel=0.1)


def test_a_full_bucket_pays_for_a_batch_of_any_size() -> None:
    bucket = TokenBucket(1 * M)
    assert bucket.take(10 * MIN_BURST_BYTES, 1.0)
    assert not bucket.take(1, 1.0)
    assert bucket.affordable(1.0) == 0


@given(st.floats(1, 1e9), st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 1)), max_size=100))
def test_no_more_than_rate_and_burst_leaves_in_any_interval(rate: float, sends: list[tuple[int, float]]) -> None:
    bucket = TokenBucket(rate)
    now, sent, largest = 1.0, 0, 0
    for size, pause in sends:
        now += pause
        if bucket.take(size, now):
            sent += size
            largest = max(largest, size)
    allowed = max(bucket.burst_bytes, MIN_BURST_BYTES) + largest + (now - 1.0) * bucket.bytes_per_second
    assert sent <= allowed * 1.001 + 1


@pytest.mark.parametrize(
    ("players", "packets", "waited", "frame_ended", "expected"),
    [
        pytest.param(GATHER_PLAYERS, 1, 0.0, False, True, id="in the middle of a frame, for many"),
        pytest.param(GATHER_PLAYERS, 1, 0.0, True, False, id="the end of a frame is what a decoder waits for"),
        pytest.param(GATHER_PLAYERS - 1, 1, 0.0, False, False, id="few players cost little"),
        pytest.param(GATHER_PLAYERS, GATHER_PACKETS, 0.0, False, False, id="enough are together"),
        pytest.param(GATHER_PLAYERS, 1, GATHER_SECONDS, False, False, id="long enough"),
    ],
)
def test_what_may_wait_for_more(players: int, packets: int, waited: float, frame_ended: bool, expected: bool) -> None:
    assert may_gather(players, packets, waited, frame_ended=frame_ended) is expected
