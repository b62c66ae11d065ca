"""RTCP: round trips, agreement with another implementation, and robustness."""

from __future__ import annotations

import struct

import pytest
from aiortc import rtp as reference
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core import rtcp

u32 = st.integers(0, 2**32 - 1)
blocks = st.builds(rtcp.ReportBlock, u32, st.integers(0, 255), st.integers(-(2**23), 2**23 - 1), u32, u32, u32, u32)


@given(u32, st.integers(0, 2**64 - 1), u32, u32, u32, st.lists(blocks, max_size=31))
def test_sender_reports_survive(
    ssrc: int, ntp: int, stamp: int, packets: int, octets: int, reports: list[rtcp.ReportBlock]
) -> None:
    # type: ignore[type-arg]
    report = rtcp.SenderReport(ssrc, ntp, stamp, packets, octets, tuple(reports))
    assert rtcp.parse(rtcp.sender_report(report)) == [report]


@given(u32, st.lists(blocks, max_size=31))
def test_receiver_reports_survive_and_others_read_them(ssrc: int, reports: list[rtcp.ReportBlock]) -> None:
    data = rtcp.receiver_report(ssrc, reports) + rtcp.source_description(ssrc, b"relay")
    assert rtcp.parse(data) == [rtcp.ReceiverReport(ssrc, tuple(reports))]
    theirs = reference.RtcpPacket.parse(data)
    assert theirs[0].ssrc == ssrc  # type: ignore[union-attr]
    assert [r.packets_lost for r in theirs[0].reports] == [r.packets_lost for r in reports]  # type: ignore[union-attr]
    assert theirs[1].chunks[0].items == [(1, b"relay")]  # type: ignore[union-attr]


@given(st.sets(st.integers(0, 65535), max_size=60))
def test_nacks_survive_and_others_read_them(lost: set[int]) -> None:
    data = rtcp.nack(1, 2, sorted(lost))
    (packet,) = rtcp.parse(data)
    assert isinstance(packet, rtcp.Nack)
    assert set(packet.lost) == lost
    assert set(reference.RtcpPacket.parse(data)[0].lost) == lost  # type: ignore[union-attr]


def test_nacks_across_the_wrap_are_one_entry() -> None:
    data = rtcp.nack(1, 2, [65534, 65535, 0, 1])
    assert len(data) == 16
    (packet,) = rtcp.parse(data)
    assert packet == rtcp.Nack(1, 2, (65534, 65535, 0, 1))


@given(st.integers(0, 2**40), st.lists(u32, max_size=8))
def test_remb_is_right_to_its_18_bits_and_others_read_it(bitrate: int, media: list[int]) -> None:
    data = rtcp.remb(9, bitrate, media)
    (packet,) = rtcp.parse(data)
    assert isinstance(packet, rtcp.Remb)
    assert packet.media == tuple(media)
    assert packet.bitrate_bps <= bitrate
    assert bitrate - packet.bitrate_bps <= bitrate / 2**17
    theirs = reference.RtcpPacket.parse(data)[0]
    assert reference.unpack_remb_fci(theirs.fci) == (packet.bitrate_bps, media)  # type: ignore[union-attr]


def test_keyframe_requests() -> None:
    assert rtcp.parse(rtcp.picture_loss(1, 2)) == [rtcp.KeyframeRequest(1, (2,))]
    assert rtcp.parse(rtcp.full_intra_request(1, 2, 300)) == [rtcp.KeyframeRequest(1, (2,))]


def test_bye_and_padding_and_unknown_types() -> None:
    padded = struct.pack("!BBHII", 0xA1, 203, 2, 77, 4)
    unknown = struct.pack("!BBHI", 0x80, 207, 1, 1)
    assert rtcp.parse(rtcp.bye([5, 6]) + unknown + padded) == [rtcp.Bye((5, 6)), rtcp.Bye((77,))]


def test_a_later_sender_report_has_moved_clocks() -> None:
    later = rtcp.SenderReport(1, 5 << 32, 0xFFFFFFFF, 2, 3).after(1.5, 90_000)
    assert (later.ntp, later.rtp) == ((5 << 32) + (3 << 31), 134_999)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80",
        b"\x80\xc8\x00\x06" + bytes(20),  # shorter than it says
        b"\x40\xc9\x00\x01" + bytes(4),  # version 1
        b"\x82\xc9\x00\x01" + bytes(4),  # two blocks announced, none there
        b"\xa0\xc9\x00\x01\0\0\0\xff",  # more padding than packet
        b"\x80\xcf\x00\x00" * 65,  # too many packets
        b"\x8f\xce\x00\x04" + bytes(8) + b"REMB" + b"\xff\0\0\0",  # 255 sources announced
    ],
)
def test_what_does_not_hold_together_is_refused(data: bytes) -> None:
    with pytest.raises(rtcp.RtcpError):
        rtcp.parse(data)


def in_range(packets: list[rtcp.RtcpPacket]) -> bool:
    """What was read can be used as it is."""
    reports = (p for p in packets if isinstance(p, rtcp.SenderReport | rtcp.ReceiverReport))
    lost = (n for p in packets if isinstance(p, rtcp.Nack) for n in p.lost)
    return all(0 <= b.fraction_lost <= 255 for p in reports for b in p.blocks) and all(0 <= n <= 0xFFFF for n in lost)


@given(st.binary(max_size=300))
def test_random_bytes_raise_only_rtcp_errors(data: bytes) -> None:
    try:
        packets = rtcp.parse(data)
    except rtcp.RtcpError:
        return
    assert in_range(packets)


@given(st.integers(0, 31), st.sampled_from([200, 201, 202, 203, 205, 206]), st.binary(max_size=80))
def test_random_bodies_raise_only_rtcp_errors(count: int, kind: int, body: bytes) -> None:
    body = body[: len(body) // 4 * 4]
    try:
        packets = rtcp.parse(struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body)
    except rtcp.RtcpError:
        return
    assert len(packets) <= 1
    assert in_range(packets)
