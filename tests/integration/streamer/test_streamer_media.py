"""A real streamer process and a peer that decodes: picture, sound, keyframes, bitrate, size."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from runtime.protocol.datachannel import parse_protocol, text_of
from tests.support.streamer_peer import JoinPlayer, Receiver, SignallingServer, StartStreamer
from tests.support.waiting import until

SMALL = ("--size", "640x360")


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_picture_and_sound_arrive(
    codec: str, server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start("--codec", codec, "--id", "TheTitle")
    assert await server.identified() == "TheTitle"
    player = await join()
    await player.more_frames(45)
    assert player.luma.shape == (720, 1280)
    numbers = [reading.frame for reading in player.readings]
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 0.9 * player.frames  # the strip is readable in nearly every frame, keyframes included
    assert abs(time.time() * 1000 - player.readings[-1].time_ms) < 10_000
    # The RTP clock runs with the wall clock that the frames carry.
    elapsed_ms = player.readings[-1].time_ms - player.readings[0].time_ms
    if len(player.readings) == player.frames:
        assert (player.timestamps[-1] - player.timestamps[0]) / 90 == pytest.approx(elapsed_ms, abs=5)
    await until(lambda: len(player.sound) > 100, "two seconds of sound")
    samples = np.concatenate(player.sound[-50:]).astype(np.float64) / 32768
    assert np.sqrt((samples**2).mean()) > 0.01  # -40 dBFS; silence would be 0


@pytest.mark.parametrize(("codec", "name"), [("h264", "H264/90000"), ("vp8", "VP8/90000")])
async def test_the_offer_is_what_a_forwarding_relay_and_epics_page_need(
    codec: str, name: str, server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start("--codec", codec, *SMALL)
    await server.identified()
    offer = (await join()).offer
    video, audio = offer[offer.index("m=video") :], offer[offer.index("m=audio") :]
    video = video[: video.index("m=", 2)] if "m=" in video[2:] else video
    codecs = [line.split(" ", 1)[1] for line in video.splitlines() if line.startswith("a=rtpmap:")]
    assert codecs == [name, "rtx/90000"]
    assert ("profile-level-id=42e01f" in video) == (codec == "h264")
    assert "a=sendonly" in video
    assert "opus/48000/2" in audio
    assert "G722" not in offer
    # One stream for both, and one transport for all: Epic's page drops anything else.
    streams = {line.split()[0] for line in offer.splitlines() if line.startswith("a=msid:")}
    assert len(streams) == 1
    assert "a=group:BUNDLE 0 1 2" in offer
    assert " 127.0.0.1 " in offer


async def test_the_data_channel_opens_with_what_the_page_must_know(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start(*SMALL, "--fps", "20")
    await server.identified()
    player = await join()
    await until(lambda: player.received("VideoEncoderAvgQP"), "a quantiser each second")
    directions = [int(parse_protocol(message).direction) for message in player.received("Protocol")]
    assert directions == [0, 1]
    assert [message[0] for message in player.messages[:3]] == [255, 255, 7]
    settings = player.received_json("InitialSettings")[0]
    assert settings["WebRTC"]["FPS"] == 20
    assert settings["WebRTC"]["MaxBitrate"] == 20_000_000
    assert player.received("QualityControlOwnership") == [b"\x00\x01"]
    assert 0 < float(text_of(player.received("VideoEncoderAvgQP")[0])) <= 63


async def test_keyframes_come_only_when_they_are_asked_for(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start(*SMALL)
    await server.identified()
    player = await join()
    await player.more_frames(30)
    before = player.keyframes
    await player.more_frames(45)
    assert player.keyframes == before
    await player.ask_for_keyframe()
    await until(lambda: player.keyframes == before + 1, "a keyframe after a PLI")
    player.send("IFrameRequest")
    await until(lambda: player.keyframes == before + 2, "a keyframe after an IFrameRequest")
    await player.more_frames(20)
    assert player.keyframes == before + 2


async def busy(player: Receiver) -> None:
    """Make the picture hard to encode: everything moves fast."""
    player.send("UIInteraction", json.dumps({"press": "warp"}))
    player.send("UIInteraction", json.dumps({"press": "rainbow"}))
    player.send("UIInteraction", json.dumps({"size": 1.9}))
    await player.reading(lambda reading: reading.toggles == 0b110, "the scene is busy")


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_bitrate_and_size_follow_the_receivers_estimate(
    codec: str, server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start("--codec", codec)
    await server.identified()
    player = await join()
    await busy(player)
    await until(lambda: player.received("VideoEncoderAvgQP"), "the quantiser at the start")

    def quantiser() -> float:
        return float(text_of(player.received("VideoEncoderAvgQP")[-1]))

    fine = quantiser()
    await player.estimate(200_000)
    await until(lambda: quantiser() > 1.3 * fine, "coarser pictures at a low rate")
    coarse = quantiser()
    # Sound and headers come on top. A busy machine makes fewer frames, hence less: no lower bound.
    assert await player.rate_bps(1.0) < 500_000
    await until(lambda: player.luma.shape == (360, 640), "a small picture at a low rate")
    number = player.readings[-1].frame
    await player.reading(lambda reading: reading.frame > number + 5, "the marker in the small picture")
    await player.estimate(8_000_000)
    await until(lambda: player.luma.shape == (720, 1280), "the full picture at a high rate")
    await until(lambda: quantiser() < 0.8 * coarse, "finer pictures at a high rate")


async def test_the_owner_changes_the_size_of_the_picture(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start(*SMALL)
    await server.identified()
    player = await join()
    player.send("Command", json.dumps({"Resolution.Width": 801, "Resolution.Height": 450}))
    await until(lambda: player.luma.shape == (450, 800), "the new size")
    await player.more_frames(5)
    number = player.readings[-1].frame
    await player.reading(lambda reading: reading.frame > number + 5, "the marker at the new size")
    player.send("Command", json.dumps({"Resolution.Width": 1, "Resolution.Height": 10**9}))
    await until(lambda: player.luma.shape == (2160, 320), "what is out of bounds is brought within them")


async def test_two_players_share_one_encoding(server: SignallingServer, start: StartStreamer, join: JoinPlayer) -> None:
    await start(*SMALL)
    await server.identified()
    first = await join("first")
    await first.more_frames(10)
    second = await join("second")
    await second.more_frames(20)
    times = {reading.frame: reading.time_ms for reading in first.readings}
    common = [reading for reading in second.readings if reading.frame in times]
    assert len(common) > 10
    assert all(times[reading.frame] == reading.time_ms for reading in common)
    # Ownership of quality control: the first has it, the second asks for it, commands of the other are not obeyed.
    assert second.received("QualityControlOwnership") == [b"\x00\x00"]
    second.send("Command", json.dumps({"Resolution.Width": 800, "Resolution.Height": 450}))
    second.send("RequestQualityControl")
    await until(lambda: second.received("QualityControlOwnership")[-1] == b"\x00\x01", "ownership moves")
    await until(lambda: first.received("QualityControlOwnership")[-1] == b"\x00\x00", "the first one is told")
    await second.more_frames(20)
    assert second.luma.shape == (360, 640)
    # One leaves, the other goes on and owns what it left.
    server.send(type="playerDisconnected", playerId="second")
    await first.more_frames(20)
    await until(lambda: first.received("QualityControlOwnership")[-1] == b"\x00\x01", "ownership returns")
