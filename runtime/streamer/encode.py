"""Video encoders for a stream that is encoded once and sent to every peer.

H.264 by libx264, constrained baseline, so that every browser and aiortc's ``42e01f`` accept it; VP8 by libvpx. Both
without lookahead, without B-frames and without periodic keyframes: keyframes come when they are asked for, as from
Unreal.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import av.video.codeccontext
import av.video.frame
import numpy as np

from .canvas import Plane

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

    # Generic in its type hints only.
    AnyPacket = Packet[Stream]


VIDEO_CLOCK = 90_000
_TIME_BASE = Fraction(1, VIDEO_CLOCK)
# FFmpeg reports quality in units of its lambda (FF_QP2LAMBDA).
_QP_UNIT = 118
# x264 keeps the peak rate it was opened with, and follows any target between these parts of it without a new stream.
_PEAK = 1.3
_LIVE_RANGE = 0.4
# Changes below this part are not worth following: libvpx needs a new stream, hence a keyframe, for each.
_TOLERANCE = {"h264": 0.05, "vp8": 0.2}

# Highest macroblocks per second and frame size in macroblocks of each H.264 level (ITU-T H.264 table A-1).
_LEVELS: tuple[tuple[str, int, int, int], ...] = (
    ("3.1", 0x1F, 108_000, 3_600),
    ("3.2", 0x20, 216_000, 5_120),
    ("4", 0x28, 245_760, 8_192),
    ("4.2", 0x2A, 522_240, 8_704),
    ("5.1", 0x33, 983_040, 36_864),
    ("5.2", 0x34, 2_073_600, 36_864),
)


@dataclass(frozen=True)
class EncodedFrame:
    """One frame on the wire's clock; ``qp`` as the encoder reports it."""

    packet: AnyPacket
    keyframe: bool
    qp: float | None
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What an encoder is opened for; QP bounds are H.264's (0..51)."""

    codec: str
    width: int
    height: int
    fps: int
    min_qp: int = 14
    max_qp: int = 48


def h264_level(width: int, height: int, fps: int) -> tuple[str, int]:
    """The lowest level, at least 3.1, that allows the picture: name for x264, and ``level_idc``."""
    blocks = ((width + 15) // 16) * ((height + 15) // 16)
    for name, number, per_second, per_frame in _LEVELS:
        if blocks * fps <= per_second and blocks <= per_frame:
            return name, number
    return _LEVELS[-1][0], _LEVELS[-1][1]


def picture_buffer(width: int, height: int) -> tuple[av.VideoFrame, tuple[Plane, Plane, Plane]]:
    """A yuv420p frame and writable views of its planes without padding. The encoders copy what they keep, so one buffer
    serves for every frame."""
    frame = av.VideoFrame(width, height, "yuv420p")
    planes = [
        np.frombuffer(cast(bytes, plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    ]
    return frame, (planes[0], planes[1], planes[2])


class VideoEncoder:
    """Encodes frames at a target bitrate that may change at any time. Not thread-safe."""

    def __init__(self, settings: EncoderSettings, bitrate_bps: int) -> None:
        self.settings = settings
        self._peak_bps = 0
        self._context = self._open(bitrate_bps)

    @property
    def bitrate_bps(self) -> int:
        """What the encoder aims at now."""
        return self._context.bit_rate or self._peak_bps

    def can_follow(self, bitrate_bps: int) -> bool:
        """Whether ``set_bitrate`` needs no new stream for this rate."""
        return self._is_near(bitrate_bps) or (
            self.settings.codec == "h264" and self._peak_bps * _LIVE_RANGE <= bitrate_bps <= self._peak_bps
        )

    def set_bitrate(self, bitrate_bps: int) -> bool:
        """Aim at another rate. True when that took a new stream, which begins with a keyframe."""
        if self._is_near(bitrate_bps):
            return False
        if self.can_follow(bitrate_bps):
            # libx264's wrapper compares this with each frame and reconfigures the running encoder.
            self._context.bit_rate = bitrate_bps
            return False
        self._context = self._open(bitrate_bps)
        return True

    def _is_near(self, bitrate_bps: int) -> bool:
        return abs(bitrate_bps - self.bitrate_bps) < _TOLERANCE[self.settings.codec] * self.bitrate_bps

    def encode(self, frame: av.VideoFrame, pts: int, *, keyframe: bool) -> EncodedFrame | None:
        """Encode a yuv420p frame; ``pts`` in 1/90000 s. None when the rate control dropped the frame."""
        frame.pts = pts
        frame.time_base = _TIME_BASE
        frame.pict_type = av.video.frame.PictureType.I if keyframe else av.video.frame.PictureType.NONE
        packets = self._context.encode(frame)
        if not packets:
            return None
        packet = packets[0]
        # The encoder may have its own time base; what leaves here is always on the RTP clock.
        packet.pts, packet.dts, packet.time_base = pts, pts, _TIME_BASE
        return EncodedFrame(packet, packet.is_keyframe, _quality(packet), packet.size)

    def _open(self, bitrate_bps: int) -> av.video.codeccontext.VideoCodecContext:
        settings = self.settings
        h264 = settings.codec == "h264"
        self._peak_bps = round(bitrate_bps * _PEAK)
        context = av.CodecContext.create("libx264" if h264 else "libvpx", "w")
        assert isinstance(context, av.video.codeccontext.VideoCodecContext)
        context.width, context.height, context.pix_fmt = settings.width, settings.height, "yuv420p"
        context.time_base = _TIME_BASE
        context.framerate = Fraction(settings.fps)
        context.bit_rate = bitrate_bps
        context.gop_size = 1_000_000
        context.max_b_frames = 0
        # One thread: the machine has other sessions, and slices or tiles would cost bits.
        context.thread_count = 1
        if h264:
            context.profile = "Baseline"
            context.qmin, context.qmax = settings.min_qp, settings.max_qp
            context.options = self._h264_options()
        else:
            # libvpx counts quantisers 0..63.
            context.qmin, context.qmax = settings.min_qp * 63 // 51, settings.max_qp * 63 // 51
            context.options = _vp8_options(bitrate_bps)
        context.open()
        return context

    def _h264_options(self) -> dict[str, str]:
        settings = self.settings
        return {
            "preset": "superfast",
            "tune": "zerolatency",
            "level": h264_level(settings.width, settings.height, settings.fps)[0],
            "forced-idr": "1",
            "sc_threshold": "0",
            "maxrate": str(self._peak_bps),
            # A third of a second: keyframes stay small enough not to delay what follows.
            "bufsize": str(self._peak_bps // 3),
            "x264-params": "colormatrix=smpte170m:colorprim=smpte170m:transfer=smpte170m:fullrange=off",
        }


def _vp8_options(bitrate_bps: int) -> dict[str, str]:
    return {
        "deadline": "realtime",
        "cpu-used": "-12",
        "lag-in-frames": "0",
        "error-resilient": "0",
        "static-thresh": "100",
        "noise-sensitivity": "0",
        "minrate": str(bitrate_bps),
        "maxrate": str(bitrate_bps),
        "bufsize": str(bitrate_bps // 2),
        "undershoot-pct": "100",
        "overshoot-pct": "15",
    }


def _quality(packet: AnyPacket) -> float | None:
    """The quantiser that FFmpeg attached to the packet, if it did."""
    if not packet.has_sidedata("quality_stats"):
        return None
    (value,) = struct.unpack_from("<I", bytes(packet.get_sidedata("quality_stats")))
    return float(value) / _QP_UNIT
