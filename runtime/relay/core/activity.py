"""When a session ends by itself: nobody does anything, or its time is over. Time is passed in (monotonic seconds)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runtime.protocol.states import EndReason

# Besides the title's own warning time.
_SAME_END_SECONDS = 3.0
_LAST_WARNINGS_SECONDS = (60.0, 10.0)


@dataclass(frozen=True)
class IdleWarned:
    """The countdown runs; said once a second."""

    seconds_left: int


@dataclass(frozen=True)
class IdleCancelled:
    by: str | None


@dataclass(frozen=True)
class TimeWarned:
    seconds_left: int


@dataclass(frozen=True)
class TimeToEnd:
    reason: EndReason


Effect = IdleWarned | IdleCancelled | TimeWarned | TimeToEnd


class SessionTimer:
    """Two clocks of one session.

    Idle: after ``idle_seconds`` without activity a countdown of ``idle_warning_seconds`` runs; any activity cancels it;
    at its end the session ends. Length: ``max_length_seconds`` after the beginning the session ends, whatever happens,
    unless it is given another end by :meth:`end_in`. Zero or None switches a clock off. Nothing runs before
    :meth:`begin`.
    """

    def __init__(
        self,
        *,
        idle_seconds: float,
        idle_warning_seconds: float,
        max_length_seconds: float | None,
        length_warning_seconds: float,
    ) -> None:
        self._idle_seconds = idle_seconds if idle_seconds > 0 else None
        self._idle_warning_seconds = max(0.0, idle_warning_seconds)
        self._max_length_seconds = max_length_seconds if max_length_seconds and max_length_seconds > 0 else None
        self._all_warnings = {length_warning_seconds, *_LAST_WARNINGS_SECONDS}
        self._length_warnings = self._warnings_within(self._max_length_seconds or 0)
        self._began: float | None = None
        self._ends_at: float | None = None  # as given by end_in
        self._active_at = 0.0
        self._last_said: int | None = None  # whole seconds left in the running countdown
        self._over = False

    @property
    def has_begun(self) -> bool:
        return self._began is not None

    def begin(self, now: float) -> None:
        """The session can be used from now on. Only the first call counts."""
        if self._began is None:
            self._began = self._active_at = now

    def end_in(self, now: float, seconds: float) -> list[Effect]:
        """The session ends after ``seconds`` from now, whatever its length was to be. People hear of a new end, not
        of a correction by the time that a message was on its way."""
        if self._over:
            return []
        before = self.seconds_until_length_end(now)
        if before is None and not self.has_begun:
            before = self._max_length_seconds
        self._ends_at = now + max(0.0, seconds)
        if before is not None and abs(before - seconds) < _SAME_END_SECONDS:
            return []
        self._length_warnings = self._warnings_within(seconds)
        return [TimeWarned(math.ceil(seconds))]

    def _warnings_within(self, seconds: float) -> list[float]:
        return sorted(w for w in self._all_warnings if 0 < w <= seconds)

    def seconds_until_length_end(self, now: float) -> float | None:
        if self._ends_at is not None:
            return max(0.0, self._ends_at - now)
        if self._began is None or self._max_length_seconds is None:
            return None
        return max(0.0, self._began + self._max_length_seconds - now)

    def idle_seconds_left(self, now: float) -> float | None:
        """Until the end by inactivity if nobody does anything; None when that clock is off."""
        if self._began is None or self._idle_seconds is None:
            return None
        return max(0.0, self._active_at + self._idle_seconds + self._idle_warning_seconds - now)

    @property
    def countdown(self) -> int | None:
        """Whole seconds left while pages show the countdown."""
        return self._last_said

    def active(self, now: float, by: str | None) -> list[Effect]:
        """Somebody did something."""
        self._active_at = max(self._active_at, now)
        if self._last_said is None or self._over:
            return []
        self._last_said = None
        return [IdleCancelled(by)]

    def tick(self, now: float) -> list[Effect]:
        """Call a few times a second."""
        if self._began is None or self._over:
            return []
        out = self._length(now)
        return out if self._over else [*out, *self._idle(now)]

    def _length(self, now: float) -> list[Effect]:
        left = self.seconds_until_length_end(now)
        if left is None:
            return []
        if left <= 0:
            self._over = True
            return [TimeToEnd(EndReason.MAX_LENGTH)]
        due = [w for w in self._length_warnings if left <= w]
        if not due:
            return []
        self._length_warnings = [w for w in self._length_warnings if left > w]
        return [TimeWarned(math.ceil(left))]

    def _idle(self, now: float) -> list[Effect]:
        left = self.idle_seconds_left(now)
        if left is None or left > self._idle_warning_seconds:
            return []
        if left <= 0:
            self._over = True
            return [TimeToEnd(EndReason.IDLE)]
        shown = math.ceil(left)
        if shown == self._last_said:
            return []
        self._last_said = shown
        return [IdleWarned(shown)]
