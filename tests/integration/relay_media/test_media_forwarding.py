"""RTP from a streamer to players through a real hub, real sockets, real DTLS-SRTP."""

from __future__ import annotations

import asyncio

import pytest

from runtime.relay.core import pacing, rtcp, rtp
from runtime.relay.rtc import source as source_module
from tests.support.media_peer import (
    ABS_SEND_TIME,
    AUDIO_PT,
    AUDIO_SSRC,
    VIDEO_PT,
    VIDEO_SSRC,
    VP8_DELTA,
    VP8_KEYFRAME,
    RawPeer,
    send_frames,
    sequence_of,
    ssrc_of,
    timestamp_of,
)
from tests.support.media_session import Session, SessionMaker
from tests.support.waiting import until


async def test_packets_arrive_unchanged_but_for_their_numbers(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player()
    for i in range(100):
        payload = VP8_KEYFRAME if i == 0 else VP8_DELTA + bytes([i]) * (i * 7 % 300)
        await streamer.send_rtp(streamer.packet(timestamp=3000 * i, payload=payload))
        await streamer.send_rtp(
            streamer.packet(ssrc=AUDIO_SSRC, pt=AUDIO_PT, timestamp=960 * i, payload=bytes([i]) * 40, marker=False)
        )
    video, audio = ssrc_of(player, "video"), ssrc_of(player, "audio")
    await until(lambda: len(player.received(video)) == 100 and len(player.received(audio)) == 100)
    for i, packet in enumerate(player.received(video)):
        assert packet[1] == 0x80 | VIDEO_PT
        assert timestamp_of(packet) == 3000 * i
        assert sequence_of(packet) == 100 + i
        assert packet[12:] == (VP8_KEYFRAME if i == 0 else VP8_DELTA + bytes([i]) * (i * 7 % 300))
    assert [packet[12:] for packet in player.received(audio)] == [bytes([i]) * 40 for i in range(100)]
    assert ("streamer_media",) in session.events.events


async def test_many_players_of_both_srtp_profiles_get_the_same_batch(session: Session) -> None:
    """The authentication tag differs (16 and 10 bytes) and with it the stride of a segmented send."""
    streamer = await session.streamer()
    players = [await session.player(f"p{i}", aes_gcm=i % 2 == 0) for i in range(4)]
    payloads = [VP8_DELTA + bytes(1000 if i % 5 else 300) for i in range(200)]
    for start in range(0, 200, 40):
        for i in range(start, start + 40):
            await streamer.send_rtp(streamer.packet(timestamp=3000 * i, payload=payloads[i]))
        await until(lambda s=start: len(players[3].rtp) >= s + 40)  # type: ignore[misc]
    for player in players:
        await until(lambda p=player: len(p.rtp) == 200)  # type: ignore[misc]
        assert [packet[12:] for packet in player.rtp] == payloads
    assert session.hub.stats().segmentation == "gso"


@pytest.mark.parametrize("mode", ["gso", "option", "none"])
async def test_every_way_of_sending_batches_delivers_them(make_session: SessionMaker, mode: str) -> None:
    session = await make_session(segmentation=mode)
    streamer = await session.streamer()
    player = await session.player()
    # One size per half, so that runs of different strides follow each other, then single packets.
    payloads = [VP8_DELTA + bytes(900)] * 30 + [VP8_DELTA + bytes(500)] * 31
    for i, payload in enumerate(payloads):
        await streamer.send_rtp(streamer.packet(timestamp=3000 * (i // 10), payload=payload, marker=i % 10 == 9))
    await until(lambda: len(player.rtp) == len(payloads))
    assert [packet[12:] for packet in player.rtp] == payloads
    assert session.hub.stats().segmentation == mode


async def test_sender_reports_carry_the_streamers_clock_and_our_counts(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player()
    await send_frames(streamer, 10)
    media = ssrc_of(player, "video")
    await until(lambda: len(player.received(media)) == 10)
    ntp = 0xE0000000_12345678
    await streamer.send_rtcp(rtcp.sender_report(rtcp.SenderReport(VIDEO_SSRC, ntp, 777_000, 4711, 4711)))
    report = await until(lambda: next((p for p in player.feedback() if isinstance(p, rtcp.SenderReport)), None))
    assert (report.ssrc, report.ntp, report.rtp, report.packets) == (media, ntp, 777_000, 10)
    # A round trip is measured from the player's echo of it.
    block = rtcp.ReportBlock(media, 64, 7, 110, 900, ntp >> 16 & 0xFFFFFFFF, 0)
    await player.send_rtcp(rtcp.receiver_report(5, [block]))
    await until(lambda: session.hub.stats().players[0].rtt_ms is not None)
    stats = session.hub.stats().players[0]
    assert stats.fraction_lost == 0.25
    assert stats.packets_lost == 7
    assert stats.jitter_ms == 10.0
    assert 0 <= (stats.rtt_ms or 0) < 5000


async def test_a_joiner_gets_an_extrapolated_sender_report_at_once(session: Session) -> None:
    streamer = await session.streamer()
    await session.player("p1")
    await send_frames(streamer, 5)
    ntp = 0xE0000000_00000000
    await streamer.send_rtcp(rtcp.sender_report(rtcp.SenderReport(VIDEO_SSRC, ntp, 1_500_000, 5, 5)))
    await until(lambda: session.hub.stats().players[0].packets == 5)
    joiner = await session.player("p2")
    await send_frames(streamer, 1, start=5)
    report = await until(lambda: next((p for p in joiner.feedback() if isinstance(p, rtcp.SenderReport)), None))
    elapsed = (report.ntp - ntp) / 2**32
    assert 0 <= elapsed < 10
    assert report.rtp - 1_500_000 == pytest.approx(elapsed * 90_000, abs=2)


async def test_the_streamer_hears_reports_and_the_bitrate_that_the_policy_wants(session: Session) -> None:
    streamer = await session.streamer()
    controller, watcher = await session.player("c"), await session.player("w")
    session.hub.set_controller(frozenset({"c"}))
    await send_frames(streamer, 3)
    for player, bitrate in ((controller, 4_000_000), (watcher, 1_500_000)):
        await player.send_rtcp(rtcp.remb(5, bitrate, [ssrc_of(player, "video")]))

    def asked() -> list[int]:
        return [p.bitrate_bps for p in streamer.feedback() if isinstance(p, rtcp.Remb)]

    await until(lambda: asked() and asked()[-1] == pytest.approx(4_000_000, rel=0.01))
    reports = [p for p in streamer.feedback() if isinstance(p, rtcp.ReceiverReport)]
    assert {block.ssrc for report in reports for block in report.blocks} == {VIDEO_SSRC}
    session.hub.set_controller(frozenset({"w"}))
    await until(lambda: asked()[-1] == pytest.approx(1_500_000, rel=0.01))


async def test_abs_send_time_is_stamped_when_the_packet_leaves(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player()
    extension = bytes.fromhex("BEDE0001") + bytes([0x12]) + b"\0\0\0"
    for i in range(3):
        await streamer.send_rtp(streamer.packet(timestamp=3000 * i, extension=extension))
    media = ssrc_of(player, "video")
    await until(lambda: len(player.received(media)) == 3)
    number = player.kinds()["video"].extensions[ABS_SEND_TIME]
    for packet in player.received(media):
        offset = rtp.extension_offset(packet, number, 3)
        assert offset
        assert packet[offset : offset + 3] != b"\0\0\0"


async def test_a_player_that_offers_gets_its_own_numbers(session: Session) -> None:
    orientation = "urn:3gpp:video-orientation"
    streamer = await session.streamer(extensions=("1 " + ABS_SEND_TIME, "2 " + orientation))
    player = await session.peer()
    player.open_channel("cirrus")
    offer = player.offer(direction="recvonly", pt=102, extensions=("2 " + ABS_SEND_TIME, "7 " + orientation))
    await player.connect(await session.hub.answer_player("p1", offer))
    await until(lambda: ("player_media", "p1") in session.events.events)
    extension = bytes.fromhex("BEDE0002") + bytes([0x12]) + b"\1\2\3" + bytes([0x20, 3, 0, 0])
    await streamer.send_rtp(streamer.packet(timestamp=1, extension=extension))
    media = ssrc_of(player, "video")
    packet = (await until(lambda: player.received(media)))[0]
    assert packet[1] & 0x7F == 102
    assert [(number, size) for number, _, size in rtp.extensions(packet)] == [(2, 3), (7, 1)]
    await player.send_rtcp(rtcp.nack(5, media, [sequence_of(packet)]))
    rtx = (await until(lambda: player.received(player.kinds()["video"].ssrcs[1])))[0]
    assert [(number, size) for number, _, size in rtp.extensions(rtx)] == [(2, 3), (7, 1)]


async def test_a_burst_is_spread_and_arrives_whole_and_in_order(session: Session) -> None:
    """A keyframe of 180 kB at once; sound passes it."""
    streamer = await session.streamer()
    player = await session.player()
    video, audio = ssrc_of(player, "video"), ssrc_of(player, "audio")
    for i in range(150):
        marker = i == 149
        await streamer.send_rtp(streamer.packet(timestamp=3000, marker=marker, payload=VP8_KEYFRAME + bytes(1100)))
        if i % 50 == 49:
            await asyncio.sleep(0)
    await streamer.send_rtp(streamer.packet(ssrc=AUDIO_SSRC, pt=AUDIO_PT, timestamp=1, payload=b"sound"))
    await until(lambda: player.received(audio))
    await until(lambda: len(player.received(video)) == 150)
    assert [sequence_of(p) for p in player.received(video)] == [100 + i for i in range(150)]
    egress = session.hub._players["p1"].egress
    assert egress is not None
    assert egress.pacer.delayed > 0
    assert egress.pacer.waiting_bytes == 0


async def test_single_packets_for_many_leave_together_and_the_end_of_a_frame_at_once(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (pacing, source_module):
        monkeypatch.setattr(module, "GATHER_SECONDS", 60.0)
    streamer = await session.streamer()
    players = [await session.player(f"p{i}") for i in range(pacing.GATHER_PLAYERS)]
    await send_frames(streamer, 1, payload=VP8_KEYFRAME)
    await until(lambda: all(len(player.received(ssrc_of(player, "video"))) == 1 for player in players))
    source = session.hub._streamer.ingest.source("video")  # type: ignore[union-attr]
    assert source is not None
    for _ in range(3):
        await streamer.send_rtp(streamer.packet(timestamp=3000, marker=False, payload=VP8_DELTA))
    await until(lambda: source.reception.received == 4)
    assert source.packets == 1, "they wait"
    sound = streamer.packet(ssrc=AUDIO_SSRC, pt=AUDIO_PT, timestamp=1, payload=b"sound", marker=False)
    await streamer.send_rtp(sound)
    await until(lambda: all(player.received(ssrc_of(player, "audio")) for player in players))
    assert source.packets == 1, "sound passes, and takes no picture along"
    await streamer.send_rtp(streamer.packet(timestamp=3000, marker=True, payload=VP8_DELTA))
    await until(lambda: all(len(player.received(ssrc_of(player, "video"))) == 5 for player in players))
    for player in players:
        assert [sequence_of(p) for p in player.received(ssrc_of(player, "video"))] == [100 + i for i in range(5)]


async def test_a_frame_whose_end_is_lost_does_not_wait_for_it(session: Session) -> None:
    streamer = await session.streamer()
    players = [await session.player(f"p{i}") for i in range(pacing.GATHER_PLAYERS)]
    await send_frames(streamer, 1, payload=VP8_KEYFRAME)
    for _ in range(2):
        await streamer.send_rtp(streamer.packet(timestamp=3000, marker=False, payload=VP8_DELTA))
    await until(lambda: all(len(player.received(ssrc_of(player, "video"))) == 3 for player in players))
    for player in players:
        assert [sequence_of(p) for p in player.received(ssrc_of(player, "video"))] == [100, 101, 102]


async def test_a_returning_streamer_continues_every_players_stream(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player()
    await send_frames(streamer, 10, start=1000)
    media = ssrc_of(player, "video")
    await until(lambda: len(player.received(media)) == 10)
    await streamer.close()
    await until(lambda: session.events.named("streamer_closed"))
    again = await session.streamer()
    for i in range(10):
        payload = VP8_KEYFRAME if i == 0 else VP8_DELTA
        await again.send_rtp(again.packet(ssrc=9999, sequence=60_000 + i, timestamp=77 + 3000 * i, payload=payload))
    await until(lambda: len(player.received(media)) == 20)
    packets = player.received(media)
    assert [sequence_of(p) for p in packets] == [100 + i for i in range(20)]
    stamps = [timestamp_of(p) for p in packets]
    assert stamps == sorted(stamps)
    assert stamps[10] - stamps[9] < 90_000 * 30
    assert stamps[19] - stamps[10] == 9 * 3000
    # What was sent before the change cannot be asked for any more; a wrong packet must not come instead.
    await player.send_rtcp(rtcp.nack(5, media, [103]))
    await until(lambda: session.hub.stats().players[0].nacks == 1)
    assert session.hub.stats().players[0].resent == 0
    assert not session.events.named("reoffer")


async def test_another_codec_means_a_new_offer(session: Session) -> None:
    await session.streamer("VP8")
    player = await session.player()
    await session.streamer("H264", fmtp="packetization-mode=1;profile-level-id=42e01f")
    await until(lambda: ("reoffer", "p1") in session.events.events)
    assert not session.events.named("streamer_closed")
    await player.close()
    again = await session.player("p1")
    assert again.kinds()["video"].ordered_codecs()[0].name == "H264"


async def test_a_new_ssrc_takes_over_after_silence_and_a_stray_one_does_not(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player()
    await send_frames(streamer, 5)
    await streamer.send_rtp(streamer.packet(ssrc=31337, timestamp=5))
    media = ssrc_of(player, "video")
    await until(lambda: len(player.received(media)) == 5)
    await until(lambda: session.hub.stats().counters["rtp_unexpected"] == 1)
    await asyncio.sleep(0.25)  # the silence is the point
    await streamer.send_rtp(streamer.packet(ssrc=31337, timestamp=6))
    await until(lambda: len(player.received(media)) == 6)
    assert [sequence_of(p) for p in player.received(media)] == list(range(100, 106))


async def test_statistics_say_what_happened(session: Session) -> None:
    streamer = await session.streamer()
    await session.player()
    for i in range(30):
        await streamer.send_rtp(streamer.packet(timestamp=3000 * i, payload=VP8_KEYFRAME if i % 10 == 0 else VP8_DELTA))
    await until(lambda: session.hub.stats().players[0].packets == 30)
    await until(lambda: session.hub.stats().players[0].bitrate_bps > 0)
    stats = session.hub.stats()
    assert stats.streamer is not None
    video = stats.streamer.streams[0]
    assert (video.kind, video.codec, video.packets, video.frames, video.keyframes) == ("video", "VP8", 30, 30, 3)
    assert stats.players[0].octets > 30 * 100
    assert stats.players[0].connected


async def test_the_application_hears_only_who_is_in_control(make_session: SessionMaker) -> None:
    session = await make_session(microphone=True)
    streamer = await session.streamer(audio_direction="sendrecv")
    first = await session.player("p1", microphone=True)
    second = await session.player("p2", microphone=True)
    heard = streamer.kinds()["audio"].ssrcs[0]

    async def speak(player: RawPeer, ssrc: int, text: bytes) -> None:
        """Say something, and wait until the relay has it: who is in control is decided when it arrives."""
        microphone = session.hub._players["p1" if player is first else "p2"].microphone
        assert microphone is not None
        before = microphone.sources[0].packets
        await player.send_rtp(player.packet(ssrc=ssrc, pt=AUDIO_PT, payload=text, marker=False))
        await until(lambda: microphone.sources[0].packets == before + 1)

    await speak(first, 71, b"nobody is in control")
    session.hub.set_controller(frozenset({"p1"}))
    await speak(first, 71, b"first")
    await speak(second, 72, b"unheard")
    await until(lambda: streamer.received(heard))
    session.hub.set_controller(frozenset({"p2"}))
    await speak(first, 71, b"unheard")
    await speak(second, 72, b"second")
    await until(lambda: len(streamer.received(heard)) == 2)
    packets = streamer.received(heard)
    assert [packet[12:] for packet in packets] == [b"first", b"second"]
    assert sequence_of(packets[1]) == sequence_of(packets[0]) + 1 & 0xFFFF
    await until(lambda: any(isinstance(p, rtcp.ReceiverReport) for p in first.feedback()))
    session.hub.remove_player("p2")
    await speak(first, 71, b"unheard")
    assert len(streamer.received(heard)) == 2


@pytest.mark.parametrize(("allowed", "direction"), [(False, "sendrecv"), (True, "sendonly")])
async def test_no_microphone_unless_title_and_application_take_it(
    make_session: SessionMaker, allowed: bool, direction: str
) -> None:
    session = await make_session(microphone=allowed)
    streamer = await session.streamer(audio_direction=direction)
    assert streamer.kinds()["audio"].direction == "recvonly"
    player = await session.player("p1", microphone=True)
    assert player.kinds()["audio"].direction == ("sendrecv" if allowed else "sendonly")
    session.hub.set_controller(frozenset({"p1"}))
    await player.send_rtp(player.packet(ssrc=71, pt=AUDIO_PT, payload=b"x"))
    await send_frames(streamer, 1)
    await until(lambda: player.rtp)
    assert not streamer.rtp
