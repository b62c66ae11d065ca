"""Simulcast: each player gets the layer its link carries, and changes without a break in its numbers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from runtime.relay.core import rtcp
from tests.support.media_peer import VP8_DELTA, VP8_KEYFRAME, RawPeer, sequence_of, timestamp_of
from tests.support.media_session import Session, filming
from tests.support.waiting import until

RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
SIMULCAST = "a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\n"
HIGH, LOW = 0x11110000, 0x22220000
SSRCS = {HIGH: b"h", LOW: b"l"}
CLOCK_OFFSET = {HIGH: 1_000_000, LOW: 77_000}


@contextlib.asynccontextmanager
async def layered_streamer(session: Session) -> AsyncIterator[RawPeer]:
    """Sends both layers at 50 frames/s, and a keyframe of a layer when asked for one."""
    streamer = await session.streamer(extensions=("5 " + RID,), extra_video=SIMULCAST)

    async def send(frame: int) -> None:
        requests = [p for p in streamer.feedback() if isinstance(p, rtcp.KeyframeRequest)]
        wanted = {ssrc for request in requests for ssrc in request.media}
        streamer.rtcp.clear()
        for ssrc, rid in SSRCS.items():
            payload = VP8_KEYFRAME if ssrc in wanted or frame == 0 else VP8_DELTA
            extension = bytes.fromhex("BEDE0001") + bytes([0x50]) + rid + b"\0\0"
            stamp = CLOCK_OFFSET[ssrc] + 1800 * frame
            for part in range(4 if ssrc == HIGH else 1):
                body = (payload if part == 0 else b"\x80\x80\x01") + rid + bytes(800 if ssrc == HIGH else 50)
                await streamer.send_rtp(
                    streamer.packet(
                        ssrc=ssrc, timestamp=stamp, marker=part in (0, 3), payload=body, extension=extension
                    )
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
    return ["h" if packet[-1:] == b"\0" and len(packet) > 500 else "l" for packet in packets]


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
        assert packets[i][12 + 8 :][:4] == VP8_KEYFRAME[:4], "a change begins with a keyframe"
        step = timestamp_of(packets[i]) - timestamp_of(packets[i - 1])
        assert 0 < step <= 1800 * 3, "the picture's time goes on exactly, by the layers' common clock"
    assert streamer.dtls.state == "connected"


async def test_a_player_may_be_limited_to_the_low_layer(session: Session) -> None:
    async with layered_streamer(session):
        player = await session.player()
        await until(lambda: "h" in layers_of(player))
        session.hub.limit_layers("p1", 1)
        await until(lambda: layers_of(player)[-10:] == ["l"] * 10, seconds=6)
        session.hub.limit_layers("p1", None)
        await until(lambda: layers_of(player)[-10:] == ["h"] * 10, seconds=8)
    numbers = sorted(sequence_of(packet) for packet in player.received(player.kinds()["video"].ssrcs[0]))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "every change is seamless"
