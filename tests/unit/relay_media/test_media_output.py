"""One player's numbers in one stream, with real SRTP and without a network: resends, and sources that jump."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pylibsrtp import Policy, Session

from runtime.relay.core.forwarding import CACHE_PACKETS, MAX_LATE
from runtime.relay.core.negotiation import Outgoing, Track
from runtime.relay.core.pacing import GATHER_PLAYERS
from runtime.relay.core.rtp import HEADER
from runtime.relay.core.sdp import Codec
from runtime.relay.rtc.batch import BatchSender
from runtime.relay.rtc.output import Output
from runtime.relay.rtc.source import Source
from runtime.relay.rtc.srtp import SrtpPair

VP8, OPUS = Codec(96, "VP8", 90_000), Codec(111, "opus", 48_000, 2)
KIND = {"video": VP8, "audio": OPUS}
DELTA = b"\x90\x80\x01\x01"
BATCH = 64


def srtp_session(key: bytes, kind: int) -> Session:
    """With the policy of aiortc's DTLS transport."""
    policy = Policy(key=key, ssrc_type=kind)
    policy.allow_repeat_tx, policy.window_size = True, 1024
    return Session(policy)


class Wire:
    """A player's end of the network: decrypts what arrives."""

    def __init__(self) -> None:
        key = secrets.token_bytes(30)
        out = srtp_session(key, Policy.SSRC_ANY_OUTBOUND)
        self.keys = SrtpPair(srtp_session(key, Policy.SSRC_ANY_INBOUND), out)
        self._session = srtp_session(key, Policy.SSRC_ANY_INBOUND)
        self.arrived: list[bytes] = []
        self.is_listening = True

    def send(self, data: memoryview, address: object) -> bool:
        return self.send_batch(data, len(data), 1, address) == 1

    def send_batch(self, data: memoryview, stride: int, count: int, address: object) -> int:
        if self.is_listening:
            for start in range(0, len(data), stride):
                self.arrived.append(self._session.unprotect(bytes(data[start : start + stride])))
        return count


class Stage:
    """A streamer's streams and the outputs that follow them."""

    def __init__(self, kind: str = "video") -> None:
        self.kind = kind
        self.counters: Counter[str] = Counter()
        self.sender = BatchSender(self.counters)
        self.now = 1.0
        self.asked: list[bytes] = []
        self._peer = SimpleNamespace(closed=False, send_rtcp=self.asked.append)

    def source(self, ssrc: int = 1) -> Source:
        ingest = SimpleNamespace(sender=self.sender, can_nack=False, peer=self._peer, ssrc=9)
        source = Source(cast(Any, ingest), Track(self.kind, "m", KIND[self.kind], {}, ()))
        source.switch(ssrc)
        return source

    def output(self) -> tuple[Output, Wire]:
        wire = Wire()
        peer = SimpleNamespace(
            srtp=wire.keys, closed=False, send_rtcp=lambda packet: None, ice=SimpleNamespace(media_path=(wire, None))
        )
        stream = Outgoing(self.kind, "m", KIND[self.kind], {}, 77)
        return Output(cast(Any, peer), stream, self.sender), wire

    def push(self, source: Source, numbers: Iterable[int], body: bytes = DELTA) -> None:
        """One wake-up's packets, not sent on yet."""
        for number in numbers:
            head = HEADER.pack(
                0x80, 0x80 | KIND[self.kind].pt, number & 0xFFFF, 3000 * number & 0xFFFFFFFF, source.ssrc
            )
            source.push(HEADER.unpack(head), head + body + number.to_bytes(4, "big"), self.now)

    def send(self, source: Source, numbers: Iterable[int], body: bytes = DELTA) -> None:
        self.push(source, numbers, body)
        self.now += 0.01
        source.flush(self.now)

    def stream(self, source: Source, first: int, count: int) -> int:
        """Returns the number behind the last."""
        for start in range(first, first + count, BATCH):
            self.send(source, range(start, min(start + BATCH, first + count)))
        return first + count


@pytest.fixture
def stage() -> Stage:
    return Stage()


def number_of(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


def again(stage: Stage, output: Output, wanted: int) -> int | None:
    """What the player gets for a NACK: the streamer's own number of the packet, or None."""
    stage.now += 1.0
    sent: list[bytes] = []
    output._sender = cast(Any, SimpleNamespace(send_one=lambda packet, receiver: not sent.append(packet)))
    output.resend(wanted & 0xFFFF, stage.now)
    output._sender = stage.sender
    assert all(number_of(packet) == wanted & 0xFFFF for packet in sent)
    return int.from_bytes(sent[0][-4:], "big") if sent else None


def test_packets_are_resent_however_long_the_stream_lasts(stage: Stage) -> None:
    source, (output, wire) = stage.source(), stage.output()
    wire.is_listening = False
    output.attach(source)
    following = 100
    for count in (100, CACHE_PACKETS, 0x7000, 0x1000, 0x4000, 0x9000, 0x10000, 0x18000):
        following = stage.stream(source, following, count)
        assert again(stage, output, following - 1) == following - 1
        assert again(stage, output, following - 90) == following - 90
        assert again(stage, output, following - CACHE_PACKETS - 1) is None
        assert again(stage, output, following) is None


def test_packets_of_before_a_change_are_not_resent_and_all_later_ones_are(stage: Stage) -> None:
    one, two, (output, wire) = stage.source(1), stage.source(2), stage.output()
    wire.is_listening = False
    output.attach(one)
    stage.stream(two, 5000, 200)  # what a player that joins later never saw
    sent = stage.stream(one, 100, 40_000)
    number = sent - 1
    following = {one: sent, two: 5200}
    for source, count in ((two, 500), (one, 0xA000), (two, 0x11000), (one, 70)):
        output.attach(source)
        assert again(stage, output, number) is None, "nothing of this source was sent yet"
        first = number + 1
        following[source] = stage.stream(source, following[source], count)
        number += count
        assert again(stage, output, number) == following[source] - 1
        if count < CACHE_PACKETS:
            assert again(stage, output, first) == following[source] - count
            assert again(stage, output, first - 1) is None
    assert not stage.counters


def test_temporal_layers_that_end_do_not_end_resends(stage: Stage) -> None:
    source, (output, wire) = stage.source(), stage.output()
    wire.is_listening = False
    output.attach(source)
    following = stage.stream(source, 100, 0x9000)
    output.limit_temporal(0)
    following = stage.stream(source, following, 300)
    output.end_thinning()
    assert again(stage, output, following - 1) is None, "sent under numbers that are gone"
    for count in (100, 0x8100, 0x8100):
        following = stage.stream(source, following, count)
        assert again(stage, output, following - 1) == following - 1


@pytest.mark.parametrize("kind", ["video", "audio"])
async def test_a_source_that_jumps_back_does_not_make_srtp_refuse_what_follows(kind: str) -> None:
    """100 to 60000 is a step back by 5636, and libsrtp accepts it from a sender that began below 32768."""
    stage = Stage(kind)
    source, (output, wire) = stage.source(), stage.output()
    output.attach(source)
    sent = stage.stream(source, 30_000, 5000)  # the output's own numbers are beyond that now
    output.attach(other := stage.source(2))
    stage.send(other, range(100, 106))
    stage.send(other, [106, 107, 60_000, 60_001])
    stage.send(other, range(60_002, 60_010))
    output.attach(source)
    stage.send(source, range(sent, sent + 10))
    assert not stage.counters, "nothing was refused"
    assert len(wire.arrived) == 5000 + 18 + 10
    numbers = [number_of(packet) for packet in wire.arrived]
    assert numbers == list(range(30_000, 30_000 + len(numbers)))
    assert len(stage.asked) == (kind == "video"), "players cannot see the jump: a keyframe has to hide it"
    for timer in (other._keyframe_timer, source._keyframe_timer):
        if timer is not None:
            timer.cancel()


def test_after_a_late_packet_another_source_does_not_repeat_numbers(stage: Stage) -> None:
    one, two, (output, wire) = stage.source(1), stage.source(2), stage.output()
    output.attach(one)
    stage.send(one, [100, 101, 103, 102])
    output.attach(two)
    stage.send(two, [500, 502, 501])
    stage.send(two, [503])
    output.attach(one)
    stage.send(one, [104, 106])
    stage.send(one, [105])
    output.attach(two)
    stage.send(two, [504])
    stage.stream(two, 506, MAX_LATE - 2)
    stage.send(two, [505])  # as late as SRTP lets it be, and no jump
    stage.stream(two, 506 + MAX_LATE - 2, 2)
    assert sorted(number_of(packet) for packet in wire.arrived) == list(range(100, 113 + MAX_LATE))
    assert not stage.asked
    assert not stage.counters


async def test_packets_that_wait_for_company_are_sent_before_another_source_takes_over(stage: Stage) -> None:
    source, followers = stage.source(), [stage.output() for _ in range(GATHER_PLAYERS)]
    for output, _ in followers:
        output.attach(source)
    for number in range(100, 105):
        head = HEADER.pack(0x80, VP8.pt, number, 3000, 1)
        source.push(HEADER.unpack(head), head + DELTA + bytes(4), stage.now)
    source.batch_end(stage.now)
    assert not followers[0][1].arrived, "they wait for the rest of their frame"
    source.switch(2)
    stage.send(source, range(7000, 7005))
    source.stop()
    for _, wire in followers:
        assert [number_of(packet) for packet in wire.arrived] == list(range(100, 110))
