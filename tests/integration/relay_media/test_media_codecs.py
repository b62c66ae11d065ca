"""Real video of every codec through a real hub: what a decoder gets is what the encoder made."""

from __future__ import annotations

import itertools

import pytest

from runtime.relay.core import rtcp
from tests.support import coded_video
from tests.support.media_peer import RawPeer, sequence_of, timestamp_of
from tests.support.media_session import Session
from tests.support.waiting import until

GROUP = 10
TICKS = 3000
# What browsers offer for H.265 (RFC 7798 section 7.1): main profile, level 3.1.
FMTP = {**coded_video.FMTP, "H265": "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"}


async def send(streamer: RawPeer, to: RawPeer, codec: str, units: list[bytes], first: int) -> list[bytes]:
    """Access units ``first`` and following, each when the last has arrived; answers the payloads in this order."""
    sent: list[bytes] = []
    count = len(received(to))
    for i, unit in enumerate(units, first):
        parts = coded_video.payloads(codec, unit, key=i % GROUP == 0)
        for part in parts:
            await streamer.send_rtp(streamer.packet(timestamp=TICKS * i, marker=part is parts[-1], payload=part))
        sent += parts
        count += len(parts)
        await until(lambda due=count: len(received(to)) == due)  # type: ignore[misc]
    return sent


def received(player: RawPeer) -> list[bytes]:
    return sorted(player.received(player.kinds()["video"].ssrcs[0]), key=sequence_of)


def pictures(player: RawPeer, codec: str) -> int:
    """Decoded from everything that the player got."""
    frames = itertools.groupby(received(player), timestamp_of)
    return coded_video.decode(codec, [coded_video.unit_of(codec, [p[12:] for p in parts]) for _, parts in frames])


def requests(streamer: RawPeer) -> int:
    return sum(isinstance(packet, rtcp.KeyframeRequest) for packet in streamer.feedback())


@pytest.mark.parametrize("codec", coded_video.CODECS)
async def test_a_decoder_gets_what_the_encoder_made_and_a_joiner_its_keyframe(session: Session, codec: str) -> None:
    units = coded_video.encode(codec, 3 * GROUP, GROUP)
    streamer = await session.streamer(codec, audio=False, fmtp=FMTP.get(codec, ""))
    early = await session.player("early")
    assert early.kinds()["video"].ordered_codecs()[0].name == codec
    sent = await send(streamer, early, codec, units[: GROUP + 5], 0)
    assert len(sent) > 2 * (GROUP + 5), "the units are big enough to be fragmented"
    assert [packet[12:] for packet in received(early)] == sent
    assert pictures(early, codec) == GROUP + 5
    stats = session.hub.stats().streamer
    assert stats is not None
    video = stats.streams[0]
    assert (video.codec, video.frames, video.keyframes) == (codec, GROUP + 5, 2)

    # A joiner's keyframe is asked for, and again while what comes is none.
    before = requests(streamer)
    late = await session.player("late")
    await until(lambda: requests(streamer) > before)
    rest = await send(streamer, late, codec, units[GROUP + 5 : 2 * GROUP], GROUP + 5)
    before = requests(streamer)
    await until(lambda: requests(streamer) > before)
    source = session.hub._streamer.ingest.source("video")  # type: ignore[union-attr]
    assert source is not None
    assert source.keyframes.wait_seconds(0.0) is not None
    assert [packet[12:] for packet in received(late)] == rest
    late.rtp.clear()
    whole = await send(streamer, late, codec, units[2 * GROUP :], 2 * GROUP)
    assert source.keyframes.wait_seconds(0.0) is None, "the keyframe ends the asking"
    assert [packet[12:] for packet in received(late)] == whole
    assert pictures(late, codec) == GROUP
