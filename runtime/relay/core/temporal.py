"""Temporal layers: frames that no frame of a lower layer depends on, so that a player can go without them.

An encoder with temporal layers (VP8, VP9, AV1, H.265, and H.264 with frames that nothing refers to) lets a relay halve
the frame rate for one player whose link is too small, while everybody else gets every frame. What is withheld must
leave no trace: sequence numbers close up, and so do VP8's picture numbers, by which receivers tell a frame that is
still under way from one that never was.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from .keyframes import aggregated, starts_keyframe, vp8_descriptor_bytes, vp9_picture_number_end
from .picture_numbers import PictureShift
from .rtp import Header, payload

ALL_LAYERS = 7
MAX_FRAMES, MAX_SEGMENTS, MAX_SENT = 64, 256, 1024


@dataclass(frozen=True, slots=True)
class Layer:
    """Where a frame stands. ``may_enter``: from this frame on a receiver of the next lower layer can take this one."""

    number: int
    may_enter: bool


def layer_of(codec: str, body: bytes) -> Layer | None:
    """The temporal layer of the frame that this RTP payload is part of; None when the payload does not say."""
    read = _READERS.get(codec)
    if read is None:
        return None
    try:
        return read(body)
    except IndexError:
        return None


def _vp8(body: bytes) -> Layer | None:
    if not body[0] & 0x80 or not body[1] & 0x20:
        return None
    last = body[vp8_descriptor_bytes(body) - 1]
    return Layer(last >> 6, bool(last & 0x20))


def _vp9(body: bytes) -> Layer | None:
    first = body[0]
    if not first & 0x20:
        return None
    layer = body[vp9_picture_number_end(body)]
    return Layer(layer >> 5, bool(layer & 0x10))


def _av1(body: bytes) -> Layer | None:
    aggregation = body[0]
    if aggregation & 0x80:  # goes on with an OBU whose header was in an earlier packet
        return None
    pos = 1
    if aggregation & 0x30 != 0x10:  # more than one element: each begins with its length, least significant bits first
        while body[pos] & 0x80:
            pos += 1
        pos += 1
    if not body[pos] & 0x04:
        return None
    # libaom's structures refer to nothing above the base layer from an earlier group of frames.
    return Layer(body[pos + 1] >> 5, may_enter=True)


def _h264(body: bytes) -> Layer | None:
    """Two layers: what others refer to, and what nothing does (nal_ref_idc 0)."""
    kind = body[0] & 0x1F
    if body[0] & 0x60:
        return Layer(0, may_enter=True)
    if kind == 24:
        found = any(body[at] & 0x1F == 1 for at in aggregated(body, 1))
    else:
        found = kind == 1 or (kind == 28 and body[1] & 0x1F == 1)
    return Layer(1, may_enter=True) if found else None  # delimiters and the like belong to whatever follows


def _h265(body: bytes) -> Layer | None:
    kind = body[0] >> 1 & 0x3F
    if kind == 49:
        kind = body[2] & 0x3F
    elif kind == 48:
        kind = body[4] >> 1 & 0x3F
    if kind >= 32:  # parameter sets, delimiters: no picture
        return None
    # Temporal sub-layer access pictures (ITU-T H.265 section 7.4.2.2).
    return Layer(max(0, (body[1] & 0x07) - 1), may_enter=2 <= kind <= 5)


_READERS = {"VP8": _vp8, "VP9": _vp9, "AV1": _av1, "H264": _h264, "H265": _h265}


@dataclass(slots=True)
class _Frame:
    passes: bool
    pictures_withheld: int


class Thinner:
    """One player's way through a stream without its upper layers. Feed it every packet from its first on.

    ``offset`` is added to the stream's sequence numbers; it falls by one with every packet withheld.
    """

    def __init__(self, codec: str, target: int) -> None:
        self.target = target
        self.offset = 0
        self.withheld = 0  # packets
        self.is_over = False  # every layer passes, with the stream's own picture numbers again
        self._codec = codec
        self._current = ALL_LAYERS
        self.pictures_withheld = 0
        self._highest = -1
        self._frames: OrderedDict[int, _Frame] = OrderedDict()  # by timestamp
        self._segments: deque[tuple[int, int]] = deque(maxlen=MAX_SEGMENTS)  # (first number, offset from there on)
        self._sent: OrderedDict[int, tuple[int, int]] = OrderedDict()  # by number sent: the stream's, pictures withheld

    def take(self, header: Header, packet: bytes) -> tuple[int, bytes] | None:
        """(sequence number without the player's own offset, packet) to send on, or None to withhold it."""
        sequence = header[2]
        in_order = self._highest < 0 or (sequence - self._highest) & 0xFFFF < 0x8000
        frame = self._frames.get(header[3])
        if frame is None:
            frame = self._frames[header[3]] = self._judge(payload(packet), in_order=in_order)
            if len(self._frames) > MAX_FRAMES:
                self._frames.popitem(last=False)
        if in_order:
            self._highest = sequence
        if not frame.passes:
            self.withheld += 1
            if in_order:
                self._close_up(sequence)
            return None
        number = (sequence + (self.offset if in_order else self._offset_at(sequence))) & 0xFFFF
        self._sent[number] = (sequence, frame.pictures_withheld)
        self._sent.move_to_end(number)
        if len(self._sent) > MAX_SENT:
            self._sent.popitem(last=False)
        return number, self._renumbered(packet, frame.pictures_withheld)

    def original(self, number: int) -> int | None:
        """The stream's own sequence number of what was sent as ``number``."""
        found = self._sent.get(number)
        return None if found is None else found[0]

    def again(self, number: int, packet: bytes) -> bytes:
        """The stream's ``packet`` as it was sent under ``number``."""
        return self._renumbered(packet, self._sent[number][1])

    def _judge(self, body: bytes, *, in_order: bool) -> _Frame:
        if self._highest < 0:
            return _Frame(passes=True, pictures_withheld=0)  # its beginning may have been sent already
        if starts_keyframe(self._codec, body):
            self._current, self.pictures_withheld = self.target, 0
            self.is_over = self.target >= ALL_LAYERS
            return _Frame(passes=True, pictures_withheld=0)
        self._current = min(self._current, self.target)
        layer = layer_of(self._codec, body)
        passes = layer is None or layer.number <= self._current
        enters = layer is not None and layer.may_enter and self._current + 1 == layer.number <= self.target
        if enters and in_order:
            self._current, passes = self._current + 1, True
        if not passes:
            self.pictures_withheld += 1
        return _Frame(passes, self.pictures_withheld)

    def _close_up(self, sequence: int) -> None:
        self.offset = (self.offset - 1) & 0xFFFF
        if self._segments and self._segments[-1][0] == sequence:
            self._segments.pop()
        self._segments.append(((sequence + 1) & 0xFFFF, self.offset))

    def _offset_at(self, sequence: int) -> int:
        """The offset that held when a late packet's neighbours were sent."""
        for first, offset in reversed(self._segments):
            if (sequence - first) & 0xFFFF < 0x8000:
                return offset
        return 0

    def _renumbered(self, packet: bytes, pictures_withheld: int) -> bytes:
        if not pictures_withheld or self._codec != "VP8":
            return packet
        return PictureShift("VP8", -pictures_withheld).apply(packet)
