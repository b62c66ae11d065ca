"""One session, from start to end, across restarts of this service.

What to do is decided by ``policy.course``; this module makes it happen. Everything that happens (a process ended, the
relay said something, somebody wants the end) becomes an event in one queue, worked off by one task, so that no two
decisions are ever taken at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_event_id
from runtime.chassis.lifecycle import Background
from runtime.chassis.log import log_context
from runtime.protocol.control import EndTime, RelayReady, RelayStatus, SessionEvent, SessionReport, SessionStatistics
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, SessionState

from .children import LaunchError, SessionChildren
from .config import SessionServerConfig
from .files import SessionDirectory
from .journal import Journal, JournalError
from .policy.course import Course, RestartRelay, Restarts
from .policy.ending import End, escalation
from .ports import PortLedger
from .process.base import Child, ChildExit, ProcessHost, Usage
from .record import SessionRecord
from .relay_link import RelayLink, RelaySilentError

logger = logging.getLogger(__name__)
_QUEUE_EVENTS = 256
_RELAY_PORT_TAKEN = 98
_POLL_PAUSE_SECONDS = 0.05
_SILENT_PAUSE_SECONDS = 0.5
# Longer than a start of a process may take, because starts are not cancelled half way.
_TASKS_SECONDS = 15.0
_JOURNAL_PAUSES_SECONDS = (0.2, 1.0, 5.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every session of this host shares."""

    config: SessionServerConfig
    clock: Clock
    processes: ProcessHost
    journal: Journal
    installation: str
    environment: Mapping[str, str]
    ports: PortLedger
    # Something changed that the coordinator should hear of.
    changed: Callable[[], None]


@dataclass(frozen=True)
class RelayUp:
    ready: RelayReady


@dataclass(frozen=True)
class RelayEnded:
    exit: ChildExit


@dataclass(frozen=True)
class ProgramUp:
    """The title's process runs."""


@dataclass(frozen=True)
class ProgramEnded:
    exit: ChildExit


@dataclass(frozen=True)
class RelaySilent:
    """A running relay did not answer."""


Event = RelayUp | RelayEnded | ProgramUp | ProgramEnded | RelaySilent | RelayStatus | End


class SessionSupervisor:
    """Owns one session. :meth:`run` returns when it has ended and is cancelled when this service stops."""

    def __init__(self, record: SessionRecord, around: Surroundings) -> None:
        self.record = record
        self.usage: Usage | None = None
        self._around = around
        self._children = SessionChildren(
            record,
            config=around.config,
            processes=around.processes,
            installation=around.installation,
            environment=around.environment,
        )
        self._course = Course(
            policy=record.start.policy,
            timeouts=record.start.timeouts,
            restarts=Restarts(around.config.relay.restarts, around.config.relay.restarts_within_seconds),
            now=around.clock.monotonic(),
            state=record.state,
            steps=record.steps,
        )
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_QUEUE_EVENTS)
        self._tasks = Background()
        self._poll: asyncio.Task[None] | None = None
        self._link: RelayLink | None = None
        self._refused_ports: set[int] = set()
        self._unsaved: list[SessionEvent] = []
        self._end_wanted = False
        self._program_wanted = False

    @property
    def directory(self) -> SessionDirectory:
        return self._children.directory

    def report(self) -> SessionReport:
        return self.record.report(self._course.status, self.usage)

    def measure(self) -> None:
        """Take the processes' figures. Blocks for milliseconds: call it in a thread."""
        self.usage = self._children.usage()

    def request_end(self, end: End) -> None:
        """The first reason counts."""
        if not self._end_wanted:
            self._end_wanted = True
            self._post(end)

    async def claim(self) -> None:
        """Remember a new session before anything of it starts. Raise :class:`JournalError`."""
        await asyncio.to_thread(self.directory.create)
        self._course.begin(self._around.clock.monotonic())
        self._sync()
        event = self._next_event()
        await self._around.journal.save(self.record, [event])
        self._around.changed()

    async def run(self) -> None:
        """Live and end. When cancelled, everything is left as it is, for the next session server to adopt."""
        with log_context(session=self.record.session_id):
            try:
                await self._finish(await self._live())
            except Exception:
                # A slot must come free whatever happened; strays are killed at the next start at the latest.
                logger.exception("the session could not be ended in order")
                self.record.state = SessionState.FAILED
                self.record.reason = self.record.reason or EndReason.RELAY_CRASHED
            finally:
                await self._tasks.close(_TASKS_SECONDS)
                self._close_link()
                self._children.close()

    async def _live(self) -> End:
        record = self.record
        if record.boot_id != self._around.processes.boot_id():
            return End(EndReason.HOST_LOST, "The machine was started again; what ran on it is gone.")
        try:
            await self._children.adopt()
            if record.state is SessionState.STOPPING:
                return End(record.reason or EndReason.ADMIN_ENDED, record.detail)
            if self._children.program is not None:
                self._watch(self._children.program, ProgramEnded)
                self._post(ProgramUp())
            self._tasks.spawn("relay start", self._bring_up_relay(0.0, self._children.relay))
            return await self._follow()
        except Exception:
            logger.exception("the session's supervision failed")
            reason = EndReason.START_FAILED if self._course.next_step else EndReason.RELAY_CRASHED
            return End(reason, "The session server itself failed; see its log.")

    async def _follow(self) -> End:
        while True:
            pending = self._course.deadline()
            now = self._around.clock.monotonic()
            try:
                async with asyncio.timeout(None if pending is None else max(0.0, pending[0] - now)):
                    event = await self._queue.get()
            except TimeoutError:
                verdict: End | RestartRelay | None = self._course.time_passed(self._around.clock.monotonic())
            else:
                verdict = self._apply(event)
            if self._sync():
                await self._save(tell=True)
            if isinstance(verdict, End):
                return verdict
            if isinstance(verdict, RestartRelay):
                self._note(f"relay ended; started again in {verdict.after_seconds:g} s")
                self._tasks.spawn("relay start", self._bring_up_relay(verdict.after_seconds, None))

    def _apply(self, event: Event) -> End | RestartRelay | None:
        now, at_ms = self._around.clock.monotonic(), self._around.clock.now_ms()
        match event:
            case End():
                return event
            case RelayStatus():
                return self._course.relay_status(event, now, at_ms)
            case RelayUp():
                self._course.relay_up(now, at_ms)
                self._open_link(event.ready.private_port)
                if self.record.ends_here_ms is not None:
                    # One that was started again would count from the beginning.
                    self._tasks.spawn("end time", self._repeat_end_time(self.record.ends_here_ms))
                if self._children.program is None and not self._program_wanted:
                    self._program_wanted = True
                    self._tasks.spawn("title start", self._bring_up_program())
            case RelayEnded():
                self._close_link()
                return self._course.relay_exit(event.exit.code, self._children.relay_told(), now)
            case ProgramUp():
                self._course.process_up(now, at_ms)
            case ProgramEnded():
                self.record.exit_code = event.exit.code
                # A title that leaves because the relay has ended the session does not change the reason.
                return self._children.relay_told() or self._course.program_exit(event.exit.code)
            case RelaySilent():
                if self._course.relay_is_silent(now) and self._children.relay is not None:
                    self._note("the relay does not answer; it is killed")
                    self._tasks.spawn("relay kill", self._children.relay.kill())
        return None

    async def _bring_up_relay(self, after_seconds: float, relay: Child | None) -> None:
        """Start the relay, or wait for ``relay``, which was found starting or running."""
        await asyncio.sleep(after_seconds)
        try:
            while True:
                if relay is None:
                    port = self._choose_port()
                    relay = await self._children.start_relay(port)
                    await self._save()
                outcome = await self._children.relay_ready(relay)
                if isinstance(outcome, RelayReady):
                    self.record.private_port = outcome.private_port
                    await self._save()
                    self._watch(relay, RelayEnded)
                    self._post(RelayUp(outcome))
                    return
                if outcome.code != _RELAY_PORT_TAKEN or self.record.private_port:
                    self._post(RelayEnded(outcome))
                    return
                # Somebody took the port between our probe and the relay's bind.
                if self.record.port is not None:
                    self._refused_ports.add(self.record.port)
                    self._around.ports.release(self.record.port)
                self.record.port = relay = None
        except LaunchError as error:
            self._post(End(EndReason.START_FAILED if self._course.next_step else EndReason.RELAY_CRASHED, str(error)))

    def _choose_port(self) -> int:
        """This session's port, noted in the record; raise :class:`LaunchError`."""
        if self.record.port is None:
            self.record.port = self._around.ports.claim(self._refused_ports)
        if self.record.port is None:
            ports = self._around.config.port_range
            raise LaunchError(f"No port between {ports.first} and {ports.last} is free; widen port_range.")
        return self.record.port

    async def _bring_up_program(self) -> None:
        try:
            program = await self._children.start_program()
        except (LaunchError, ValueError) as error:
            self._post(End(EndReason.START_FAILED, str(error)))
            return
        await self._save()
        self._watch(program, ProgramEnded)
        self._post(ProgramUp())

    def _watch(self, child: Child, event: Callable[[ChildExit], Event]) -> None:
        child.exited.add_done_callback(lambda done: None if done.cancelled() else self._post(event(done.result())))

    def _post(self, event: Event) -> None:
        # Never full: everything but the relay's status happens a handful of times, and that waits for room.
        self._queue.put_nowait(event)

    async def set_end_time(self, end: EndTime) -> None:
        """Let the session end then. Raise ``ServiceError`` when the relay cannot be told; nothing is changed then."""
        if self._link is None or self._end_wanted:
            raise ServiceError("session_not_ready")
        try:
            await self._link.end_in(end.seconds_left)
        except RelaySilentError:
            raise ServiceError("session_not_ready", "The session's relay does not answer just now.") from None
        self.record.ends_ms = end.ends_ms
        self.record.ends_here_ms = self._around.clock.now_ms() + int(end.seconds_left * 1000)
        self._note(f"ends in {end.seconds_left:g} s")
        await self._save()

    async def _repeat_end_time(self, ends_here_ms: int) -> None:
        left = max(0, ends_here_ms - self._around.clock.now_ms()) / 1000
        try:
            if self._link is not None:
                await self._link.end_in(left)
        except RelaySilentError as error:
            logger.warning("the relay was not told when the session ends: %s", error)
            self.record.ends_ms = None  # so that the coordinator says it again

    async def statistics(self) -> SessionStatistics:
        """Raise ``ServiceError`` while there is no relay that could tell."""
        if self._link is None:
            raise ServiceError("session_not_ready")
        try:
            return await self._link.statistics()
        except RelaySilentError:
            raise ServiceError("session_not_ready", "The session's relay does not answer just now.") from None

    def _open_link(self, private_port: int) -> None:
        self._close_link()
        self._link = RelayLink(private_port, self.record.private_secret)
        self._poll = self._tasks.spawn("relay status", self._poll_relay(self._link))

    def _close_link(self) -> None:
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        if self._link is not None:
            self._link.close()
            self._link = None

    async def _poll_relay(self, link: RelayLink) -> None:
        seen: int | None = None
        while True:
            try:
                status = await link.status(seen)
            except RelaySilentError:
                await self._queue.put(RelaySilent())
                await asyncio.sleep(_SILENT_PAUSE_SECONDS)
                continue
            if status.version == seen:
                await asyncio.sleep(_POLL_PAUSE_SECONDS)
            seen = status.version
            await self._queue.put(status)

    async def _finish(self, end: End) -> None:
        if self._poll is not None:
            self._poll.cancel()
        await self._tasks.close(_TASKS_SECONDS)
        self.record.reason, self.record.detail = end.reason, end.detail
        self._end_wanted = True
        self._course.stop()
        self._sync()
        logger.info("ending: %s%s", end.reason, f" ({end.detail})" if end.detail else "")
        self._note(f"ending: {end.reason} {end.detail or ''}")
        await self._save(tell=True)
        gone = await self._children.end(escalation(self.record.start.timeouts), lambda: self._stop_relay(end.reason))
        await self._children.kill_strays()
        if not gone:
            logger.error("some processes of this session could not be ended")
            self.record.detail = f"{self.record.detail or ''} Some processes could not be ended.".strip()
        program = self._children.program
        if program is not None and program.exited.done():
            self.record.exit_code = program.exited.result().code
        self.record.state = end.state
        self.record.ended_ms = self._around.clock.now_ms()
        self._note(f"{end.state}: {end.reason}, exit code of the title {self.record.exit_code}")
        await asyncio.to_thread(self.directory.drop_secrets)
        await self._save_at_last()

    async def _stop_relay(self, reason: EndReason) -> None:
        """Through its interface, so that it can tell the pages why; else by a signal."""
        try:
            if self._link is not None:
                await self._link.stop(reason)
                return
        except RelaySilentError as error:
            logger.warning("the relay cannot be asked to stop: %s", error)
        if self._children.relay is not None:
            await self._children.relay.ask()

    def _sync(self) -> bool:
        """Take the course's state into the record; whether anything changed that the coordinator should hear of."""
        record, course = self.record, self._course
        if (record.state, record.steps) == (course.state, course.steps):
            return False
        for step in course.steps.keys() - record.steps.keys():
            self._note(f"step {step}")
        if record.state is not course.state:
            self._note(f"state {course.state}")
        record.state, record.steps = course.state, dict(course.steps)
        return True

    def _next_event(self) -> SessionEvent:
        self.record.sequence += 1
        now_ms = self._around.clock.now_ms()
        return SessionEvent(event_id=new_event_id(), sequence=self.record.sequence, at_ms=now_ms, report=self.report())

    async def _save(self, *, tell: bool = False) -> bool:
        """Remember the session, with an event if ``tell``. A failing disk does not end sessions; the event is kept."""
        if tell:
            self._unsaved.append(self._next_event())
        events = tuple(self._unsaved)
        try:
            await self._around.journal.save(self.record, events)
        except JournalError as error:
            logger.error("the session cannot be remembered now: %s", error)
            return False
        self._unsaved = [event for event in self._unsaved if event not in events]
        if events:
            self._around.changed()
        return True

    async def _save_at_last(self) -> None:
        """As :meth:`_save`, with the last event, trying for a while."""
        if await self._save(tell=True):
            return
        for pause_seconds in _JOURNAL_PAUSES_SECONDS:
            await asyncio.sleep(pause_seconds)
            if await self._save():
                return

    def _note(self, text: str) -> None:
        self.directory.note(self._around.clock.now_ms(), text)
