"""Numbering, losses, reports, resends and keyframes as pure decisions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.forwarding import (
    MAX_GAP,
    NACK_LIFETIME_SECONDS,
    NACK_TRIES,
    RESEND_INTERVAL_SECONDS,
    Numbering,
    PacketCache,
    Reception,
    ResendBudget,
    accepts_source,
)
from runtime.relay.core.keyframes import (
    JOIN_INTERVAL_SECONDS,
    MAX_RETRIES,
    REPAIR_INTERVAL_SECONDS,
    KeyframePolicy,
    RepairBackoff,
    starts_keyframe,
)


def packet(sequence: int) -> bytes:
    return b"\x80\x60" + sequence.to_bytes(2, "big") + bytes(8)


def test_the_cache_gives_back_exactly_what_was_asked_for() -> None:
    cache = PacketCache(capacity=16)
    for sequence in range(65530, 65530 + 20):
        cache.put(sequence & 0xFFFF, packet(sequence & 0xFFFF))
    assert cache.get(65530) is None  # overwritten
    assert cache.get(13) == packet(13)
    assert cache.get(65535) == packet(65535)
    assert cache.get(14) is None
    cache.clear()
    assert cache.get(13) is None


@given(st.integers(0, 65535), st.lists(st.booleans(), min_size=1, max_size=300))
def test_every_gap_is_named_once_and_a_full_count_is_reported(first: int, arrives: list[bool]) -> None:
    reception = Reception(90_000)
    reception.packet(first, 0.0)
    named: list[int] = []
    last = 0
    for i, here in enumerate(arrives, start=1):
        if here:
            named += reception.packet((first + i) & 0xFFFF, 0.01 * i)
            last = i
    missing = [(first + i) & 0xFFFF for i in range(1, last) if not arrives[i - 1]]
    assert named == missing
    assert reception.lost == len(missing)
    report = reception.report(1, 1.0)
    assert report.highest_sequence & 0xFFFF == (first + last) & 0xFFFF
    assert report.packets_lost == len(missing)
    assert report.fraction_lost == len(missing) * 256 // (last + 1)


def test_reordered_packets_are_recovered_and_not_asked_for_again() -> None:
    reception = Reception(90_000)
    for sequence in (1, 2, 5, 4, 3, 6):
        reception.packet(sequence, 0.0)
    assert reception.lost == 0
    assert reception.recovered == 2
    assert reception.overdue(0.1, 0.05) == []


def test_missing_packets_are_asked_for_again_a_few_times_and_then_given_up() -> None:
    reception = Reception(90_000)
    reception.packet(1, 0.0)
    assert list(reception.packet(3, 0.0)) == [2]
    asked, now = 0, 0.0
    while now < 2 * NACK_LIFETIME_SECONDS:
        now += 0.01
        asked += len(reception.overdue(now, 0.05))
    assert 5 <= asked < NACK_TRIES + 1
    assert reception.lost == 1


def test_a_jump_is_a_restart_and_not_thousands_of_losses() -> None:
    reception = Reception(90_000)
    reception.packet(10, 0.0)
    assert list(reception.packet(10 + MAX_GAP + 1, 0.0)) == []
    assert reception.lost == 0


def test_jitter_of_a_steady_stream_is_zero_and_of_a_shaky_one_is_not() -> None:
    steady, shaky = Reception(90_000), Reception(90_000)
    for i in range(200):
        steady.measure_jitter(3000 * i, i / 30)
        shaky.measure_jitter(3000 * i, i / 30 + (0.01 if i % 2 else 0))
    assert steady.jitter_seconds == pytest.approx(0, abs=1e-4)
    assert shaky.jitter_seconds == pytest.approx(0.01, rel=0.1)


def test_the_report_echoes_the_last_sender_report() -> None:
    reception = Reception(90_000)
    reception.packet(1, 0.0)
    reception.sender_report(0x1122334455667788, 10.0)
    block = reception.report(9, 10.5)
    assert block.last_sr == 0x33445566
    assert block.delay_since_sr == 32768


@given(
    st.integers(0, 65535), st.integers(0, 2**32 - 1), st.integers(0, 65535), st.integers(0, 2**32 - 1), st.floats(0, 60)
)
def test_numbers_go_on_across_a_change_of_source(
    old_sequence: int, old_stamp: int, new_sequence: int, new_stamp: int, pause: float
) -> None:
    numbering = Numbering(90_000)
    numbering.align(old_sequence, old_stamp, 0.0)  # nothing was sent yet: the source's own numbers are used
    numbering.sent(old_sequence, old_stamp, 1.0)
    numbering.align(new_sequence, new_stamp, 1.0 + pause)
    assert (new_sequence + numbering.sequence_offset) & 0xFFFF == (old_sequence + 1) & 0xFFFF
    ahead = (new_stamp + numbering.timestamp_offset - old_stamp) & 0xFFFFFFFF
    assert ahead == pytest.approx(max(1, pause * 90_000), abs=2)


def test_resends_are_limited_per_packet_and_in_total() -> None:
    budget = ResendBudget(share=0.5, burst_packets=10)
    assert budget.spend(1, 0.0)
    assert not budget.spend(1, RESEND_INTERVAL_SECONDS / 2)
    assert budget.spend(1, RESEND_INTERVAL_SECONDS)
    assert sum(budget.spend(100 + i, 0.1) for i in range(50)) == 8
    assert budget.refused == 42
    budget.earn(8)
    assert sum(budget.spend(200 + i, 0.2) for i in range(50)) == 4


def test_which_source_may_take_over() -> None:
    assert accepts_source(0, 5, (), 0.0)
    assert accepts_source(0, 5, (7,), 0.0)
    assert accepts_source(5, 7, (7,), 0.0), "an announced source replaces one that was not"
    assert not accepts_source(7, 5, (7,), 0.0)
    assert not accepts_source(5, 6, (), 0.1)
    assert accepts_source(7, 5, (7,), 0.3)


class TestKeyframePolicy:
    def test_one_request_serves_everybody_while_it_is_under_way(self) -> None:
        policy = KeyframePolicy()
        assert policy.want("player", 0.0)
        assert not policy.want("player", 0.01)
        assert not policy.want("join", 0.02)
        policy.keyframe(0.05)
        assert policy.wait_seconds(0.05) is None
        assert policy.causes == {"player": 2, "join": 1}

    def test_a_repair_waits_for_the_throttle_and_is_not_forgotten(self) -> None:
        policy = KeyframePolicy()
        policy.want("player", 0.0)
        policy.keyframe(0.05)
        assert not policy.want("player", 0.1)
        assert policy.wait_seconds(0.1) == pytest.approx(REPAIR_INTERVAL_SECONDS - 0.1)
        assert not policy.due(0.3)
        assert policy.due(REPAIR_INTERVAL_SECONDS)

    def test_a_joiner_waits_at_most_a_tenth_of_a_second(self) -> None:
        policy = KeyframePolicy()
        policy.want("player", 0.0)
        policy.keyframe(0.02)
        assert not policy.want("player", 0.03)
        assert not policy.want("join", 0.04)
        assert policy.wait_seconds(0.04) == pytest.approx(JOIN_INTERVAL_SECONDS - 0.04)
        assert policy.due(JOIN_INTERVAL_SECONDS)
        policy.keyframe(0.15)
        assert policy.want("join", 0.3)

    def test_an_unanswered_request_is_repeated_ever_more_slowly_and_then_given_up(self) -> None:
        policy = KeyframePolicy()
        policy.want("player", 0.0)
        sent = [now / 100 for now in range(1, 10_000) if policy.due(now / 100)]
        assert len(sent) == MAX_RETRIES
        gaps = [b - a for a, b in itertools.pairwise(sent)]
        assert gaps == sorted(gaps)
        assert policy.wait_seconds(100.0) is None
        assert policy.want("player", 100.0)

    def test_a_storm_of_joiners_does_not_become_a_storm_of_keyframes(self) -> None:
        policy = KeyframePolicy()
        for tick in range(1000):
            now = tick / 1000
            if policy.want("join", now) or policy.due(now):
                policy.keyframe(now + 0.0005)
        assert policy.requests <= 11


def test_a_player_that_keeps_asking_gets_fewer_and_fewer_keyframes() -> None:
    backoff = RepairBackoff()
    granted = [i / 10 for i in range(600) if backoff.allow(i / 10)]
    gaps = [b - a for a, b in itertools.pairwise(granted)]
    assert gaps[0] < 1
    assert gaps[-1] >= 9.9
    assert len(granted) < 15
    assert backoff.allow(200.0)
    assert backoff.allow(200.6), "after a calm time it is patient with the player again"
    assert len([i for i in range(100) if RepairBackoff().allow(i / 10, 1.0)]) == 100


def test_a_controllers_repairs_are_never_a_second_apart() -> None:
    backoff = RepairBackoff()
    granted = [i / 10 for i in range(300) if backoff.allow(i / 10, 1.0)]
    assert max(b - a for a, b in itertools.pairwise(granted)) <= 1.01


VP8 = "90 80 01"
KEYFRAMES = [
    ("H264", "65 88", True),
    ("H264", "67 42", True),
    ("H264", "41 9a", False),
    ("H264", "78 0004 67000000 0002 68ce", True),  # STAP-A with parameters
    ("H264", "78 0002 419a 0002 4199", False),
    ("H264", "7c 85 88", True),  # FU-A, IDR, first fragment
    ("H264", "7c 05 88", False),  # a later fragment
    ("H264", "7c 81 88", False),
    ("H264", "", False),
    ("H264", "78 ff", False),
    ("H265", "40 01", True),  # VPS
    ("H265", "26 01", True),  # IDR_W_RADL
    ("H265", "02 01", False),
    ("H265", "62 01 93", True),  # fragment of an IDR
    ("H265", "62 01 13", False),
    ("H265", "60 01 0002 4001", True),  # aggregation
    ("VP8", f"{VP8} 00", True),
    ("VP8", f"{VP8} 01", False),
    ("VP8", "10 00", True),  # no extension
    ("VP8", "80 80 01 00", False),  # not the start of a partition
    ("VP8", "90 e0 8101 05 20 00", True),  # 15-bit picture id, TL0PICIDX, TID
    ("VP8", "90", False),
    ("VP9", "88 01", True),
    ("VP9", "c8 01", False),  # inter-picture predicted
    ("VP9", "80 01", False),  # not the start of a frame
    ("VP9", "a8 01 00", True),  # layer indices, spatial layer 0
    ("VP9", "a8 01 02", False),  # spatial layer 1
    ("AV1", "08 0a", True),
    ("AV1", "10 0a", False),
]


@pytest.mark.parametrize(("codec", "payload", "expected"), KEYFRAMES)
def test_keyframes_are_recognised(codec: str, payload: str, expected: bool) -> None:
    assert starts_keyframe(codec, bytes.fromhex(payload)) is expected


def test_an_unknown_codec_says_nothing() -> None:
    assert starts_keyframe("H266", b"\x00\x01") is None


@given(st.sampled_from(["H264", "H265", "VP8", "VP9", "AV1"]), st.binary(max_size=40))
def test_no_payload_raises(codec: str, payload: bytes) -> None:
    assert starts_keyframe(codec, payload) in (True, False)
