"""The sessions of this host: begun, ended, looked up, adopted at start, forgotten in time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_secret
from runtime.chassis.lifecycle import Background
from runtime.protocol.control import EndTime, SessionReport, SessionStatistics, StartSession
from runtime.protocol.errors import ServiceError
from runtime.protocol.ids import is_session_id
from runtime.protocol.states import EndReason

from .config import SessionServerConfig
from .files import SessionDirectory, resolve_executable
from .installation import installation_id
from .journal import Journal, JournalError
from .policy.command_line import UnknownEngineError, check_engine
from .policy.ending import End
from .policy.places import choose_gpu
from .ports import PortLedger
from .process.base import ProcessHost
from .record import SessionRecord
from .supervisor import SessionSupervisor, Surroundings

logger = logging.getLogger(__name__)
# Longer than supervisors take to leave their sessions in order.
_CLOSE_SECONDS = 20.0


class SessionRegistry:
    """Lives in memory; the journal is its memory across restarts."""

    def __init__(
        self,
        *,
        config: SessionServerConfig,
        clock: Clock,
        processes: ProcessHost,
        journal: Journal,
        environment: Mapping[str, str],
        changed: Callable[[], None],
    ) -> None:
        """``changed`` is called whenever events wait for the coordinator."""
        self.draining = False
        self._changed = changed
        self._config, self._clock, self._processes, self._journal = config, clock, processes, journal
        self._environment = environment
        self._live: dict[str, SessionSupervisor] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, SessionRecord] = {}
        self._background = Background()
        self._ports = PortLedger(config.port_range, config.relay)
        self._around: Surroundings | None = None

    async def start(self) -> None:
        """Adopt what the journal names, kill what it does not."""
        own = await asyncio.to_thread(installation_id, Path(self._config.data_directory))
        installation = await self._journal.installation(own)
        self._around = Surroundings(
            config=self._config,
            clock=self._clock,
            processes=self._processes,
            journal=self._journal,
            installation=installation,
            environment=self._environment,
            ports=self._ports,
            changed=self._changed,
        )
        records = await self._journal.records()
        known = [
            child.mark
            for record in records
            for child in (record.relay, record.program)
            if child is not None and not record.is_over
        ]
        orphans = await self._processes.kill_marked(f"{installation}.", known)
        if orphans:
            logger.warning("killed %d orphans of an earlier run: %s", len(orphans), ", ".join(orphans))
        for record in records:
            if record.is_over:
                self._ended[record.session_id] = record
            else:
                logger.info("adopting session %s in state %s", record.session_id, record.state)
                self._run(SessionSupervisor(record, self._around))

    async def close(self) -> None:
        """Leave sessions running for the next start, or end them if the configuration says so."""
        if self._config.end_sessions_on_stop:
            self.draining = True
            for supervisor in self._live.values():
                supervisor.request_end(End(EndReason.DRAINED, "The session server stopped."))
            if self._tasks:
                await asyncio.wait(list(self._tasks.values()))
        await self._background.close(_CLOSE_SECONDS)

    def begin_allowed(self, start: StartSession) -> None:
        """Raise ``ServiceError`` unless this host can run the session now."""
        if not is_session_id(start.session_id):
            raise ServiceError("bad_request", "session_id is not a session id.")
        if self.draining:
            raise ServiceError("draining")
        if len(self._live) >= self._config.capacity:
            raise ServiceError("host_full")
        try:
            check_engine(start.launch.engine)
        except UnknownEngineError as error:
            raise ServiceError("title_unavailable", f"{error}.") from None
        resolve_executable(start.launch.executable, self._config.title_roots, self._config.sample_title)

    async def begin(self, start: StartSession) -> tuple[SessionReport, bool]:
        """Start a session, once; the report, and whether it is new. Raise ``ServiceError``."""
        existing = self.report(start.session_id)
        if existing is not None:
            return existing, False
        self.begin_allowed(start)
        assert self._around is not None, "start() first"
        supervisor = SessionSupervisor(self._new_record(start), self._around)
        # Claimed before the first await: a second request for this slot or id finds it taken.
        self._live[start.session_id] = supervisor
        try:
            await supervisor.claim()
        except (JournalError, OSError) as error:
            del self._live[start.session_id]
            logger.error("session %s cannot be started: %s", start.session_id, error)
            raise ServiceError("internal", "The host cannot write its journal.") from None
        except BaseException:
            del self._live[start.session_id]
            raise
        self._run(supervisor)
        return supervisor.report(), True

    def _new_record(self, start: StartSession) -> SessionRecord:
        used = Counter(s.record.gpu for s in self._live.values() if s.record.gpu is not None)
        slots = {gpu.index: gpu.slots for gpu in self._config.gpus}
        wanted = start.launch.gpu
        return SessionRecord(
            start=start,
            streamer_secret=new_secret(),
            private_secret=new_secret(),
            boot_id=self._processes.boot_id(),
            started_ms=self._clock.now_ms(),
            gpu=wanted if wanted is not None else choose_gpu(slots, used),
        )

    def _run(self, supervisor: SessionSupervisor) -> None:
        session_id = supervisor.record.session_id
        self._live[session_id] = supervisor
        if supervisor.record.port is not None:
            self._ports.hold(supervisor.record.port)
        task = self._background.spawn(f"session {session_id}", supervisor.run())
        self._tasks[session_id] = task
        task.add_done_callback(lambda done: self._on_end(supervisor, done))

    def _on_end(self, supervisor: SessionSupervisor, task: asyncio.Task[None]) -> None:
        session_id = supervisor.record.session_id
        del self._tasks[session_id]
        if task.cancelled():
            return  # the service stops; the session goes on
        del self._live[session_id]
        if supervisor.record.port is not None:
            self._ports.release(supervisor.record.port)
        self._ended[session_id] = supervisor.record
        self._changed()

    def end(self, session_id: str, end: End) -> SessionReport | None:
        """Ask for a session's end; what is known of it, None when that is nothing."""
        supervisor = self._live.get(session_id)
        if supervisor is not None:
            supervisor.request_end(end)
        return self.report(session_id)

    def report(self, session_id: str) -> SessionReport | None:
        supervisor = self._live.get(session_id)
        if supervisor is not None:
            return supervisor.report()
        record = self._ended.get(session_id)
        return None if record is None else record.report()

    async def statistics(self, session_id: str) -> SessionStatistics:
        """How a running session's stream does. Raise ``ServiceError``."""
        return await self._running(session_id).statistics()

    async def set_end_time(self, session_id: str, end: EndTime) -> SessionReport:
        """Let a running session end then. Raise ``ServiceError``."""
        supervisor = self._running(session_id)
        await supervisor.set_end_time(end)
        return supervisor.report()

    def _running(self, session_id: str) -> SessionSupervisor:
        supervisor = self._live.get(session_id)
        if supervisor is None:
            raise ServiceError("session_ended" if session_id in self._ended else "session_not_found")
        return supervisor

    def live_reports(self) -> tuple[SessionReport, ...]:
        return tuple(supervisor.report() for supervisor in self._live.values())

    def ended_reports(self) -> tuple[SessionReport, ...]:
        return tuple(record.report() for record in self._ended.values())

    def directory(self, session_id: str) -> SessionDirectory | None:
        if session_id in self._live or session_id in self._ended:
            return SessionDirectory(Path(self._config.data_directory), session_id)
        return None

    def record(self, session_id: str) -> SessionRecord | None:
        supervisor = self._live.get(session_id)
        return supervisor.record if supervisor is not None else self._ended.get(session_id)

    async def measure(self) -> None:
        """Refresh processor and memory figures of every session."""
        for supervisor in list(self._live.values()):
            await asyncio.to_thread(supervisor.measure)

    async def forget_old(self) -> None:
        """Drop ended sessions, with their files, that are too old or too many."""
        limits = self._config.files
        oldest_ms = self._clock.now_ms() - int(limits.keep_ended_seconds * 1000)
        by_age = sorted(self._ended.values(), key=lambda record: record.ended_ms or 0, reverse=True)
        for position, record in enumerate(by_age):
            if position < limits.keep_ended_sessions and (record.ended_ms or 0) >= oldest_ms:
                continue
            directory = SessionDirectory(Path(self._config.data_directory), record.session_id)
            await asyncio.to_thread(directory.remove)
            await self._journal.forget(record.session_id)
            del self._ended[record.session_id]
