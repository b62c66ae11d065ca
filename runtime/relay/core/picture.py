"""How large a stream's picture is, read from its keyframes without decoding.

A streamer's simulcast layers are told apart by this: their bitrates say nothing while a keyframe was asked of the
smallest or nothing moves in any. Sources: ITU-T H.264 (7.3.2.1.1), RFC 6386 (9.1), the VP9 bitstream specification
(6.2) and the RTP payload formats RFC 6184, RFC 7741, RFC 9628.
"""

from __future__ import annotations

from .keyframes import aggregated, vp8_descriptor_bytes, vp9_picture_number_end

_H264_SEQUENCE_PARAMETERS = 7
_H264_AGGREGATE = 24
# Profiles whose parameters tell chroma format and bit depth (H.264 7.3.2.1.1).
_H264_WITH_CHROMA = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_MAX_ZEROS = 16
_VP8_START_CODE = b"\x9d\x01\x2a"
_VP9_SYNC_CODE = 0x498342


def picture_size(codec: str, payload: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as coded (H.264: in whole macroblocks), from an RTP payload that begins a keyframe.

    None when this payload does not tell, and for H.265, AV1 and unusual profiles, which are not read. ``codec`` is the
    upper-case SDP name.
    """
    read = _READERS.get(codec)
    if read is None:
        return None
    try:
        return read(payload)
    except (IndexError, ValueError):
        return None


class _Bits:
    """Reads numbers bit by bit; IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._pos = data, 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._pos >> 3] >> (7 - (self._pos & 7)) & 1
            self._pos += 1
        return value

    def golomb(self) -> int:
        """ue(v) of H.264 (9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > _MAX_ZEROS:
                raise ValueError("no picture is that large")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed_golomb(self) -> int:
        value = self.golomb()
        return (value + 1) // 2 if value & 1 else -(value // 2)


def _h264(payload: bytes) -> tuple[int, int] | None:
    kind = payload[0] & 0x1F
    if kind == _H264_SEQUENCE_PARAMETERS:
        return _sequence_parameters(payload[1:])
    if kind == _H264_AGGREGATE:
        for at in aggregated(payload, 1):
            if payload[at] & 0x1F == _H264_SEQUENCE_PARAMETERS:
                return _sequence_parameters(payload[at + 1 :])
    return None


def _sequence_parameters(data: bytes) -> tuple[int, int]:
    bits = _Bits(data.replace(b"\0\0\x03", b"\0\0"))
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.golomb()  # its number
    if profile in _H264_WITH_CHROMA:
        _skip_chroma(bits)
    bits.golomb()  # length of frame numbers
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.signed_golomb()
        bits.signed_golomb()
        for _ in range(bits.golomb()):
            bits.signed_golomb()
    bits.golomb()  # reference frames
    bits.take(1)  # gaps in frame numbers
    width, height = bits.golomb() + 1, bits.golomb() + 1
    fields = 2 - bits.take(1)
    return 16 * width, 16 * height * fields


def _skip_chroma(bits: _Bits) -> None:
    chroma = bits.golomb()
    if chroma == 3:
        bits.take(1)
    bits.golomb()
    bits.golomb()
    bits.take(1)
    if not bits.take(1):
        return
    for number in range(12 if chroma == 3 else 8):
        if not bits.take(1):
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                following = (last + bits.signed_golomb()) & 0xFF
            last = following or last


def _vp8(payload: bytes) -> tuple[int, int] | None:
    header = payload[vp8_descriptor_bytes(payload) :]
    if header[0] & 1 or header[3:6] != _VP8_START_CODE:
        return None
    return header[6] | (header[7] & 0x3F) << 8, header[8] | (header[9] & 0x3F) << 8


def _vp9(payload: bytes) -> tuple[int, int] | None:
    bits = _Bits(payload[_vp9_descriptor_bytes(payload) :])
    if bits.take(2) != 2:
        return None
    profile = bits.take(1) | bits.take(1) << 1
    if profile & 1 or bits.take(1):  # 4:4:4, or a frame of before that is shown again
        return None
    if bits.take(1):  # no keyframe
        return None
    bits.take(2)
    if bits.take(24) != _VP9_SYNC_CODE:
        return None
    if profile == 2:
        bits.take(1)
    bits.take(4)  # colours
    return bits.take(16) + 1, bits.take(16) + 1


def _vp9_descriptor_bytes(payload: bytes) -> int:
    """Length of the VP9 payload descriptor (RFC 9628 section 4.2)."""
    flags, pos = payload[0], vp9_picture_number_end(payload)
    if flags & 0x20:
        pos += 1 if flags & 0x10 else 2
    if flags & 0x50 == 0x50:  # references of a flexible frame: at most three, each telling whether another follows
        while payload[pos] & 1:
            pos += 1
        pos += 1
    if flags & 0x02:
        structure = payload[pos]
        pos += 1 + (4 * ((structure >> 5) + 1) if structure & 0x10 else 0)
        if structure & 0x08:
            frames = payload[pos]
            pos += 1
            for _ in range(frames):
                pos += 1 + (payload[pos] >> 2 & 0x03)
    return pos


_READERS = {"H264": _h264, "VP8": _vp8, "VP9": _vp9}
