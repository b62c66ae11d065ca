"""Temporal layers through a real hub: a bad link gets fewer frames and whole ones, and nobody else notices."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from runtime.relay.core import rtcp
from tests.support.media_peer import RawPeer, sequence_of, timestamp_of
from tests.support.media_session import Session, filming
from tests.support.waiting import until

PATTERN = (0, 2, 1, 2)
FRAME_TICKS = 1800


def frame_payload(frame: int, layer: int, *, key: bool, first: bool) -> bytes:
    """A VP8 packet with a picture number, a layer that may be entered, and room to make 4 Mbit/s of it."""
    descriptor = bytes((0x90 if first else 0x80, 0xE0)) + (frame & 0x7FFF | 0x8000).to_bytes(2, "big")
    return descriptor + bytes((frame // 4 & 0xFF, layer << 6 | 0x20, 0 if key else 1)) + bytes(1000)


@contextlib.asynccontextmanager
async def layered_streamer(session: Session) -> AsyncIterator[RawPeer]:
    """Fifty frames a second in three temporal layers, ten packets each; a keyframe when asked for one."""
    streamer = await session.streamer(audio=False)
    wanted = True

    async def send(frame: int) -> None:
        nonlocal wanted
        wanted = wanted or any(isinstance(p, rtcp.KeyframeRequest) for p in streamer.feedback())
        streamer.rtcp.clear()
        key = wanted and frame % 4 == 0
        wanted = wanted and not key
        for part in range(10):
            body = frame_payload(frame, PATTERN[frame % 4], key=key, first=part == 0)
            await streamer.send_rtp(streamer.packet(timestamp=FRAME_TICKS * frame, marker=part == 9, payload=body))

    async with filming(send):
        yield streamer


def layers_of(player: RawPeer, packets: int) -> set[int]:
    """Of the last packets that arrived."""
    media = player.kinds()["video"].ssrcs[0]
    return {packet[12 + 5] >> 6 for packet in player.received(media)[-packets:]}


async def test_a_bad_link_gets_fewer_frames_and_nobody_else_notices(session: Session) -> None:
    async with layered_streamer(session):
        good, bad = await session.player("good"), await session.player("bad")
        session.hub.set_controller(frozenset({"good"}))
        media = bad.kinds()["video"].ssrcs[0]
        await until(lambda: len(good.rtp) > 100 and layers_of(bad, 100) == {0, 1, 2})
        for player in (good, bad):
            await player.estimate(30_000_000)
        await until(lambda: all(player.estimate_bps for player in session.hub.stats().players))
        await bad.estimate(100_000)
        await until(lambda: layers_of(bad, 20) == {0}, seconds=10)
        assert layers_of(good, 200) == {0, 1, 2}
        wanted = sequence_of(bad.received(media)[-5])
        await bad.send_rtcp(rtcp.nack(5, media, [wanted]))
        rtx = bad.kinds()["video"].ssrcs[1]
        again = (await until(lambda: bad.received(rtx)))[0]
        before = next(p for p in bad.received(media) if sequence_of(p) == wanted)
        assert again[12:14] == before[2:4]
        assert again[14:] == before[12:], "what is sent again is what was sent, picture number included"
        await bad.estimate(20_000_000)
        await until(lambda: layers_of(bad, 60) == {0, 1, 2}, seconds=15)
    packets = sorted(bad.received(media), key=sequence_of)
    numbers = [sequence_of(packet) for packet in packets]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "no gap"
    frames = {timestamp_of(packet) for packet in packets[10:-10]}
    whole = [sum(timestamp_of(packet) == frame for packet in packets) for frame in frames]
    assert set(whole) == {10}, "every frame that is sent is sent whole"


async def test_a_player_may_be_limited_in_its_temporal_layers(session: Session) -> None:
    async with layered_streamer(session):
        player = await session.player()
        await until(lambda: len(player.rtp) > 100 and layers_of(player, 100) == {0, 1, 2})
        session.hub.limit_layers("p1", None, 1)
        await until(lambda: layers_of(player, 60) == {0, 1}, seconds=15)
        session.hub.limit_layers("p1", None)
        await until(lambda: layers_of(player, 60) == {0, 1, 2}, seconds=15)
        # The next keyframe ends its own way through the layers: it gets the same batches as everybody again.
        session.hub.request_keyframe("p1")
        source = session.hub._streamer.ingest.source("video")  # type: ignore[union-attr]
        assert source is not None
        await until(lambda: not source.thinned, seconds=5)
        count = len(player.rtp)
        await until(lambda: len(player.rtp) > count + 100)
    media = player.kinds()["video"].ssrcs[0]
    numbers = sorted(sequence_of(packet) for packet in player.received(media))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
