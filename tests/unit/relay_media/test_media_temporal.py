"""Temporal layers: what a payload says, and what is left of a stream when its upper layers are withheld."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.rtp import HEADER, header_bytes
from runtime.relay.core.temporal import ALL_LAYERS, Layer, Thinner, layer_of


@pytest.mark.parametrize(
    ("codec", "payload", "expected"),
    [
        pytest.param("VP8", "90e0 8001 05 40 01", Layer(1, may_enter=False), id="vp8: 15-bit picture, tl0, tid 1"),
        pytest.param("VP8", "90e0 8001 05 a0 01", Layer(2, may_enter=True), id="vp8: tid 2 with sync"),
        pytest.param("VP8", "9080 01 01", None, id="vp8: no temporal layers"),
        pytest.param("VP8", "10 01", None, id="vp8: no extension"),
        pytest.param("VP9", "ad 8001 40 00", Layer(2, may_enter=False), id="vp9: tid 2"),
        pytest.param("VP9", "ad 8001 30 00", Layer(1, may_enter=True), id="vp9: tid 1, switching up"),
        pytest.param("VP9", "8d 8001 00", None, id="vp9: no layer indices"),
        pytest.param("AV1", "10 34 40 00", Layer(2, may_enter=True), id="av1: one element with an extension"),
        pytest.param("AV1", "20 02 3420 34 20 00", Layer(1, may_enter=True), id="av1: two elements"),
        pytest.param("AV1", "10 30 00", None, id="av1: no extension"),
        pytest.param("AV1", "90 00 00", None, id="av1: goes on"),
        pytest.param("H264", "41 00", Layer(0, may_enter=True), id="h264: a reference"),
        pytest.param("H264", "01 00", Layer(1, may_enter=True), id="h264: nothing refers to it"),
        pytest.param("H264", "1c 81", Layer(1, may_enter=True), id="h264: a fragment of that"),
        pytest.param("H264", "09 f0", None, id="h264: a delimiter"),
        pytest.param("H264", "18 0002 09f0 0002 0100", Layer(1, may_enter=True), id="h264: both together"),
        pytest.param("H265", "02 01 00", Layer(0, may_enter=False), id="h265: base"),
        pytest.param("H265", "06 02 00", Layer(1, may_enter=True), id="h265: access picture of layer 1"),
        pytest.param("H265", "62 03 81", Layer(2, may_enter=False), id="h265: fragment of layer 2"),
        pytest.param("H265", "40 01 00", None, id="h265: parameters"),
        pytest.param("OPUS", "00", None, id="not a picture"),
    ],
)
def test_what_a_payload_says(codec: str, payload: str, expected: Layer | None) -> None:
    assert layer_of(codec, bytes.fromhex(payload)) == expected


@given(st.sampled_from(["VP8", "VP9", "AV1", "H264", "H265"]), st.binary(max_size=40))
def test_no_payload_raises(codec: str, payload: bytes) -> None:
    layer = layer_of(codec, payload)
    assert layer is None or 0 <= layer.number <= 7


@dataclass(frozen=True)
class Packet:
    number: int
    frame: int
    layer: int
    raw: bytes


PATTERN = (0, 2, 1, 2)


def stream(frames: int, packets: int = 2, first: int = 65_500, picture: int = 32_760) -> list[Packet]:
    """VP8 in three layers; the first frame is a keyframe. Numbers wrap."""
    made = []
    number = first
    for frame in range(frames):
        layer = PATTERN[frame % 4]
        for part in range(packets):
            descriptor = bytes((0x90 if part == 0 else 0x80, 0xE0))
            descriptor += (((picture + frame) & 0x7FFF) | 0x8000).to_bytes(2, "big")
            # Every frame of an upper layer may be entered: it depends on lower ones of its own four only.
            body = descriptor + bytes((frame // 4 & 0xFF, layer << 6 | 0x20, 0 if frame == 0 else 1)) + bytes([frame])
            raw = HEADER.pack(0x80, 96 | (part == packets - 1) << 7, number & 0xFFFF, frame * 3000, 1) + body
            made.append(Packet(number & 0xFFFF, frame, layer, raw))
            number += 1
    return made


def picture_of(packet: bytes) -> int:
    at = header_bytes(packet) + 2
    return int.from_bytes(packet[at : at + 2], "big") & 0x7FFF


def take(thinner: Thinner, packet: Packet) -> tuple[int, bytes] | None:
    return thinner.take(HEADER.unpack_from(packet.raw), packet.raw)


@pytest.mark.parametrize("target", [0, 1, 2, ALL_LAYERS])
def test_what_is_withheld_leaves_no_gap(target: int) -> None:
    thinner = Thinner("VP8", target)
    passed = [(p, taken) for p in stream(100) if (taken := take(thinner, p)) is not None]
    assert {p.layer for p, _ in passed} == {layer for layer in (0, 1, 2) if layer <= target}
    numbers = [number for _, (number, _) in passed]
    assert numbers == [(numbers[0] + i) & 0xFFFF for i in range(len(numbers))]
    pictures = [picture_of(raw) for _, (_, raw) in passed]
    steps = {(after - before) & 0x7FFF for before, after in itertools.pairwise(pictures)}
    assert steps == {0, 1}, "pictures count up by one"
    assert thinner.withheld == 200 - len(passed)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 30)), min_size=1, max_size=8))
def test_layers_come_and_go_without_a_frame_that_cannot_be_decoded(changes: list[tuple[int, int]]) -> None:
    thinner = Thinner("VP8", 2)
    frames: set[int] = set()
    numbers: list[int] = []
    plan = [target for target, count in changes for _ in range(count)]
    for packet in stream(len(plan)):
        thinner.target = plan[packet.frame]
        taken = take(thinner, packet)
        if taken is not None:
            frames.add(packet.frame)
            numbers.append(taken[0])
    assert numbers == [(numbers[0] + i) & 0xFFFF for i in range(len(numbers))]
    for frame in frames:
        group, place = frame - frame % 4, frame % 4
        needs = {0: set(), 1: {group}, 2: {group}, 3: {group + 2}}[place] if frame >= 4 or place else set()
        if place != 3:  # the last of four refers to the middle one, if that was sent; with sync it need not be
            assert needs <= frames


@given(st.data())
def test_late_and_lost_packets_keep_their_places(data: st.DataObject) -> None:
    """Whatever order packets come in: nothing is sent twice under one number, and what can be asked for again is
    exactly what was sent."""
    packets = stream(40)
    order = [p for p in packets if data.draw(st.integers(0, 9)) > 0]
    for i in range(1, len(order)):
        if data.draw(st.integers(0, 6)) == 0:
            order[i - 1], order[i] = order[i], order[i - 1]
    thinner = Thinner("VP8", 1)
    sent: dict[int, tuple[Packet, bytes]] = {}
    for packet in order:
        taken = take(thinner, packet)
        if taken is not None:
            number, raw = taken
            assert number not in sent
            sent[number] = packet, raw
    for number, (packet, raw) in sent.items():
        assert thinner.original(number) == packet.number
        assert thinner.again(number, packet.raw) == raw
    assert thinner.original(1_000) is None


def test_a_layer_is_entered_only_where_it_may_be() -> None:
    packets = stream(12, packets=1)
    closed = [
        Packet(p.number, p.frame, p.layer, p.raw[:12] + p.raw[12:17] + bytes((p.layer << 6,)) + p.raw[18:])
        for p in packets
    ]
    thinner = Thinner("VP8", 0)
    for packet in packets[:4]:
        take(thinner, packet)
    thinner.target = 2
    assert [p.layer for p in closed[4:8] if take(thinner, p) is not None] == [0], "no sync, no way in"
    assert [p.layer for p in packets[8:12] if take(thinner, p) is not None] == [0, 1, 2], "one layer after the other"


def test_it_is_over_at_a_keyframe_with_the_streams_own_picture_numbers() -> None:
    thinner = Thinner("VP8", 0)
    for packet in stream(8, packets=1):
        take(thinner, packet)
    thinner.target = ALL_LAYERS
    key = stream(1, packets=1, first=65_508, picture=100)[0]
    key = Packet(key.number, 8, 0, key.raw[:4] + struct.pack("!I", 8 * 3000) + key.raw[8:])
    assert not thinner.is_over
    taken = take(thinner, key)
    assert taken is not None
    assert picture_of(taken[1]) == 100
    assert thinner.is_over
