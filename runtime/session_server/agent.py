"""Talks to the coordinator: heartbeats, and the events of the outbox, at least once and in order per session."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path

from runtime import __version__
from runtime.chassis.client import PeerUnreachableError, SignedClient
from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_event_id
from runtime.chassis.lifecycle import Background
from runtime.protocol.control import HeartbeatReply, HostHeartbeat
from runtime.protocol.errors import ServiceError

from .config import SessionServerConfig
from .coordinator_clock import CoordinatorClock
from .gpu import GpuReader
from .journal import Journal, JournalError
from .machine import platform_text, read_machine
from .policy.ending import End
from .registry import SessionRegistry

logger = logging.getLogger(__name__)
_CALL_SECONDS = 15.0
_BATCH_EVENTS = 100
_FIRST_BACK_OFF_SECONDS = 0.5
_LONGEST_BACK_OFF_SECONDS = 30.0
# Events that the coordinator did not take are offered again after this long.
_AGAIN_SECONDS = 10.0
_FORGET_EVERY_BEATS = 60
_SHORTEST_INTERVAL_SECONDS, _LONGEST_INTERVAL_SECONDS = 0.1, 300.0


class Agent:
    """Runs two loops: what the host is, and what happened on it."""

    def __init__(
        self,
        *,
        config: SessionServerConfig,
        registry: SessionRegistry,
        journal: Journal,
        coordinator: SignedClient,
        clock: Clock,
        signing_clock: CoordinatorClock,
        gpus: GpuReader,
        events_wait: asyncio.Event,
    ) -> None:
        """``events_wait`` is set by whoever puts events into the journal."""
        self._config, self._registry, self._journal = config, registry, journal
        self._coordinator, self._clock, self._signing_clock, self._gpus = coordinator, clock, signing_clock, gpus
        self._boot_id = new_event_id()
        self._interval_seconds = config.heartbeat_seconds
        self._events_wait = events_wait
        self._background = Background()
        self._trouble: dict[str, str] = {}

    async def start(self) -> None:
        self._gpus.open()
        self._events_wait.set()
        self._background.spawn("heartbeat", self._beat_for_ever())
        self._background.spawn("outbox", self._deliver_for_ever())

    async def close(self) -> None:
        try:
            # What the last moments brought, if the coordinator takes it at once; else the next start delivers it.
            async with asyncio.timeout(2.0):
                await self._deliver(frozenset())
        except (TimeoutError, PeerUnreachableError, ServiceError, JournalError) as error:
            logger.info("undelivered events stay in the journal (%s)", error or "no answer in time")
        await self._background.close()
        self._gpus.close()

    async def heartbeat(self) -> HostHeartbeat:
        """What the host is now."""
        await self._registry.measure()
        figures = await asyncio.to_thread(read_machine, Path(self._config.data_directory))
        waiting, untold = await self._journal.waiting_sessions()
        # An ended session is named until its end is delivered, so that nobody takes it for lost before.
        ended = tuple(report for report in self._registry.ended_reports() if report.session_id in untold)
        return HostHeartbeat(
            host=self._config.host,
            boot_id=self._boot_id,
            sent_ms=self._clock.now_ms(),
            version=__version__,
            platform=platform_text(),
            capacity=self._config.capacity,
            draining=self._registry.draining,
            sessions=(*self._registry.live_reports(), *ended),
            cpu=figures.cpu,
            memory_total_bytes=figures.memory_total_bytes,
            memory_available_bytes=figures.memory_available_bytes,
            disk_free_bytes=figures.disk_free_bytes,
            gpus=await asyncio.to_thread(self._gpus.read),
            events_waiting=waiting,
        )

    async def _beat_for_ever(self) -> None:
        beats = 0
        while True:
            try:
                if beats % _FORGET_EVERY_BEATS == 0:
                    await self._registry.forget_old()
                await self._beat()
                self._is_well("heartbeat")
            except (PeerUnreachableError, ServiceError, JournalError) as error:
                self._is_in_trouble("heartbeat", error)
            except Exception:
                logger.exception("the heartbeat failed")
            beats += 1
            await asyncio.sleep(self._interval_seconds)

    async def _beat(self) -> None:
        reply = await self._coordinator.call(
            "POST",
            f"/control/v1/hosts/{self._config.host}/heartbeat",
            payload=await self.heartbeat(),
            deadline_seconds=_CALL_SECONDS,
        )
        wishes = reply.as_(HeartbeatReply)
        self._signing_clock.learn(wishes.now_ms)
        self._interval_seconds = min(
            _LONGEST_INTERVAL_SECONDS, max(_SHORTEST_INTERVAL_SECONDS, wishes.interval_seconds)
        )
        self._registry.draining = wishes.desired_state == "draining"
        for session_id, reason in wishes.end_sessions.items():
            self._registry.end(session_id, End(reason, "The coordinator does not want this session to run."))
        for session_id, end in wishes.end_times.items():
            try:
                await self._registry.set_end_time(session_id, end)
            except ServiceError as error:
                # The next heartbeat shows that it is not known here, and brings it again.
                logger.info("session %s was not told its end: %s", session_id, error.message)

    async def _deliver_for_ever(self) -> None:
        pause_seconds = _FIRST_BACK_OFF_SECONDS
        while True:
            await self._events_wait.wait()
            self._events_wait.clear()
            try:
                all_taken = await self._deliver(frozenset())
                self._is_well("delivery of events")
                pause_seconds = _FIRST_BACK_OFF_SECONDS
                if not all_taken:
                    asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._events_wait.set)
                continue
            except (PeerUnreachableError, ServiceError, JournalError) as error:
                self._is_in_trouble("delivery of events", error)
            except Exception:
                logger.exception("delivery of events failed")
            self._events_wait.set()
            # Spread, so that a coordinator that comes back is not met by all hosts at once.
            await asyncio.sleep(pause_seconds * (0.5 + random.random()))  # noqa: S311 - not a secret
            pause_seconds = min(_LONGEST_BACK_OFF_SECONDS, pause_seconds * 2)

    async def _deliver(self, skip: frozenset[str]) -> bool:
        """Send everything that waits; whether the coordinator took all of it."""
        limit = _BATCH_EVENTS
        while events := await self._journal.waiting(limit, skip):
            try:
                reply = await self._coordinator.call(
                    "POST",
                    f"/control/v1/hosts/{self._config.host}/events",
                    payload={"events": events},
                    deadline_seconds=_CALL_SECONDS,
                )
            except ServiceError as error:
                if error.code not in ("bad_request", "bad_json", "too_large"):
                    raise
                if limit > 1:
                    limit = 1  # find the one that is refused
                    continue
                logger.error("the coordinator refuses event %s for good: %s", events[0].event_id, error.message)
                await self._journal.delivered([events[0].event_id])
                continue
            applied = set(reply.as_(dict[str, list[str]])["applied"])
            await self._journal.delivered(applied)
            # In order per session: what was not taken holds back only its own session.
            skip |= {event.report.session_id for event in events if event.event_id not in applied}
        return not skip

    def _is_in_trouble(self, what: str, error: Exception) -> None:
        """Tell once, not every few seconds for hours; learn the time if that is the trouble."""
        if isinstance(error, ServiceError) and error.code == "control_expired" and isinstance(error.details, dict):
            now_ms = error.details.get("now_ms")
            if isinstance(now_ms, int):
                self._signing_clock.learn(now_ms)
        text = error.code if isinstance(error, ServiceError) else type(error).__name__
        if self._trouble.get(what) != text:
            self._trouble[what] = text
            fix = f" {error.fix}" if isinstance(error, ServiceError) else ""
            logger.warning("%s does not work: %s%s", what, error, fix)

    def _is_well(self, what: str) -> None:
        if self._trouble.pop(what, None) is not None:
            logger.info("%s works again", what)
            self._events_wait.set()
