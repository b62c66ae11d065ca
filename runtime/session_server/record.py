"""What the journal remembers of one session: enough to adopt it, and to tell the coordinator about it."""

from __future__ import annotations

import msgspec

from runtime.protocol.control import RelayStatus, SessionReport, StartSession
from runtime.protocol.states import FINAL_SESSION_STATES, EndReason, SessionState, StartStep

from .process.base import ChildIdentity, Usage


class SessionRecord(msgspec.Struct, kw_only=True):
    """One session on this host. Holds secrets: it stays in the journal, which only the service's user may read."""

    start: StartSession
    streamer_secret: str
    private_secret: str
    boot_id: str
    started_ms: int
    gpu: int | None = None
    port: int | None = None
    private_port: int = 0
    relay: ChildIdentity | None = None
    relay_starts: int = 0  # each start of the relay keeps its files in a directory of its own
    program: ChildIdentity | None = None
    state: SessionState = SessionState.LEASED
    steps: dict[StartStep, int] = msgspec.field(default_factory=dict)
    reason: EndReason | None = None
    detail: str | None = None
    ended_ms: int | None = None
    exit_code: int | None = None
    ends_ms: int | None = None  # by the coordinator's clock, if it has said when the session is over
    ends_here_ms: int | None = None  # the same moment by this host's clock
    sequence: int = 0  # of the last event

    @property
    def session_id(self) -> str:
        return self.start.session_id

    @property
    def is_over(self) -> bool:
        return self.state in FINAL_SESSION_STATES

    def report(self, status: RelayStatus | None = None, usage: Usage | None = None) -> SessionReport:
        return SessionReport(
            session_id=self.session_id,
            title=self.start.title,
            state=self.state,
            reason=self.reason,
            detail=self.detail,
            steps=dict(self.steps),
            port=self.port,
            build=self.start.launch.build,
            participants=status.participants if status is not None and not self.is_over else 0,
            idle_seconds_left=status.idle_seconds_left if status is not None and not self.is_over else None,
            started_ms=self.started_ms,
            ended_ms=self.ended_ms,
            exit_code=self.exit_code,
            cpu_seconds=usage.cpu_seconds if usage is not None else None,
            memory_bytes=usage.memory_bytes if usage is not None else None,
            ends_ms=self.ends_ms,
        )
