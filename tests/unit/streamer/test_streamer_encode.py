"""Encoders: what the SDP promises, keyframes on demand only, bitrate that follows; and the sound."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
import pytest

from runtime.streamer.audio import FRAME_SAMPLES, SAMPLE_RATE, Sound
from runtime.streamer.canvas import Plane
from runtime.streamer.encode import EncodedFrame, EncoderSettings, VideoEncoder, h264_level, picture_buffer

SETTINGS = {codec: EncoderSettings(codec=codec, width=640, height=360, fps=30) for codec in ("h264", "vp8")}


class Feed:
    """Noise that is new in each frame: hard to encode, so that the bitrate matters."""

    def __init__(self, encoder: VideoEncoder) -> None:
        self.encoder = encoder
        self.frame, self.planes = picture_buffer(encoder.settings.width, encoder.settings.height)
        for plane in self.planes:
            plane[:] = 128
        self._noise: list[Plane] = [
            np.random.default_rng(seed).integers(60, 180, (45, 80)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
            for seed in range(7)
        ]
        self.number = 0

    def frames(self, count: int, keyframe_at: int = -1) -> Iterator[EncodedFrame]:
        for index in range(count):
            self.number += 1
            self.planes[0][90:270, 160:480] = self._noise[self.number % 7]
            encoded = self.encoder.encode(self.frame, self.number * 3000, keyframe=index == keyframe_at)
            if encoded is not None:
                yield encoded

    def rate(self, count: int) -> float:
        """Bits per second over ``count`` frames."""
        return sum(frame.size_bytes for frame in self.frames(count)) * 8 * 30 / count


def nal_units(data: bytes) -> list[bytes]:
    return [unit.strip(b"\0") for unit in data.split(b"\0\0\1") if unit.strip(b"\0")]


def test_h264_is_constrained_baseline_with_headers_in_every_keyframe() -> None:
    feed = Feed(VideoEncoder(SETTINGS["h264"], 1_000_000))
    frames = list(feed.frames(10, keyframe_at=5))
    keyframes = [frame for frame in frames if frame.keyframe]
    assert len(keyframes) == 2
    for frame in keyframes:
        units = nal_units(bytes(frame.packet))
        kinds = [unit[0] & 31 for unit in units]
        assert 7 in kinds  # sequence parameters: whoever joins needs them
        assert 8 in kinds
        assert 5 in kinds  # IDR, not merely intra
        parameters = next(unit for unit in units if unit[0] & 31 == 7)
        profile, constraints, level = parameters[1:4]
        assert profile == 66  # Baseline, ITU-T H.264 A.2.1
        assert constraints & 0x40  # constraint_set1: constrained baseline, as profile-level-id 42e01f says
        assert level == 0x1F
    for frame in frames:
        slices = [unit for unit in nal_units(bytes(frame.packet)) if unit[0] & 31 in (1, 5)]
        assert len(slices) == 1


@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_keyframes_come_when_asked_and_only_then(codec: str) -> None:
    feed = Feed(VideoEncoder(SETTINGS[codec], 1_000_000))
    keys = [number for number, frame in enumerate(feed.frames(90, keyframe_at=40)) if frame.keyframe]
    assert keys == [0, 40]


@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_packets_carry_the_rtp_clock_and_a_quantiser(codec: str) -> None:
    feed = Feed(VideoEncoder(SETTINGS[codec], 1_000_000))
    for number, frame in enumerate(feed.frames(3), 1):
        assert frame.packet.pts == number * 3000
        assert (frame.packet.time_base.numerator, frame.packet.time_base.denominator) == (1, 90_000)
        assert frame.qp is not None
        assert 0 < frame.qp <= 63


@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_the_bitrate_follows_its_target(codec: str) -> None:
    encoder = VideoEncoder(SETTINGS[codec], 3_000_000)
    feed = Feed(encoder)
    feed.rate(30)
    high = feed.rate(60)
    encoder.set_bitrate(400_000)
    feed.rate(30)
    low = feed.rate(60)
    assert low < 0.4 * high
    assert low == pytest.approx(400_000, rel=0.5)
    encoder.set_bitrate(3_000_000)
    feed.rate(30)
    assert feed.rate(60) > 2 * low


def test_x264_follows_a_moderate_change_without_a_new_keyframe() -> None:
    encoder = VideoEncoder(SETTINGS["h264"], 2_000_000)
    feed = Feed(encoder)
    list(feed.frames(10))
    assert encoder.can_follow(1_200_000)
    assert encoder.set_bitrate(1_200_000) is False
    assert encoder.bitrate_bps == 1_200_000
    assert not any(frame.keyframe for frame in feed.frames(30))
    assert encoder.set_bitrate(1_210_000) is False  # too small to matter
    assert encoder.bitrate_bps == 1_200_000
    assert not encoder.can_follow(300_000)
    assert encoder.set_bitrate(300_000) is True
    assert next(feed.frames(1)).keyframe


def test_levels() -> None:
    assert h264_level(1280, 720, 30) == ("3.1", 0x1F)
    assert h264_level(1280, 720, 60) == ("3.2", 0x20)
    assert h264_level(1920, 1080, 30) == ("4", 0x28)
    assert h264_level(1920, 1080, 60) == ("4.2", 0x2A)
    assert h264_level(3840, 2160, 60)[0] == "5.2"


def rms(samples: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> float:
    return float(np.sqrt((samples.astype(np.float64) ** 2).mean()) / 32768)


def test_the_sound_is_audible_and_ticks_on_a_press() -> None:
    sound = Sound()
    blocks = [sound.mix() for _ in range(100)]
    assert all(block.shape == (FRAME_SAMPLES, 2) for block in blocks)
    quiet = rms(np.concatenate(blocks[50:]))
    assert 0.01 < quiet < 0.3
    sound.press(0)
    assert rms(sound.mix()) > 1.5 * quiet
    for _ in range(10):
        sound.mix()
    assert rms(sound.mix()) < 1.5 * rms(np.concatenate(blocks))
    # The loop returns to its beginning without a jump.
    music = sound._music
    assert np.abs(music[0] - music[-1]).max() < 0.02


def test_the_sound_is_opus_that_decodes_to_the_same_level() -> None:
    sound = Sound()
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "stereo", SAMPLE_RATE
    decoded = []
    for index in range(100):
        packet = sound.encode(index * FRAME_SAMPLES)
        assert packet is not None
        assert packet.pts == index * FRAME_SAMPLES
        decoded += [frame.to_ndarray() for frame in decoder.decode(av.Packet(bytes(packet)))]
    samples = np.concatenate([block.reshape(-1) for block in decoded[50:]])
    assert rms(samples) > 0.01
