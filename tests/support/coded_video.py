"""Real video as RTP carries it: access units of each codec, cut into payloads and put together again.

Only what a packet forwarder can get wrong is here: one layer, no losses, payloads in the order of sending.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, cast

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

WIDTH, HEIGHT, FPS = 160, 96, 30
CODECS = ("H264", "VP8", "VP9", "AV1", "H265")
FMTP = {"H264": "packetization-mode=1;profile-level-id=42e01f", "VP9": "profile-id=0"}
_PAYLOAD_BYTES = 1000
_DECODERS = {"H264": "h264", "VP8": "vp8", "VP9": "vp9", "AV1": "libdav1d", "H265": "hevc"}


def _encoder(codec: str, keyframe_every: int) -> tuple[str, dict[str, str]]:
    every = str(keyframe_every)
    vpx = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0", "keyint_min": every}
    h265 = f"keyint={every}:min-keyint={every}:scenecut=0:bframes=0:repeat-headers=1:open-gop=0:log-level=none"
    return {
        "H264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "sc_threshold": "0"}),
        "VP8": ("libvpx", vpx),
        "VP9": ("libvpx-vp9", vpx),
        "AV1": ("libsvtav1", {"preset": "12", "svtav1-params": f"pred-struct=1:rc=2:keyint={every}:lookahead=0"}),
        "H265": ("libx265", {"preset": "ultrafast", "tune": "zerolatency", "x265-params": h265}),
    }[codec]


def encode(
    codec: str,
    count: int,
    keyframe_every: int,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixel_format: str = "yuv420p",
    **more: str,
) -> list[bytes]:
    """``count`` access units, every ``keyframe_every``-th a keyframe, without reordering; each has several packets.
    ``more`` are options of the encoder."""
    name, options = _encoder(codec, keyframe_every)
    options |= more
    context = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
    context.width, context.height, context.pix_fmt = *size, pixel_format
    context.time_base, context.framerate = Fraction(1, FPS), Fraction(FPS)
    context.gop_size, context.max_b_frames, context.bit_rate, context.options = keyframe_every, 0, 1_000_000, options
    dice = random.Random(codec)
    packets: list[Packet[Any]] = []
    for i in range(count):
        frame = av.VideoFrame(*size, pixel_format)
        for plane in frame.planes:
            plane.update(dice.randbytes(plane.buffer_size))
        frame.pts = i
        packets += context.encode(frame)
    packets += context.encode(None)
    assert [packet.is_keyframe for packet in packets] == [i % keyframe_every == 0 for i in range(count)]
    return [bytes(packet) for packet in packets]


def decode(codec: str, units: Iterable[bytes]) -> int:
    """How many pictures the units make. Raises ``av.error.FFmpegError`` for what no decoder takes."""
    context = cast(VideoCodecContext, av.CodecContext.create(_DECODERS[codec], "r"))
    context.options = {"err_detect": "explode"}
    frames: list[Any] = [frame for unit in units for frame in context.decode(Packet(unit))]
    frames += context.decode(None)
    return len(frames)


def payloads(codec: str, unit: bytes, *, key: bool) -> list[bytes]:
    """One access unit as RTP payloads (RFC 6184, 7798, 7741, 9628, and the AV1 RTP specification)."""
    if codec in ("H264", "H265"):
        return [part for nal in _nal_units(unit) for part in _nal_payloads(codec, nal)]
    if codec == "AV1":
        parts = [_with_aggregation(obu) for obu in _obus(unit) if obu[0] >> 3 & 0x0F != 2]  # no temporal delimiters
        flat = [part for obu in parts for part in obu]
        return [bytes((flat[0][0] | 0x08,)) + flat[0][1:], *flat[1:]] if key else flat
    pieces = _cut(unit)
    last = len(pieces) - 1
    if codec == "VP8":
        return [bytes((0x10 if i == 0 else 0,)) + piece for i, piece in enumerate(pieces)]
    predicted = 0 if key else 0x40
    return [
        bytes((predicted | (0x08 if i == 0 else 0) | (0x04 if i == last else 0),)) + piece
        for i, piece in enumerate(pieces)
    ]


def unit_of(codec: str, parts: Sequence[bytes]) -> bytes:
    """The access unit that these payloads carry; the other way round of :func:`payloads`."""
    if codec not in ("H264", "H265"):
        return b"".join(part[1:] for part in parts)
    unit = bytearray()
    for part in parts:
        kind = part[0] & 0x1F if codec == "H264" else part[0] >> 1 & 0x3F
        if codec == "H264" and kind == 28:
            unit += b"\0\0\0\1" + bytes((part[0] & 0xE0 | part[1] & 0x1F,)) if part[1] & 0x80 else b""
            unit += part[2:]
        elif codec == "H265" and kind == 49:
            unit += b"\0\0\0\1" + bytes((part[0] & 0x81 | (part[2] & 0x3F) << 1, part[1])) if part[2] & 0x80 else b""
            unit += part[3:]
        else:
            unit += b"\0\0\0\1" + part
    return bytes(unit)


def _cut(data: bytes) -> list[bytes]:
    return [data[i : i + _PAYLOAD_BYTES] for i in range(0, len(data), _PAYLOAD_BYTES)]


def _nal_units(unit: bytes) -> list[bytes]:
    """Out of Annex B: between start codes, of which the longer kind leaves a zero behind."""
    return [nal.rstrip(b"\0") for nal in unit.split(b"\0\0\1") if nal.strip(b"\0")]


def _nal_payloads(codec: str, nal: bytes) -> list[bytes]:
    if len(nal) <= _PAYLOAD_BYTES:
        return [nal]
    header = 1 if codec == "H264" else 2
    pieces = _cut(nal[header:])
    last = len(pieces) - 1
    marks = [(0x80 if i == 0 else 0) | (0x40 if i == last else 0) for i in range(len(pieces))]
    if codec == "H264":
        heads = [bytes((nal[0] & 0xE0 | 28, mark | nal[0] & 0x1F)) for mark in marks]
    else:
        heads = [bytes((nal[0] & 0x81 | 49 << 1, nal[1], mark | nal[0] >> 1 & 0x3F)) for mark in marks]
    return [head + piece for head, piece in zip(heads, pieces, strict=True)]


def _obus(unit: bytes) -> list[bytes]:
    """The open bitstream units of a temporal unit, each with its size field."""
    found, pos = [], 0
    while pos < len(unit):
        start = pos
        pos += 2 if unit[pos] & 0x04 else 1  # with or without the extension byte
        size = shift = 0
        while True:
            byte = unit[pos]
            size |= (byte & 0x7F) << shift
            pos, shift = pos + 1, shift + 7
            if not byte & 0x80:
                break
        pos += size
        found.append(unit[start:pos])
    return found


def _with_aggregation(obu: bytes) -> list[bytes]:
    """One element to a packet (W = 1); Z and Y tell where one goes on."""
    pieces = _cut(obu)
    last = len(pieces) - 1
    return [bytes((0x10 | (0x80 if i else 0) | (0x40 if i < last else 0),)) + piece for i, piece in enumerate(pieces)]
