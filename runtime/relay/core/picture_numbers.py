"""The numbers that VP8 and VP9 give their pictures, and how they go on where a player's stream comes from elsewhere.

Every simulcast layer and every streamer counts its pictures (PictureID) and those of its lowest temporal layer
(TL0PICIDX) from anywhere. Decoders find by these what a picture refers to. After a step back, some seconds later, they
take a picture of before the step for the one meant and stand still until a keyframe is asked for; a step forward does
no harm at a keyframe. So numbers are moved on, by one of few amounts: players that were moved alike share packets.
Sources: RFC 7741 section 4.2, RFC 9628 section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from .keyframes import vp9_picture_number_end
from .rtp import header_bytes, payload

_BASE_BITS = 8
# A step forward is at most a quarter of the range, so that it is never taken for one back (half the range).
_PARTS = 4


@dataclass(frozen=True, slots=True)
class PictureNumbers:
    """Of one picture; None for what its stream does not count. ``bits`` is 7 or 15."""

    picture: int | None
    bits: int
    base: int | None

    def as_sent(self, shift: PictureShift | None, withheld: int) -> PictureNumbers:
        """What a player saw of them, moved by ``shift`` and after ``withheld`` pictures that closed up."""
        by_picture, by_base = (shift.picture, shift.base) if shift is not None else (0, 0)
        picture = None if self.picture is None else (self.picture + by_picture - withheld) % (1 << self.bits)
        base = None if self.base is None else (self.base + by_base) % (1 << _BASE_BITS)
        return PictureNumbers(picture, self.bits, base)


@dataclass(frozen=True, slots=True)
class PictureShift:
    """What is added to a stream's numbers, modulo their range. ``codec`` is the upper-case SDP name."""

    codec: str
    picture: int
    base: int = 0

    def apply(self, packet: bytes) -> bytes:
        """The RTP ``packet`` with its numbers moved."""
        start = header_bytes(packet)
        places = _places(self.codec, packet[start : start + 5])
        if places is None:
            return packet
        changed = bytearray(packet)
        at, bits, base_at = places
        if at:
            end = start + at + (2 if bits == 15 else 1)
            number = int.from_bytes(changed[start + at : end], "big")
            top = 1 << bits
            changed[start + at : end] = (number & top | (number + self.picture) % top).to_bytes(end - start - at, "big")
        if base_at:
            changed[start + base_at] = (changed[start + base_at] + self.base) & 0xFF
        return bytes(changed)


def numbers_of(codec: str, packet: bytes) -> PictureNumbers | None:
    """Of the picture that this RTP packet is part of; None where it does not tell, as in all other codecs."""
    body = payload(packet)
    places = _places(codec, body[:5])
    if places is None:
        return None
    at, bits, base_at = places
    picture = int.from_bytes(body[at : at + (2 if bits == 15 else 1)], "big") & ((1 << bits) - 1) if at else None
    return PictureNumbers(picture, bits, body[base_at] if base_at else None)


def shift_after(codec: str, last: PictureNumbers, first: PictureNumbers) -> PictureShift | None:
    """What moves a stream that begins with ``first`` on from ``last``, as a player saw it; None where nothing need
    be moved."""
    picture = _forward(last.picture, first.picture, first.bits)
    base = _forward(last.base, first.base, _BASE_BITS)
    return PictureShift(codec, picture, base) if picture or base else None


def _forward(last: int | None, first: int | None, bits: int) -> int:
    """The multiple of a part of the range that puts ``first`` one to a whole part behind ``last``."""
    if last is None or first is None:
        return 0
    part = (1 << bits) // _PARTS
    step = (first - last - 1) % (1 << bits)
    return -(step // part) * part % (1 << bits)


def _places(codec: str, body: bytes) -> tuple[int, int, int] | None:
    """Where the picture's number stands and how long it is, and where that of the lowest temporal layer stands; 0 for
    nowhere. ``body`` is the beginning of a payload; None if it has neither."""
    try:
        if codec == "VP8":
            return _vp8_places(body)
        if codec == "VP9":
            return _vp9_places(body)
    except IndexError:
        pass
    return None


def _vp8_places(body: bytes) -> tuple[int, int, int] | None:
    if not body[0] & 0x80 or not body[1] & 0xC0:
        return None
    at, bits, after = 0, 15, 2
    if body[1] & 0x80:
        at, bits = 2, 15 if body[2] & 0x80 else 7
        after = 4 if bits == 15 else 3
    base_at = after if body[1] & 0x40 else 0
    return (at, bits, base_at) if len(body) > max(base_at, after - 1) else None


def _vp9_places(body: bytes) -> tuple[int, int, int] | None:
    if not body[0] & 0x80:
        return None
    after = vp9_picture_number_end(body)
    base_at = after + 1 if body[0] & 0x30 == 0x20 else 0
    return (1, 15 if after == 3 else 7, base_at) if len(body) > max(base_at, after - 1) else None
