"""What a player's link carries, from its transport-wide feedback: what its REMB would say, worked out by the sender.

Players that know REMB estimate by themselves. Others, native ones above all, only tell when each packet arrived
(draft-holmer-rmcat-transport-wide-cc-extensions-01). From that: packets that take ever longer mean that a queue fills
up in front of the link, long before it overflows (draft-ietf-rmcat-gcc-02 section 5, with libwebrtc's trendline in
place of the Kalman filter).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

from . import transport_cc

MEMORY_PACKETS = 4096
GROUP_SECONDS = 0.005  # packets sent within this time travel together
WINDOW_GROUPS = 20
SMOOTHING = 0.9
GAIN = 4.0
MAX_GROUPS_COUNTED = 60
# The trend, in milliseconds, that means too much. It follows what is normal for this link.
THRESHOLD_MS, MIN_THRESHOLD_MS, MAX_THRESHOLD_MS = 12.5, 6.0, 600.0
THRESHOLD_UP, THRESHOLD_DOWN = 0.0087, 0.039
OVERUSE_SECONDS = 0.01
RATE_SECONDS = 0.5
DECREASE = 0.85
INCREASE_PER_SECOND = 1.08
# As a receiver's estimate, this one never exceeds what has been seen to arrive by more.
MAX_OVER_RECEIVED = 1.5
MIN_BPS = 50_000


class Usage(Enum):
    NORMAL = auto()
    OVER = auto()
    UNDER = auto()


class Trend:
    """Whether packets take longer and longer, from groups of them. Seconds in, milliseconds inside."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque(maxlen=WINDOW_GROUPS)
        self._groups = 0
        self._delay_ms = self._smooth_ms = 0.0
        self._threshold_ms = THRESHOLD_MS
        self._over_seconds = 0.0
        self._previous = 0.0
        self._updated_at: float | None = None

    def group(self, sent_seconds: float, arrived_seconds: float, at: float) -> Usage:
        """Between this group and the last: time between the sends, time between the arrivals. ``at``: its arrival."""
        self._groups += 1
        self._delay_ms += 1000 * (arrived_seconds - sent_seconds)
        self._smooth_ms = SMOOTHING * self._smooth_ms + (1 - SMOOTHING) * self._delay_ms
        self._points.append((1000 * at, self._smooth_ms))
        if len(self._points) < WINDOW_GROUPS:
            return Usage.NORMAL
        trend = min(self._groups, MAX_GROUPS_COUNTED) * GAIN * _slope(self._points)
        usage = self._judge(trend, sent_seconds)
        self._adapt(trend, at)
        return usage

    def _judge(self, trend: float, sent_seconds: float) -> Usage:
        rising, self._previous = trend >= self._previous, trend
        if trend > self._threshold_ms:
            self._over_seconds += sent_seconds
            return Usage.OVER if self._over_seconds > OVERUSE_SECONDS and rising else Usage.NORMAL
        self._over_seconds = 0.0
        return Usage.UNDER if trend < -self._threshold_ms else Usage.NORMAL

    def _adapt(self, trend: float, at: float) -> None:
        elapsed_ms = min(100.0, 1000 * (at - self._updated_at)) if self._updated_at is not None else 0.0
        self._updated_at = at
        if abs(trend) > self._threshold_ms + 15:
            return  # a sudden jump says nothing about what is normal
        rate = THRESHOLD_UP if abs(trend) > self._threshold_ms else THRESHOLD_DOWN
        moved = self._threshold_ms + rate * (abs(trend) - self._threshold_ms) * max(0.0, elapsed_ms)
        self._threshold_ms = max(MIN_THRESHOLD_MS, min(moved, MAX_THRESHOLD_MS))


def _slope(points: Sequence[tuple[float, float]]) -> float:
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / below if below else 0.0


class DelayEstimate:
    """One player's link. Number the packets with :meth:`take`, hand in the feedback, get an estimate."""

    def __init__(self, start_bps: int, maximum_bps: int) -> None:
        self._bps = float(start_bps)
        self._maximum_bps = maximum_bps
        self._next = 0
        self._sent: list[tuple[int, float, int] | None] = [None] * MEMORY_PACKETS  # number, time, bytes
        self._trend = Trend()
        self._group: tuple[float, float, float] | None = None  # first sent, last sent, last arrived
        self._last_group: tuple[float, float] | None = None  # sent, arrived
        self._arrivals: deque[tuple[float, int]] = deque()
        self._arrived_bytes = 0
        self._raised_at: float | None = None

    def take(self, count: int, size: int, now: float) -> list[int]:
        """Numbers for ``count`` packets of ``size`` bytes that leave now."""
        numbers = [(self._next + i) & 0xFFFF for i in range(count)]
        self._next = (self._next + count) & 0xFFFF
        for number in numbers:
            self._sent[number % MEMORY_PACKETS] = (number, now, size)
        return numbers

    def feedback(self, body: bytes, now: float) -> int | None:
        """The estimate in bit/s; None when the feedback says nothing. Raises ValueError when it does not hold
        together."""
        usage = Usage.NORMAL
        heard = False
        for number, arrived in transport_cc.parse(body):
            known = self._sent[number % MEMORY_PACKETS]
            if arrived is None or known is None or known[0] != number:
                continue
            self._sent[number % MEMORY_PACKETS] = None
            heard = True
            self._count(arrived, known[2])
            found = self._packet(known[1], arrived)
            if usage is not Usage.OVER and found is not Usage.NORMAL:
                usage = found
        if not heard:
            return None
        self._react(usage, now)
        return int(self._bps)

    def received_bps(self) -> float:
        """What arrived lately."""
        if len(self._arrivals) < 2:
            return 0.0
        seconds = self._arrivals[-1][0] - self._arrivals[0][0]
        return 8 * (self._arrived_bytes - self._arrivals[0][1]) / max(seconds, RATE_SECONDS / 2)

    def _count(self, arrived: float, size: int) -> None:
        if self._arrivals and not 0 <= arrived - self._arrivals[-1][0] + 0.2 < 60:
            self._arrivals.clear()  # the 24-bit clock of the feedback began anew
            self._arrived_bytes = 0
            self._group = self._last_group = None
        self._arrivals.append((arrived, size))
        self._arrived_bytes += size
        while arrived - self._arrivals[0][0] > RATE_SECONDS:
            self._arrived_bytes -= self._arrivals.popleft()[1]

    def _packet(self, sent: float, arrived: float) -> Usage:
        group = self._group
        if group is None:
            self._group = (sent, sent, arrived)
            return Usage.NORMAL
        if sent < group[0]:
            return Usage.NORMAL  # of an older group: too late to count
        if sent - group[0] <= GROUP_SECONDS:
            self._group = (group[0], max(group[1], sent), max(group[2], arrived))
            return Usage.NORMAL
        self._group = (sent, sent, arrived)
        last, self._last_group = self._last_group, (group[1], group[2])
        if last is None:
            return Usage.NORMAL
        return self._trend.group(group[1] - last[0], group[2] - last[1], group[2])

    def _react(self, usage: Usage, now: float) -> None:
        received = self.received_bps()
        elapsed = min(1.0, now - self._raised_at) if self._raised_at is not None else 0.0
        self._raised_at = now
        if usage is Usage.OVER:
            if received:
                self._bps = min(self._bps, DECREASE * received)
        elif usage is Usage.NORMAL:
            # Under means that a queue empties: wait until it has.
            raised = self._bps * INCREASE_PER_SECOND**elapsed
            if received:
                raised = max(min(raised, MAX_OVER_RECEIVED * received + 10_000), min(self._bps, raised))
            self._bps = raised
        self._bps = max(MIN_BPS, min(self._bps, self._maximum_bps))
