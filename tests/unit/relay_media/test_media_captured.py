"""Real packets of a browser are read; the same packets with something wrong raise nothing but what is documented."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core import rtcp, rtp, stun, transport_cc
from runtime.relay.core.keyframes import starts_keyframe
from runtime.relay.core.sctp import holds_together
from runtime.relay.core.temporal import Thinner, layer_of
from tests.support.captured import PACKETS, spoiled

MEDIA = {kind.removeprefix("rtp_").upper(): packets for kind, packets in PACKETS.items() if kind.startswith("rtp_")}


def test_every_kind_was_captured() -> None:
    assert set(PACKETS) >= {"stun", "dtls", "sctp", "rtcp"}
    assert set(MEDIA) == {"OPUS", "VP8", "VP9", "H264", "AV1"}


@pytest.mark.parametrize("packet", PACKETS["stun"])
def test_checks_are_read(packet: bytes) -> None:
    request = stun.parse(packet)
    assert request.kind == stun.BINDING_REQUEST
    assert request.username.partition(b":")[0] == stun.local_fragment(packet)


def test_reports_and_requests_are_read() -> None:
    kinds = {type(found) for packet in PACKETS["rtcp"] for found in rtcp.parse(packet)}
    assert kinds >= {rtcp.SenderReport, rtcp.ReceiverReport, rtcp.Remb}


@pytest.mark.parametrize("packet", PACKETS["sctp"])
def test_associations_are_read(packet: bytes) -> None:
    assert holds_together(packet)


@pytest.mark.parametrize(("codec", "packet"), [(codec, packet) for codec, found in MEDIA.items() for packet in found])
def test_media_is_read(codec: str, packet: bytes) -> None:
    assert 0 < rtp.header_bytes(packet) < len(packet)
    assert list(rtp.extensions(packet))
    assert rtp.payload(packet) or packet[0] & 0x20, "only padding has no payload"


@pytest.mark.parametrize("codec", sorted(set(MEDIA) - {"OPUS"}))
def test_a_stream_begins_with_a_keyframe(codec: str) -> None:
    assert any(starts_keyframe(codec, rtp.payload(packet)) for packet in MEDIA[codec])


dice = st.integers(0, 2**32).map(random.Random)


@given(st.sampled_from([p for packets in PACKETS.values() for p in packets]), dice)
def test_a_spoiled_packet_raises_nothing_unexpected_anywhere(packet: bytes, dice: random.Random) -> None:
    """Every reader gets every kind: a peer chooses what it sends where."""
    data = spoiled(packet, dice)
    stun.local_fragment(data)
    holds_together(data)
    for read, error in ((stun.parse, stun.StunError), (rtcp.parse, rtcp.RtcpError), (transport_cc.parse, ValueError)):
        with contextlib.suppress(error):
            read(data)
    if len(data) < rtp.MIN_PACKET_BYTES:
        return
    rtp.extension_text(data, 1)
    assert len(rtp.renumber_extensions(data, {1: 2, 2: 0, 3: 14})) == len(data)
    if rtp.header_bytes(data):
        rtp.retransmission(data, 97, 1, 2)
    body = rtp.payload(data)
    for codec in MEDIA:
        starts_keyframe(codec, body)
        layer_of(codec, body)
        Thinner(codec, 0).take(rtp.HEADER.unpack_from(data), data)
