"""The only place where services read time, so that tests can move it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for records and tokens, monotonic time for timeouts."""

    def now_ms(self) -> int:
        """Epoch milliseconds, UTC; may step."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never steps."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class ManualClock:
    """A clock that moves when told."""

    epoch_ms: int = 1_700_000_000_000
    elapsed_seconds: float = 0.0

    def now_ms(self) -> int:
        return self.epoch_ms + int(self.elapsed_seconds * 1000)

    def monotonic(self) -> float:
        return self.elapsed_seconds

    def advance(self, seconds: float) -> None:
        self.elapsed_seconds += seconds


def to_datetime(epoch_ms: int) -> datetime:
    """Aware UTC datetime of epoch milliseconds."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
