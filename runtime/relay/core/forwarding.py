"""Forwarding decisions of one stream: numbering, the packet cache, what was lost, what to report.

One :class:`Reception` and one :class:`PacketCache` belong to a stream from the streamer, one :class:`Numbering` and one
:class:`ResendBudget` to each player's copy of it. Times are seconds of any monotonic clock, passed in.
"""

from __future__ import annotations

from collections.abc import Sequence

from .rtcp import ReportBlock

# 2048 packets are 1.3 s at 15 Mbit/s, and at most about 3 MB.
CACHE_PACKETS = 2048
# A jump that is larger than this is a restart, not a loss.
MAX_GAP = 512
MAX_MISSING = 1024
# No packet is later than this: SRTP's replay window, to the streamer as to players.
MAX_LATE = 1024
NACK_LIFETIME_SECONDS = 0.5
NACK_TRIES = 8
RESEND_INTERVAL_SECONDS = 0.015
# Silence of the current source after which another SSRC may take its place without having been announced.
TAKEOVER_SECONDS = 0.2


class PacketCache:
    """The latest packets of one stream by sequence number, for resends."""

    def __init__(self, capacity: int = CACHE_PACKETS) -> None:
        self._capacity = capacity
        self.ring: list[bytes | None] = [None] * capacity

    def put(self, sequence: int, packet: bytes) -> None:
        self.ring[sequence % self._capacity] = packet

    def get(self, sequence: int) -> bytes | None:
        """The packet with exactly this sequence number, if it is still there."""
        packet = self.ring[sequence % self._capacity]
        return packet if packet is not None and packet[2] << 8 | packet[3] == sequence else None

    def clear(self) -> None:
        self.ring = [None] * self._capacity


class Reception:
    """What arrived of one SSRC and what did not (RFC 3550 appendix A.1, A.3, A.8)."""

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        self.received = 0
        self.expected = -1  # next sequence number, -1 before the first packet
        self.recovered = 0
        self.nacks = 0
        self._cycles_base = 0
        self._span = 0  # packets between the first and the highest one, both counted
        self._missing: dict[int, tuple[float, int]] = {}
        self._jitter = 0.0
        self._transit: float | None = None
        self._prior = (0, 0)
        self._sr: tuple[int, float] | None = None
        self.fraction_lost = 0.0

    def packet(self, sequence: int, now: float) -> Sequence[int]:
        """Count one packet; returns the sequence numbers that it shows to be missing, oldest first."""
        self.received += 1
        expected = self.expected
        if sequence == expected:
            self.expected = (sequence + 1) & 0xFFFF
            self._span += 1
            return ()
        if expected < 0:
            self.expected, self._cycles_base, self._span = (sequence + 1) & 0xFFFF, sequence, 1
            return ()
        ahead = (sequence - expected) & 0xFFFF
        if ahead >= 0x8000:
            if self._missing.pop(sequence, None) is not None:
                self.recovered += 1
            return ()
        self.expected = (sequence + 1) & 0xFFFF
        if ahead >= MAX_GAP:
            # A restart of the numbering: counting it as loss would report thousands of packets that never were.
            self._missing.clear()
            self._span += 1
            return ()
        self._span += ahead + 1
        lost = [(expected + i) & 0xFFFF for i in range(ahead)]
        if len(self._missing) + ahead <= MAX_MISSING:
            self._missing.update((number, (now, 1)) for number in lost)
            self.nacks += ahead
            return lost
        return ()

    def restarts_with(self, sequence: int) -> bool:
        """True for a number too far back to be a late packet's: a jump ahead by more than half the range, as libsrtp
        lets a source make once, from among its first 32768 numbers."""
        return self.expected >= 0 and 0x8000 <= (sequence - self.expected) & 0xFFFF < 0x10000 - MAX_LATE

    def overdue(self, now: float, interval_seconds: float) -> list[int]:
        """Missing packets to ask for again, at most once per interval and ``NACK_TRIES`` times; old ones are given
        up."""
        again = []
        kept: dict[int, tuple[float, int]] = {}
        for number, (since, tries) in self._missing.items():
            if now - since > NACK_LIFETIME_SECONDS or tries >= NACK_TRIES:
                continue
            if now - since >= interval_seconds * tries:
                again.append(number)
                tries += 1
            kept[number] = (since, tries)
        self._missing = kept
        self.nacks += len(again)
        return again

    @property
    def lost(self) -> int:
        """Packets that did not arrive, even after asking; negative when some came twice."""
        return self._span - self.received

    @property
    def jitter_seconds(self) -> float:
        return self._jitter / self.clock_rate

    def measure_jitter(self, timestamp: int, now: float) -> None:
        """Once per batch is enough: all packets of a batch arrived at the same time."""
        transit = now * self.clock_rate - timestamp
        if self._transit is not None:
            change = abs(transit - self._transit)
            if change < 10 * self.clock_rate:
                self._jitter += (change - self._jitter) / 16
        self._transit = transit

    def sender_report(self, ntp: int, now: float) -> None:
        self._sr = (ntp, now)

    def report(self, ssrc: int, now: float) -> ReportBlock:
        """The next report block; each call starts a new interval of ``fraction_lost``."""
        span, received = self._span - self._prior[0], self.received - self._prior[1]
        self._prior = self._span, self.received
        fraction = min(255, max(0, span - received) * 256 // span) if span > 0 else 0
        self.fraction_lost = fraction / 256
        last_sr = delay = 0
        if self._sr is not None:
            last_sr, delay = self._sr[0] >> 16 & 0xFFFFFFFF, int((now - self._sr[1]) * 65536)
        highest = self._cycles_base + self._span - 1
        return ReportBlock(ssrc, fraction, self.lost, highest & 0xFFFFFFFF, int(self._jitter), last_sr, delay)


class Numbering:
    """Sequence numbers and timestamps of one player's stream, continuous across changes of its source.

    Forwarded numbers are the source's plus a constant offset, so order, gaps and late packets stay what they were.
    """

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        self.sequence_offset = 0
        self.timestamp_offset = 0
        self.last: tuple[int, int, float] | None = None  # sequence number, timestamp and time of the last one sent

    def align(self, sequence: int, timestamp: int, now: float, timestamp_offset: int | None = None) -> None:
        """Choose offsets so that this packet of a new source directly follows the last one sent, in order and time.

        ``timestamp_offset`` is used if it is known from the sources' clocks and does not go backwards.
        """
        if self.last is None:
            return
        last_sequence, last_timestamp, at = self.last
        self.sequence_offset = (last_sequence + 1 - sequence) & 0xFFFF
        if timestamp_offset is not None:
            ahead = (timestamp + timestamp_offset - last_timestamp) & 0xFFFFFFFF
            if 0 < ahead < 10 * self.clock_rate:
                self.timestamp_offset = timestamp_offset & 0xFFFFFFFF
                return
        elapsed = max(1, int((now - at) * self.clock_rate))
        self.timestamp_offset = (last_timestamp + elapsed - timestamp) & 0xFFFFFFFF

    def ahead(self, sequence: int) -> int:
        """How far this number of the source is from the last one sent, negative for behind."""
        if self.last is None:
            return 1
        return ((sequence + self.sequence_offset - self.last[0] + 0x8000) & 0xFFFF) - 0x8000

    def sent(self, sequence: int, timestamp: int, now: float) -> None:
        """Remember the source's numbers of the packet that is furthest on."""
        self.last = (
            (sequence + self.sequence_offset) & 0xFFFF,
            (timestamp + self.timestamp_offset) & 0xFFFFFFFF,
            now,
        )


class ResendBudget:
    """How much of what a player asks for again it gets.

    A packet is resent once per few milliseconds (a player repeats its NACK before our answer can have arrived), and all
    resends together stay within a share of what is sent anyway: a player behind a link that is too small for the stream
    would otherwise have it filled with resends.
    """

    def __init__(self, share: float = 0.5, burst_packets: int = 256) -> None:
        self._share = share
        self._burst = burst_packets
        self._allowance = float(burst_packets)
        self._resent_at: dict[int, float] = {}
        self.refused = 0

    def earn(self, sent_packets: int) -> None:
        """Forwarded packets add to the allowance."""
        self._allowance = min(self._burst, self._allowance + sent_packets * self._share)

    def spend(self, sequence: int, now: float) -> bool:
        """True if ``sequence`` may be resent now."""
        last = self._resent_at.get(sequence)
        if last is not None and now - last < RESEND_INTERVAL_SECONDS:
            return False
        if self._allowance < 1:
            self.refused += 1
            return False
        self._allowance -= 1
        if len(self._resent_at) > 512:
            self._resent_at.clear()
        self._resent_at[sequence] = now
        return True


def accepts_source(current: int, candidate: int, announced: Sequence[int], silent_seconds: float) -> bool:
    """Whether packets with SSRC ``candidate`` may replace the source ``current`` (0: none yet).

    Announced SSRCs may take over at once; any other only when the current one has fallen silent, so that a stray
    packet cannot make the stream flap between two sources.
    """
    if current == 0 or (candidate in announced and current not in announced):
        return True
    return silent_seconds > TAKEOVER_SECONDS
