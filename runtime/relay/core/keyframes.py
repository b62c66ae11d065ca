"""When to ask the streamer for a keyframe, and how to recognise one without decoding.

Requests of many players become few: while one is on its way, further ones wait for its result. A joiner is not made
to wait for somebody else's throttle, because nothing at all is on its screen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

# Decoders that lost data repeat their request; one keyframe answers all of them.
REPAIR_INTERVAL_SECONDS = 0.5
# Even joiners may not ask more often: a crowd that joins at once would turn the stream into keyframes only.
JOIN_INTERVAL_SECONDS = 0.1
RETRY_SECONDS = 0.25
MAX_RETRIES = 6
_IMPATIENT = frozenset({"join", "switch", "first"})


@dataclass
class KeyframePolicy:
    """State of one video stream. ``want`` and ``due`` return True when a request must be sent upstream now."""

    requests: int = 0
    keyframes: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    keyframe_at: float = -1e9
    _asked_at: float = -1e9
    _outstanding: bool = False
    _retries: int = 0
    _held_until: float | None = None

    def want(self, cause: str, now: float) -> bool:
        """Somebody needs a keyframe. Causes ``join``, ``switch`` and ``first`` are impatient, all others are
        repairs."""
        self.causes[cause] = self.causes.get(cause, 0) + 1
        if self._outstanding:
            # The keyframe that is on its way serves this request too; ``due`` repeats it if it gets lost.
            return False
        wait = JOIN_INTERVAL_SECONDS if cause in _IMPATIENT else REPAIR_INTERVAL_SECONDS
        ready = self._asked_at + wait
        if now >= ready:
            return self._ask(now)
        self._held_until = ready if self._held_until is None else min(ready, self._held_until)
        return False

    def keyframe(self, now: float) -> None:
        """One arrived."""
        self.keyframes += 1
        self.keyframe_at = now
        self._outstanding = False
        self._retries = 0
        # A repair that was held back is answered by this one; a joiner that came after its request is too.
        self._held_until = None

    def due(self, now: float) -> bool:
        """To be called after ``wait_seconds``: repeats what got lost and sends what was held back."""
        if self._outstanding:
            if now - self._asked_at < RETRY_SECONDS * (1 << self._retries):
                return False
            if self._retries >= MAX_RETRIES:
                self._outstanding = False
                return False
            self._retries += 1
            self.requests += 1
            self._asked_at = now
            return True
        if self._held_until is not None and now >= self._held_until:
            return self._ask(now)
        return False

    def wait_seconds(self, now: float) -> float | None:
        """When ``due`` should be called next, from now; None: only ``want`` can change anything."""
        if self._outstanding:
            return max(0.0, self._asked_at + RETRY_SECONDS * (1 << self._retries) - now)
        return None if self._held_until is None else max(0.0, self._held_until - now)

    def _ask(self, now: float) -> bool:
        self._asked_at = now
        self._outstanding = True
        self._retries = 0
        self._held_until = None
        self.requests += 1
        return True


# A player that keeps asking gets fewer and fewer keyframes: each one costs everybody else quality.
_CALM_FACTOR = 4.0


@dataclass
class RepairBackoff:
    """How often one player's repair requests may reach the streamer. A refused request is repeated by the player
    itself."""

    shortest_seconds: float = REPAIR_INTERVAL_SECONDS
    longest_seconds: float = 10.0
    refused: int = 0
    _interval: float = 0.0
    _granted_at: float = -1e9

    def allow(self, now: float, longest_seconds: float | None = None) -> bool:
        """True if this request counts. ``longest_seconds`` may be lowered for a player whose picture matters most."""
        waited = now - self._granted_at
        if waited > _CALM_FACTOR * self._interval:
            self._interval = 0.0
        if waited < self._interval:
            self.refused += 1
            return False
        longest = self.longest_seconds if longest_seconds is None else longest_seconds
        self._interval = min(longest, max(self.shortest_seconds, 2 * self._interval))
        self._granted_at = now
        return True


def starts_keyframe(codec: str, payload: bytes) -> bool | None:
    """Whether this RTP payload begins a keyframe; None when the codec is not known, so nothing can be said.

    ``codec`` is the upper-case SDP name. Sources: RFC 6184, RFC 7798, RFC 7741, RFC 9628, and the AV1 RTP
    specification.
    """
    check = _CHECKS.get(codec)
    if check is None:
        return None
    try:
        return check(payload)
    except IndexError:
        return False


def aggregated(payload: bytes, header_bytes: int) -> Iterator[int]:
    """Where the NAL units of an aggregation packet begin (RFC 6184 section 5.7.1, RFC 7798 section 4.4.2)."""
    pos = header_bytes
    while pos + 2 < len(payload):
        yield pos + 2
        pos += 2 + (payload[pos] << 8 | payload[pos + 1])


def _h264(payload: bytes) -> bool:
    kind = payload[0] & 0x1F
    if kind in (5, 7):  # IDR slice, sequence parameters
        return True
    if kind == 24:  # STAP-A
        return any(payload[at] & 0x1F in (5, 7) for at in aggregated(payload, 1))
    return kind == 28 and bool(payload[1] & 0x80) and payload[1] & 0x1F in (5, 7)  # FU-A, first fragment


def _h265(payload: bytes) -> bool:
    kind = payload[0] >> 1 & 0x3F
    if kind == 48:  # aggregation
        return any(_h265_intra(payload[at] >> 1 & 0x3F) for at in aggregated(payload, 2))
    if kind == 49:  # fragment
        return bool(payload[2] & 0x80) and _h265_intra(payload[2] & 0x3F)
    return _h265_intra(kind)


def _h265_intra(kind: int) -> bool:
    """Random access pictures and the parameter sets in front of them."""
    return 16 <= kind <= 21 or kind in (32, 33)


def vp8_descriptor_bytes(payload: bytes) -> int:
    """Length of the VP8 payload descriptor (RFC 7741 section 4.2)."""
    pos = 1
    if payload[0] & 0x80:
        flags = payload[1]
        pos = 2
        if flags & 0x80:
            pos += 2 if payload[pos] & 0x80 else 1
        pos += 1 if flags & 0x40 else 0
        pos += 1 if flags & 0x30 else 0
    return pos


def _vp8(payload: bytes) -> bool:
    if payload[0] & 0x17 != 0x10:  # start of partition 0
        return False
    return not payload[vp8_descriptor_bytes(payload)] & 0x01


def vp9_picture_number_end(payload: bytes) -> int:
    """Where in the VP9 payload descriptor the picture's number ends, if there is one (RFC 9628 section 4.2)."""
    if not payload[0] & 0x80:
        return 1
    return 3 if payload[1] & 0x80 else 2


def _vp9(payload: bytes) -> bool:
    first = payload[0]
    if first & 0x40 or not first & 0x08:  # inter-picture predicted, or not the start of a frame
        return False
    if not first & 0x20:
        return True
    layer = payload[vp9_picture_number_end(payload)]
    return layer >> 1 & 0x07 == 0


def _av1(payload: bytes) -> bool:
    return bool(payload[0] & 0x08)  # N: first packet of a coded video sequence


_CHECKS = {"H264": _h264, "H265": _h265, "VP8": _vp8, "VP9": _vp9, "AV1": _av1}
