"""Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).

The receiving side: remember when each packet arrived, and every few dozen milliseconds say so in one RTCP packet,
from which the sender estimates its bandwidth. ``parse`` is the inverse and exists for the tests that hold
``Arrivals`` to its contract.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_PACKETS = 1024  # in one feedback packet; far more than arrive between two of them
# In one of somebody else's: libwebrtc also counts what was lost since its last one. At 30 Mbit/s these are 1.3 s.
MAX_REPORTED = 4096
_TICK_SECONDS = 0.00025
_REFERENCE_TICKS = 256  # 64 ms
_NOT_RECEIVED, _SMALL, _LARGE = 0, 1, 2
_HEAD = struct.Struct("!HHI")


@dataclass
class Arrivals:
    """Arrival times by transport-wide sequence number since the last feedback."""

    _times: dict[int, float] = field(default_factory=dict)  # extended number -> seconds
    _highest: int = -1  # extended
    _next: int = -1  # extended number that the next feedback starts with
    _count: int = 0

    def add(self, number: int, now: float) -> None:
        """``number`` is 16 bits as received; order does not matter."""
        if self._highest < 0:
            extended = number + 0x10000  # so that a late packet from before the first one does not become negative
            self._next = extended
        else:
            ahead = (number - self._highest) & 0xFFFF
            extended = self._highest + (ahead if ahead < 0x8000 else ahead - 0x10000)
        self._highest = max(self._highest, extended)
        if len(self._times) < MAX_PACKETS:
            self._times.setdefault(extended, now)

    def feedback(self) -> bytes | None:
        """The body of the next feedback packet (behind the two SSRCs), or None when nothing arrived."""
        if not self._times:
            return None
        # Late packets that an earlier feedback called lost may be reported now (draft section 3.1).
        first = min(*self._times, self._next)
        if self._highest - first >= MAX_PACKETS:
            first = min(self._times)
        numbers = range(first, min(self._highest + 1, first + MAX_PACKETS))
        base = min(self._times.values())
        reference = int(base / _TICK_SECONDS) // _REFERENCE_TICKS
        previous = reference * _REFERENCE_TICKS
        symbols: list[int] = []
        deltas = bytearray()
        for number in numbers:
            at = self._times.get(number)
            if at is None:
                symbols.append(_NOT_RECEIVED)
                continue
            tick = int(at / _TICK_SECONDS)
            delta = max(-0x8000, min(tick - previous, 0x7FFF))
            previous += delta
            if 0 <= delta <= 0xFF:
                symbols.append(_SMALL)
                deltas.append(delta)
            else:
                symbols.append(_LARGE)
                deltas += struct.pack("!h", delta)
        head = _HEAD.pack(first & 0xFFFF, len(symbols), (reference & 0xFFFFFF) << 8 | self._count & 0xFF)
        body = head + _chunks(symbols) + bytes(deltas)
        self._count += 1
        self._times = {}
        self._next = numbers.stop
        return body + bytes(-len(body) % 4)


def _chunks(symbols: Sequence[int]) -> bytes:
    """Packet status chunks: run length where it pays, else a vector of 14 one-bit or 7 two-bit symbols."""
    chunks = []
    pos = 0
    while pos < len(symbols):
        symbol = symbols[pos]
        run = 1
        while pos + run < len(symbols) and symbols[pos + run] == symbol and run < 0x1FFF:
            run += 1
        ahead = symbols[pos : pos + 14]
        one_bit = _LARGE not in ahead
        if run >= (14 if one_bit else 7) or run == len(symbols) - pos:
            chunks.append(symbol << 13 | run)
            pos += run
        elif one_bit:
            bits = sum(s << (13 - i) for i, s in enumerate(ahead))
            chunks.append(0x8000 | bits)
            pos += 14
        else:
            bits = sum(s << (12 - 2 * i) for i, s in enumerate(ahead[:7]))
            chunks.append(0xC000 | bits)
            pos += 7
    return struct.pack(f"!{len(chunks)}H", *chunks)


def reported(body: bytes) -> int:
    """How many packets a feedback says it speaks of."""
    return int.from_bytes(body[2:4], "big")


def parse(body: bytes) -> list[tuple[int, float | None]]:
    """(transport-wide number, arrival in seconds or None) of every packet that ``body`` speaks of.

    Raises ValueError when the body does not hold together, or speaks of more packets than any sender remembers: runs
    of lost ones cost two octets whatever their length (draft section 3.1.3). Times wrap with the 24-bit reference.
    """
    if reported(body) > MAX_REPORTED:
        raise ValueError("the feedback speaks of too many packets")
    try:
        base, count, word = _HEAD.unpack_from(body)
        symbols: list[int] = []
        pos = _HEAD.size
        while len(symbols) < count:
            (chunk,) = struct.unpack_from("!H", body, pos)
            pos += 2
            if not chunk & 0x8000:
                symbols += [chunk >> 13 & 0x03] * min(chunk & 0x1FFF, count - len(symbols))
                if not chunk & 0x1FFF:
                    raise ValueError("an empty run")
            elif not chunk & 0x4000:
                symbols += [chunk >> (13 - i) & 0x01 for i in range(14)]
            else:
                symbols += [chunk >> (12 - 2 * i) & 0x03 for i in range(7)]
        ticks = (word >> 8) * _REFERENCE_TICKS
        result: list[tuple[int, float | None]] = []
        for i, symbol in enumerate(symbols[:count]):
            if symbol == _NOT_RECEIVED:
                result.append(((base + i) & 0xFFFF, None))
                continue
            size, form = (1, "!B") if symbol == _SMALL else (2, "!h")
            (delta,) = struct.unpack_from(form, body, pos)
            pos += size
            ticks += delta
            result.append(((base + i) & 0xFFFF, ticks * _TICK_SECONDS))
    except struct.error as error:
        raise ValueError("the feedback is too short") from error
    return result
