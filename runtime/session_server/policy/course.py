"""The course of one session on its host: what happened comes in, what to do comes out.

``now`` is monotonic seconds, ``at_ms`` epoch milliseconds. Nothing here waits: the supervisor asks for :meth:`deadline`
and reports :meth:`Course.time_passed`.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.protocol.control import RelayStatus, SessionPolicy, StartTimeouts
from runtime.protocol.states import SESSION_TRANSITIONS, EndReason, SessionState, StartStep

from .ending import End

# A relay that lives but does not answer for this long is taken for dead. Above the long poll's 25 s.
RELAY_SILENCE_SECONDS = 45.0
RELAY_BAD_CONFIGURATION = 2
_FIRST_BACK_OFF_SECONDS = 0.25
_LONGEST_BACK_OFF_SECONDS = 10.0


@dataclass(frozen=True)
class RestartRelay:
    """Start the relay again on the same ports, after a pause."""

    after_seconds: float


@dataclass(frozen=True)
class Restarts:
    """How often a relay may be started again."""

    count: int
    within_seconds: float


@dataclass(frozen=True)
class StepRule:
    """One start step: which of ``StartTimeouts`` bounds it, and what its absence means for an operator."""

    step: StartStep
    timeout: str
    missing: str


START_STEPS = (
    StepRule(StartStep.RELAY_UP, "relay_up_seconds", "the relay did not say that it listens; see its log"),
    StepRule(StartStep.PROCESS_UP, "process_up_seconds", "the title's process did not start"),
    StepRule(
        StartStep.STREAMER_CONNECTED,
        "streamer_connected_seconds",
        "the title runs but did not connect to the relay; check that Pixel Streaming is enabled in this build",
    ),
    StepRule(
        StartStep.FIRST_FRAME,
        "first_frame_seconds",
        "the title connected but sent no video; check its GPU and its encoder",
    ),
)
_RULES = {rule.step: rule for rule in START_STEPS}
_ORDER = [rule.step for rule in START_STEPS]


class Course:
    """State of one session, changed only by the methods below."""

    def __init__(
        self,
        *,
        policy: SessionPolicy,
        timeouts: StartTimeouts,
        restarts: Restarts,
        now: float,
        state: SessionState = SessionState.LEASED,
        steps: dict[StartStep, int] | None = None,
    ) -> None:
        """``state`` and ``steps`` are given at an adoption; the current step then gets its full time again."""
        self._policy, self._timeouts, self._restarts = policy, timeouts, restarts
        self.state = state
        self.steps = dict(steps or {})
        self.status: RelayStatus | None = None
        self._history: list[str] = [state]
        self._step_since = now
        self._streamer_lost_since: float | None = None
        self._relay_answered = now
        self._relay_started: list[float] = []
        self._relay_up = False
        # When a relay that was started again, or is being looked for after an adoption, must have come up.
        self._relay_due = now + timeouts.relay_up_seconds if StartStep.RELAY_UP in self.steps else None

    @property
    def next_step(self) -> StartStep | None:
        """The start step that is being waited for; None when the session has started."""
        return next((step for step in _ORDER if step not in self.steps), None)

    def begin(self, now: float) -> None:
        self._enter(SessionState.STARTING)
        self._step_since = now

    def relay_up(self, now: float, at_ms: int) -> None:
        self._relay_up, self._relay_due = True, None
        self._relay_answered = now
        self._reach(StartStep.RELAY_UP, now, at_ms)
        if StartStep.STREAMER_CONNECTED in self.steps and self._streamer_lost_since is None:
            # A relay that was started again has not seen the title yet; it must come back within its grace.
            self._streamer_lost_since = now

    def process_up(self, now: float, at_ms: int) -> None:
        self._reach(StartStep.PROCESS_UP, now, at_ms)

    def relay_status(self, status: RelayStatus, now: float, at_ms: int) -> End | None:
        self._relay_up = True
        self._relay_answered = now
        self.status = status
        if status.streamer in ("connected", "live"):
            self._streamer_lost_since = None
            self._reach(StartStep.STREAMER_CONNECTED, now, at_ms)
        elif StartStep.STREAMER_CONNECTED in self.steps and self._streamer_lost_since is None:
            self._streamer_lost_since = now
        if status.first_frame_ms is not None and StartStep.STREAMER_CONNECTED in self.steps:
            self._reach(StartStep.FIRST_FRAME, now, status.first_frame_ms)
        if self.next_step is None and self.state is not SessionState.STOPPING:
            self._enter(SessionState.STREAMING if status.players else SessionState.READY)
        if status.end_reason is not None:
            return End(status.end_reason, status.end_detail)
        return None

    def program_exit(self, code: int | None) -> End:
        """The title's own process has ended."""
        if code is None:
            return End(EndReason.APP_CRASHED, "The title's process was lost: its exit code is not known.")
        said = f"exit code {code}" if code >= 0 else f"signal {-code}"
        step = self.next_step
        if step is not None and code == 0:
            return End(EndReason.START_FAILED, f"The title ended by itself ({said}) before {step}.")
        if code == 0:
            return End(EndReason.APP_EXITED, "The title ended by itself.")
        return End(EndReason.APP_CRASHED, f"The title ended with {said}{f' before {step}' if step else ''}.")

    def relay_exit(self, code: int | None, told: End | None, now: float) -> End | RestartRelay:
        """The relay's process has ended; ``told`` is what it left as its reason."""
        self._relay_up = False
        if told is not None:
            return told
        said = "unknown" if code is None else str(code)
        if code == RELAY_BAD_CONFIGURATION:
            return End(EndReason.RELAY_CRASHED, "The relay refused its configuration; see its log.")
        recent = [moment for moment in self._relay_started if now - moment < self._restarts.within_seconds]
        if len(recent) >= self._restarts.count:
            return End(
                EndReason.RELAY_CRASHED, f"The relay ended with code {said} and was started again {len(recent)} times."
            )
        self._relay_started = [*recent, now]
        pause = min(_LONGEST_BACK_OFF_SECONDS, _FIRST_BACK_OFF_SECONDS * 4 ** len(recent))
        self._relay_due = now + pause + self._timeouts.relay_up_seconds
        return RestartRelay(pause)

    def relay_is_silent(self, now: float) -> bool:
        """Whether a running relay has not answered for so long that it should be killed."""
        return self._relay_up and now - self._relay_answered > RELAY_SILENCE_SECONDS

    def deadline(self) -> tuple[float, End] | None:
        """When patience ends, and with what; None while nothing is being waited for."""
        if self.state is SessionState.STOPPING:
            return None
        pending = [found for found in (self._step_due(), self._streamer_due(), self._relay_back_due()) if found]
        return min(pending, key=lambda found: found[0], default=None)

    def _step_due(self) -> tuple[float, End] | None:
        step = self.next_step
        if step is None:
            return None
        rule = _RULES[step]
        seconds = float(getattr(self._timeouts, rule.timeout))
        detail = f"{step} was not reached within {seconds:g} s: {rule.missing}."
        return self._step_since + seconds, End(EndReason.START_TIMEOUT, detail)

    def _streamer_due(self) -> tuple[float, End] | None:
        if self._streamer_lost_since is None:
            return None
        seconds = self._policy.streamer_grace_seconds
        detail = f"The title left the relay and did not come back within {seconds:g} s."
        return self._streamer_lost_since + seconds, End(EndReason.APP_CRASHED, detail)

    def _relay_back_due(self) -> tuple[float, End] | None:
        # The first start has its own step.
        if self._relay_due is None or StartStep.RELAY_UP not in self.steps:
            return None
        seconds = self._timeouts.relay_up_seconds
        detail = f"The relay was started again and did not say within {seconds:g} s that it listens; see its log."
        return self._relay_due, End(EndReason.RELAY_CRASHED, detail)

    def time_passed(self, now: float) -> End | None:
        pending = self.deadline()
        return pending[1] if pending is not None and now >= pending[0] else None

    def stop(self) -> None:
        self._enter(SessionState.STOPPING)

    def _reach(self, step: StartStep, now: float, at_ms: int) -> None:
        if step not in self.steps:
            # Relay and session server read their clocks apart: a step is never told as earlier than the one before it.
            self.steps[step] = max([at_ms, *self.steps.values()])
            self._step_since = now

    def _enter(self, state: SessionState) -> None:
        if state is self.state:
            return
        SESSION_TRANSITIONS.check("session", self.state, state, self._history)
        self._history = [*self._history[-20:], state]
        self.state = state
