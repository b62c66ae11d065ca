"""Transport-wide feedback says exactly which packets arrived and when."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.transport_cc import MAX_PACKETS, MAX_REPORTED, Arrivals, parse

QUARTER_MS = 0.00025
WRAP = 2**24 * 0.064


def test_nothing_arrived_nothing_to_say() -> None:
    arrivals = Arrivals()
    assert arrivals.feedback() is None
    arrivals.add(5, 1.0)
    assert arrivals.feedback() is not None
    assert arrivals.feedback() is None


def test_losses_between_two_feedbacks_are_named() -> None:
    arrivals = Arrivals()
    arrivals.add(10, 1.0)
    arrivals.feedback()
    arrivals.add(14, 1.1)
    body = arrivals.feedback()
    assert body is not None
    assert [(number, at is not None) for number, at in parse(body)] == [
        (11, False), (12, False), (13, False), (14, True),
    ]  # fmt: skip


def test_a_packet_called_lost_may_be_reported_later() -> None:
    arrivals = Arrivals()
    for number in (1, 2, 4):
        arrivals.add(number, 1.0)
    arrivals.feedback()
    arrivals.add(3, 1.05)
    body = arrivals.feedback()
    assert body is not None
    assert [number for number, at in parse(body) if at is not None] == [3]


@given(
    st.integers(0, 65535),
    st.lists(st.tuples(st.integers(0, 40), st.floats(0, 0.3)), min_size=1, max_size=120),
    st.floats(0, 100_000),
)
def test_every_arrival_is_reported_within_a_quarter_millisecond(
    first: int, steps: list[tuple[int, float]], start: float
) -> None:
    arrivals = Arrivals()
    expected: dict[int, float] = {}
    number, now = first, start
    for ahead, pause in steps:
        number, now = number + ahead, now + pause
        expected.setdefault(number, now)
        arrivals.add(number & 0xFFFF, now)
    first += steps[0][0]
    if number - first >= MAX_PACKETS:
        return
    body = arrivals.feedback()
    assert body is not None
    assert len(body) % 4 == 0
    reported = dict(parse(body))
    assert list(reported) == [n & 0xFFFF for n in range(first, number + 1)]
    for extended, at in expected.items():
        told = reported[extended & 0xFFFF]
        assert told is not None
        assert abs((told - at) % WRAP) <= 2 * QUARTER_MS or abs((told - at) % WRAP - WRAP) <= 2 * QUARTER_MS
    assert sum(at is not None for at in reported.values()) == len(expected)


@given(st.lists(st.tuples(st.integers(0, 65535), st.floats(0, 1000)), max_size=60))
def test_any_numbers_in_any_order_make_a_feedback_that_can_be_read(packets: list[tuple[int, float]]) -> None:
    arrivals = Arrivals()
    for number, at in packets:
        arrivals.add(number, at)
    body = arrivals.feedback()
    if body is not None:
        assert 0 < len(parse(body)) <= MAX_PACKETS


@given(st.binary(max_size=100))
def test_random_bytes_raise_only_value_errors(data: bytes) -> None:
    try:
        found = list(parse(data))
    except ValueError:
        return
    assert all(0 <= number <= 0xFFFF for number, _ in found)


def test_a_cut_feedback_is_refused() -> None:
    arrivals = Arrivals()
    for number in range(30):
        arrivals.add(number, number * 0.01)
    body = arrivals.feedback()
    assert body is not None
    with pytest.raises(ValueError, match="too short"):
        parse(body[:20])


def lost(count: int) -> bytes:
    """A feedback that nothing arrived, in few octets: runs of 8191 (draft section 3.1.3)."""
    runs = [min(0x1FFF, count - start) for start in range(0, count, 0x1FFF)]
    return struct.pack("!HHI", 7, count, 0) + b"".join(struct.pack("!H", run) for run in runs)


def test_what_no_sender_remembers_is_not_read_however_few_octets_it_takes() -> None:
    with pytest.raises(ValueError, match="too many"):
        parse(lost(0xFFFF))
    with pytest.raises(ValueError, match="too many"):
        parse(lost(MAX_REPORTED + 1))
    assert len(parse(lost(MAX_REPORTED))) == MAX_REPORTED
