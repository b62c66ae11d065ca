"""States and reasons, and the one table of allowed transitions for each lifecycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Generic, TypeVar


class SessionState(StrEnum):
    """One running title, from request to end."""

    REQUESTED = "requested"
    QUEUED = "queued"
    LEASED = "leased"
    STARTING = "starting"
    READY = "ready"
    STREAMING = "streaming"
    STOPPING = "stopping"
    ENDED = "ended"
    FAILED = "failed"


class EndReason(StrEnum):
    """Why a session ended. Stable: clients translate it."""

    OWNER_ENDED = "owner_ended"
    IDLE = "idle"
    MAX_LENGTH = "max_length"
    APP_EXITED = "app_exited"
    APP_CRASHED = "app_crashed"
    RELAY_CRASHED = "relay_crashed"
    START_TIMEOUT = "start_timeout"
    START_FAILED = "start_failed"
    HOST_LOST = "host_lost"
    DRAINED = "drained"
    ADMIN_ENDED = "admin_ended"
    BOOKING_OVER = "booking_over"
    QUEUE_LEFT = "queue_left"


class StartStep(StrEnum):
    """Progress of a start, in order, as shown to the viewer."""

    LEASED = "leased"
    RELAY_UP = "relay_up"
    PROCESS_UP = "process_up"
    STREAMER_CONNECTED = "streamer_connected"
    FIRST_FRAME = "first_frame"


class HostState(StrEnum):
    """What a host does now; the operator's wish is ``desired_state`` (serving or draining)."""

    OFFLINE = "offline"
    SERVING = "serving"
    DRAINING = "draining"
    DRAINED = "drained"


class BookingState(StrEnum):
    """A session planned for a time window."""

    PLANNED = "planned"
    OPEN = "open"
    USED = "used"
    MISSED = "missed"
    CANCELLED = "cancelled"


class Role(StrEnum):
    """Participant role. In a join token ``controller`` means: may take free control without asking."""

    OWNER = "owner"
    CONTROLLER = "controller"
    WATCHER = "watcher"


S = TypeVar("S", bound=StrEnum)


class IllegalTransitionError(Exception):
    """A transition that the table does not allow; carries the object's history for the log."""

    def __init__(self, subject: str, current: StrEnum, wanted: StrEnum, history: Sequence[str] = ()) -> None:
        past = " -> ".join(history) or "none"
        super().__init__(f"{subject}: {current} -> {wanted} is not allowed (history: {past})")
        self.subject, self.current, self.wanted, self.history = subject, current, wanted, tuple(history)


class TransitionTable(Generic[S]):
    """Allowed transitions of one lifecycle."""

    def __init__(self, allowed: Mapping[S, frozenset[S]]) -> None:
        self._allowed = dict(allowed)

    def allows(self, current: S, wanted: S) -> bool:
        return wanted in self._allowed[current]

    def check(self, subject: str, current: S, wanted: S, history: Sequence[str] = ()) -> None:
        """Raise :class:`IllegalTransitionError` unless ``current -> wanted`` is allowed."""
        if not self.allows(current, wanted):
            raise IllegalTransitionError(subject, current, wanted, history)

    def sources(self, wanted: S) -> frozenset[S]:
        """States from which ``wanted`` may be entered (the condition of an atomic update)."""
        return frozenset(state for state, targets in self._allowed.items() if wanted in targets)

    def is_final(self, state: S) -> bool:
        return not self._allowed[state]


_S = SessionState
SESSION_TRANSITIONS: TransitionTable[SessionState] = TransitionTable(
    {
        _S.REQUESTED: frozenset({_S.QUEUED, _S.LEASED, _S.ENDED, _S.FAILED}),
        _S.QUEUED: frozenset({_S.LEASED, _S.ENDED, _S.FAILED}),
        _S.LEASED: frozenset({_S.STARTING, _S.STOPPING, _S.ENDED, _S.FAILED}),
        _S.STARTING: frozenset({_S.READY, _S.STREAMING, _S.STOPPING, _S.ENDED, _S.FAILED}),
        _S.READY: frozenset({_S.STREAMING, _S.STOPPING, _S.ENDED, _S.FAILED}),
        _S.STREAMING: frozenset({_S.READY, _S.STOPPING, _S.ENDED, _S.FAILED}),
        _S.STOPPING: frozenset({_S.ENDED, _S.FAILED}),
        _S.ENDED: frozenset(),
        _S.FAILED: frozenset(),
    }
)
FINAL_SESSION_STATES = frozenset({_S.ENDED, _S.FAILED})
# States in which a session holds a slot of a host.
HOLDING_SESSION_STATES = frozenset({_S.LEASED, _S.STARTING, _S.READY, _S.STREAMING, _S.STOPPING})
# Reasons that mean something broke; such a session ends as ``failed``.
FAILURE_REASONS = frozenset(
    {
        EndReason.APP_CRASHED,
        EndReason.RELAY_CRASHED,
        EndReason.START_TIMEOUT,
        EndReason.START_FAILED,
        EndReason.HOST_LOST,
    }
)

_H = HostState
HOST_TRANSITIONS: TransitionTable[HostState] = TransitionTable(
    {
        _H.OFFLINE: frozenset({_H.SERVING, _H.DRAINING, _H.DRAINED}),
        _H.SERVING: frozenset({_H.OFFLINE, _H.DRAINING}),
        _H.DRAINING: frozenset({_H.OFFLINE, _H.SERVING, _H.DRAINED}),
        _H.DRAINED: frozenset({_H.OFFLINE, _H.SERVING, _H.DRAINING}),
    }
)

_B = BookingState
BOOKING_TRANSITIONS: TransitionTable[BookingState] = TransitionTable(
    {
        _B.PLANNED: frozenset({_B.OPEN, _B.MISSED, _B.CANCELLED}),
        _B.OPEN: frozenset({_B.USED, _B.MISSED, _B.CANCELLED}),
        _B.USED: frozenset(),
        _B.MISSED: frozenset(),
        _B.CANCELLED: frozenset(),
    }
)
