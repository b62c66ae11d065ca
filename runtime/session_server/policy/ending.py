"""How a session's processes are ended, and what its end is called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runtime.protocol.control import StartTimeouts
from runtime.protocol.states import FAILURE_REASONS, EndReason, SessionState


class Stage(StrEnum):
    """Gentle first. Each stage applies to what the one before has left alive."""

    ASK = "ask"  # relay: /private/stop; title: as its user would close it
    TERMINATE = "terminate"  # every process of both trees
    KILL = "kill"  # every process of both trees, at once


@dataclass(frozen=True)
class StagePlan:
    stage: Stage
    seconds: float  # what the stage may take before the next begins


@dataclass(frozen=True)
class End:
    """Why a session ends; ``detail`` is one sentence for an operator."""

    reason: EndReason
    detail: str | None = None

    @property
    def state(self) -> SessionState:
        return SessionState.FAILED if self.reason in FAILURE_REASONS else SessionState.ENDED


def escalation(timeouts: StartTimeouts) -> tuple[StagePlan, ...]:
    return (
        StagePlan(Stage.ASK, timeouts.stop_ask_seconds),
        StagePlan(Stage.TERMINATE, timeouts.stop_terminate_seconds),
        StagePlan(Stage.KILL, timeouts.stop_kill_seconds),
    )
