"""What got lost comes again: packets to players, packets from the streamer, keyframes."""

from __future__ import annotations

import struct

from runtime.relay.core import rtcp
from tests.support.media_peer import (
    VIDEO_PT,
    VIDEO_SSRC,
    VP8_DELTA,
    VP8_KEYFRAME,
    send_frames,
    sequence_of,
    ssrc_of,
)
from tests.support.media_session import Session
from tests.support.waiting import until


async def test_a_lost_packet_comes_back_as_rtx(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player()
    await send_frames(streamer, 20)
    section = player.kinds()["video"]
    media, rtx_ssrc = section.ssrcs[0], section.ssrcs[1]
    await until(lambda: len(player.received(media)) == 20)
    await player.send_rtcp(rtcp.nack(5, media, [104, 105, 110]))
    resent = await until(lambda: len(found := player.received(rtx_ssrc)) == 3 and found)
    assert [packet[12:14] for packet in resent] == [struct.pack("!H", n) for n in (104, 105, 110)]
    assert all(packet[14:] == VP8_DELTA for packet in resent)
    rtx = section.rtx_for(VIDEO_PT)
    assert rtx is not None
    assert {packet[1] & 0x7F for packet in resent} == {rtx.pt}
    sequences = [sequence_of(packet) for packet in resent]
    assert sequences == [sequences[0] + i & 0xFFFF for i in range(3)]
    assert session.hub.stats().players[0].resent == 3


async def test_without_rtx_the_packet_itself_is_repeated(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player(accept_rtx=False)
    await send_frames(streamer, 10)
    media = ssrc_of(player, "video")
    await until(lambda: len(player.received(media)) == 10)
    # The double's own replay protection would drop a packet it already has, so let it miss one.
    player.ice.drop_incoming = lambda data: 128 <= data[0] < 192 and data[2:4] == struct.pack("!H", 110)
    await send_frames(streamer, 2, start=10)
    await until(lambda: len(player.received(media)) == 11)
    player.ice.drop_incoming = lambda data: False
    await player.send_rtcp(rtcp.nack(5, media, [110]))
    repeated = await until(lambda: [p for p in player.received(media) if sequence_of(p) == 110])
    assert [packet[12:] for packet in repeated] == [VP8_DELTA]
    assert session.hub.stats().players[0].resent == 1


async def test_resends_are_limited_but_each_is_answered_once(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player()
    await send_frames(streamer, 10)
    media = ssrc_of(player, "video")
    await until(lambda: len(player.received(media)) == 10)
    for _ in range(5):
        await player.send_rtcp(rtcp.nack(5, media, [105]))
    await player.send_rtcp(rtcp.nack(5, media, [90, 300]))  # before the first and after the last packet sent
    await until(lambda: session.hub.stats().players[0].nacks == 7)
    assert session.hub.stats().players[0].resent == 1


async def test_packets_missing_upstream_are_asked_for_and_arrive_late(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player()
    await send_frames(streamer, 5)
    missing = streamer.packet(timestamp=3000 * 5, payload=VP8_DELTA + b"late")
    await send_frames(streamer, 3, start=6)

    def asked() -> set[int]:
        return {n for packet in streamer.feedback() if isinstance(packet, rtcp.Nack) for n in packet.lost}

    await until(lambda: 105 in asked())
    await streamer.send_rtp(missing)
    media = ssrc_of(player, "video")
    await until(lambda: len(player.received(media)) == 9)
    late = player.received(media)[-1]
    assert sequence_of(late) == 105
    assert late[12:] == VP8_DELTA + b"late"
    stats = session.hub.stats().streamer
    assert stats is not None
    assert stats.streams[0].packets_lost == 0


async def test_keyframe_requests_of_many_players_become_one(session: Session) -> None:
    streamer = await session.streamer()
    players = [await session.player(f"p{i}") for i in range(3)]
    await send_frames(streamer, 1, payload=VP8_KEYFRAME)
    await until(lambda: all(player.rtp for player in players))

    def requests() -> int:
        return sum(isinstance(packet, rtcp.KeyframeRequest) for packet in streamer.feedback())

    before = requests()
    for player in players:
        media = ssrc_of(player, "video")
        await player.send_rtcp(rtcp.picture_loss(5, media))
        await player.send_rtcp(rtcp.full_intra_request(5, media, 1))
    await until(lambda: requests() == before + 1)
    await send_frames(streamer, 1, start=1, payload=VP8_KEYFRAME)
    await until(lambda: all(len(player.rtp) == 2 for player in players))
    assert requests() == before + 1


async def test_a_joiner_is_not_made_to_wait_for_anothers_throttle(session: Session) -> None:
    streamer = await session.streamer()
    first = await session.player("p1")
    await send_frames(streamer, 1, payload=VP8_KEYFRAME)
    await until(lambda: first.rtp)
    await first.send_rtcp(rtcp.picture_loss(5, ssrc_of(first, "video")))

    def requests() -> int:
        return sum(isinstance(packet, rtcp.KeyframeRequest) for packet in streamer.feedback())

    await until(lambda: requests() == 1)
    await send_frames(streamer, 1, start=1, payload=VP8_KEYFRAME)  # answers it; the repair throttle runs 0.5 s
    await until(lambda: len(first.rtp) == 2)
    await session.player("p2")
    assert await until(lambda: requests() == 2, seconds=0.4)


async def test_an_unanswered_keyframe_request_is_repeated(session: Session) -> None:
    streamer = await session.streamer()
    await send_frames(streamer, 1)

    def asked() -> list[tuple[int, ...]]:
        return [p.media for p in streamer.feedback() if isinstance(p, rtcp.KeyframeRequest)]

    await until(lambda: len(asked()) >= 2)
    assert set(asked()) == {(VIDEO_SSRC,)}


async def test_a_streamer_that_knows_only_fir_is_asked_by_fir(session: Session) -> None:
    streamer = await session.streamer(feedback=("ccm fir", "goog-remb"))
    await session.player()
    await send_frames(streamer, 1)
    request = await until(lambda: next((p for p in streamer.feedback() if isinstance(p, rtcp.KeyframeRequest)), None))
    assert request.media == (VIDEO_SSRC,)


async def test_a_keyframe_wished_for_over_the_data_channel_waits_its_turn_like_others(session: Session) -> None:
    """The first wish is heard at once, who keeps wishing ever less often, and nobody pays for somebody else."""
    streamer = await session.streamer()
    eve, ben = await session.player("eve"), await session.player("ben")
    await send_frames(streamer, 1, payload=VP8_KEYFRAME)
    await until(lambda: eve.rtp and ben.rtp)
    ingest = session.hub._streamer.ingest  # type: ignore[union-attr]
    assert ingest is not None
    source = ingest.layers("video")[0]
    heard = source.keyframes.causes
    assert "player" not in heard
    for _ in range(3):
        session.hub.request_keyframe("eve")
    assert heard["player"] == 1
    await eve.send_rtcp(rtcp.picture_loss(5, ssrc_of(eve, "video")))
    await until(lambda: session.hub.stats().players[0].keyframe_requests == 4)
    assert heard["player"] == 2, "wishes do not use up what it may repair"
    session.hub.request_keyframe("eve")
    assert heard["player"] == 2
    session.hub.request_keyframe("ben")
    assert heard["player"] == 3
    session.hub.request_keyframe("nobody")
    assert heard["player"] == 3
    await until(lambda: any(isinstance(packet, rtcp.KeyframeRequest) for packet in streamer.feedback()))
