"""Simulcast: each player gets the layer its link carries, and changes without a break in its numbers."""

from __future__ import annotations

import contextlib
import itertools
import struct
from collections.abc import AsyncIterator

from runtime.relay.core import rtcp
from runtime.relay.core.keyframes import starts_keyframe
from runtime.relay.core.picture_numbers import numbers_of
from runtime.relay.core.rtp import payload
from tests.support.media_peer import RawPeer, sequence_of, timestamp_of
from tests.support.media_session import Session, filming
from tests.support.waiting import until

RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
SIMULCAST = "a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\n"
HIGH, LOW = 0x11110000, 0x22220000
SSRCS = {HIGH: b"h", LOW: b"l"}
CLOCK_OFFSET = {HIGH: 1_000_000, LOW: 77_000}
# Where each layer begins to count its pictures, and those of its lowest temporal layer.
PICTURES = {HIGH: (300, 20), LOW: (40, 250)}
SIZES = {HIGH: (640, 360), LOW: (320, 180)}


def body_of(ssrc: int, frame: int, *, key: bool, first: bool) -> bytes:
    """A VP8 payload (RFC 7741, RFC 6386 section 9.1); of its keyframes only the header is right."""
    picture, base = (start + frame for start in PICTURES[ssrc])
    descriptor = bytes((0x90 if first else 0x80, 0xE0)) + (picture & 0x7FFF | 0x8000).to_bytes(2, "big")
    descriptor += bytes((base & 0xFF, 0x20))
    if not first:
        return descriptor
    width, height = (side.to_bytes(2, "little") for side in SIZES[ssrc])
    return descriptor + (b"\0\0\0\x9d\x01\x2a" + width + height if key else b"\x01")


@contextlib.asynccontextmanager
async def layered_streamer(session: Session, low_parts: int = 1) -> AsyncIterator[RawPeer]:
    """Sends both layers at 50 frames/s, and a keyframe of a layer when asked for one."""
    streamer = await session.streamer(extensions=("5 " + RID,), extra_video=SIMULCAST)

    async def send(frame: int) -> None:
        requests = [p for p in streamer.feedback() if isinstance(p, rtcp.KeyframeRequest)]
        wanted = {ssrc for request in requests for ssrc in request.media}
        streamer.rtcp.clear()
        for ssrc, rid in SSRCS.items():
            key = ssrc in wanted or frame == 0
            extension = bytes.fromhex("BEDE0001") + bytes([0x50]) + rid + b"\0\0"
            stamp = CLOCK_OFFSET[ssrc] + 1800 * frame
            parts, size = (4, 800) if ssrc == HIGH else (low_parts, 50 if low_parts == 1 else 800)
            for part in range(parts):
                body = body_of(ssrc, frame, key=key, first=part == 0) + bytes(size) + rid
                last = part == parts - 1
                await streamer.send_rtp(
                    streamer.packet(ssrc=ssrc, timestamp=stamp, marker=last, payload=body, extension=extension)
                )
            if frame % 25 == 0:
                ntp = (1000 << 32) + int(frame / 50 * (1 << 32))
                await streamer.send_rtcp(rtcp.sender_report(rtcp.SenderReport(ssrc, ntp, stamp, 1, 1)))

    async with filming(send):
        yield streamer


def layers_of(player: RawPeer) -> list[str]:
    """Which layer each received packet is of, in the order of sending."""
    media = player.kinds()["video"].ssrcs[0]
    packets = sorted(player.received(media), key=sequence_of)
    return [packet[-1:].decode() for packet in packets]


async def limit(session: Session, player: RawPeer, layers: int | None, expected: str) -> None:
    """Limit the only player to so many layers, and wait until it gets the layer that follows from it."""
    session.hub.limit_layers("p1", layers)
    await until(lambda: layers_of(player)[-10:] == [expected] * 10, seconds=6 if layers else 8)


def assert_pictures_go_on(packets: list[bytes]) -> None:
    """Numbers of pictures step forward only, whatever the layers count (see ``picture_numbers``)."""
    shown = [numbers for packet in packets if (numbers := numbers_of("VP8", packet)) is not None]
    assert len(shown) == len(packets)
    for before, after in itertools.pairwise(shown):
        assert before.picture is not None
        assert before.base is not None
        assert after.picture is not None
        assert after.base is not None
        assert (after.picture - before.picture) % 2**15 <= 2**13
        assert (after.base - before.base) % 256 <= 64


async def test_a_bad_link_gets_the_low_layer_and_nobody_else_notices(session: Session) -> None:
    async with layered_streamer(session) as streamer:
        good, bad = await session.player("good"), await session.player("bad")
        await until(lambda: len(good.rtp) > 20 and len(bad.rtp) > 20)
        await bad.estimate(30_000_000)
        await good.estimate(30_000_000)
        await until(lambda: session.hub.stats().players[1].estimate_bps)
        await bad.estimate(200_000)
        await until(lambda: layers_of(bad)[-20:] == ["l"] * 20, seconds=6)
        assert layers_of(good)[-20:] == ["h"] * 20
        assert {stream.layer for stream in session.hub.stats().streamer.streams if stream.kind == "video"} == {"h", "l"}  # type: ignore[union-attr]
        await bad.estimate(20_000_000)
        await until(lambda: layers_of(bad)[-20:] == ["h"] * 20, seconds=6)
        assert "h" in layers_of(good)
        assert "l" not in layers_of(good)
    media = bad.kinds()["video"].ssrcs[0]
    packets = sorted(bad.received(media), key=sequence_of)
    numbers = [sequence_of(packet) for packet in packets]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "every change is seamless"
    changes = [i for i in range(1, len(packets)) if layers_of(bad)[i] != layers_of(bad)[i - 1]]
    assert len(changes) >= 2
    for i in changes:
        assert starts_keyframe("VP8", payload(packets[i])), "a change begins with a keyframe"
        step = timestamp_of(packets[i]) - timestamp_of(packets[i - 1])
        assert 0 < step <= 1800 * 3, "the picture's time goes on exactly, by the layers' common clock"
    assert_pictures_go_on(packets)
    assert streamer.dtls.state == "connected"


async def test_a_player_may_be_limited_to_the_low_layer(session: Session) -> None:
    async with layered_streamer(session):
        player = await session.player()
        await until(lambda: "h" in layers_of(player))
        await limit(session, player, 1, "l")
        await limit(session, player, None, "h")
    numbers = sorted(sequence_of(packet) for packet in player.received(player.kinds()["video"].ssrcs[0]))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "every change is seamless"


async def test_a_small_layer_that_takes_much_stays_the_small_one(session: Session) -> None:
    """As after keyframes that were asked of the small one alone: by bitrate it would be the best."""
    async with layered_streamer(session, low_parts=8):
        player = await session.player()
        await until(lambda: layers_of(player)[-10:] == ["h"] * 10)
        await limit(session, player, 1, "l")
        rates = {s.layer: s.bitrate_bps for s in session.hub.stats().streamer.streams if s.kind == "video"}  # type: ignore[union-attr]
        assert rates["l"] > rates["h"]
        seen = len(layers_of(player))
        await until(lambda: len(layers_of(player)) > seen + 100)
        assert set(layers_of(player)[seen:]) == {"l"}
        await limit(session, player, None, "h")


async def test_what_is_sent_again_carries_the_numbers_of_the_first_time(session: Session) -> None:
    async with layered_streamer(session):
        player = await session.player()
        await until(lambda: "h" in layers_of(player))
        await limit(session, player, 1, "l")
        section = player.kinds()["video"]
        media, rtx = section.ssrcs[:2]
        first = player.received(media)[-5]
        assert numbers_of("VP8", first) is not None
        await player.send_rtcp(rtcp.nack(5, media, [sequence_of(first)]))
        again = await until(lambda: player.received(rtx))
    assert payload(again[0]) == struct.pack("!H", sequence_of(first)) + payload(first)


async def test_a_wish_for_a_keyframe_costs_only_the_layer_that_the_player_sees(session: Session) -> None:
    async with layered_streamer(session):
        player = await session.player()
        await limit(session, player, 1, "l")
        ingest = session.hub._streamer.ingest  # type: ignore[union-attr]
        assert ingest is not None
        causes = {source.rid: source.keyframes.causes for source in ingest.layers("video")}
        session.hub.request_keyframe("p1")
        assert {rid: "player" in cause for rid, cause in causes.items()} == {"h": False, "l": True}
