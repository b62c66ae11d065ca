"""Many session servers in one process. Each speaks the control interface with its own key; none starts anything."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field, replace
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from runtime.chassis.client import HttpClient, PeerUnreachableError, SignedClient
from runtime.chassis.clock import SystemClock
from runtime.chassis.entropy import new_event_id
from runtime.chassis.signing import RequestVerifier, host_key
from runtime.chassis.web import JsonHandler
from runtime.protocol.control import HeartbeatReply, HostHeartbeat, SessionEvent, SessionReport, StartSession
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, SessionState, StartStep

_CLOCK = SystemClock()
_DEADLINE_SECONDS = 30.0
_START_SECONDS = 0.5  # from the request until the title is ready


@dataclass
class SimulatedHost:
    name: str
    capacity: int
    key: str
    client: SignedClient
    verifier: RequestVerifier
    sessions: dict[str, SessionReport] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    outbox: list[SessionEvent] = field(default_factory=list)
    interval_seconds: float = 5.0

    def note(self, report: SessionReport) -> None:
        """Put a change into the outbox."""
        number = self.sequences[report.session_id] = self.sequences.get(report.session_id, 0) + 1
        self.outbox.append(SessionEvent(event_id=new_event_id(), sequence=number, at_ms=_CLOCK.now_ms(), report=report))
        if report.ended_ms is None:
            self.sessions[report.session_id] = report
        else:
            self.sessions.pop(report.session_id, None)
            self.sequences.pop(report.session_id, None)


def host_names(count: int) -> list[str]:
    return [f"gpu{number:05d}" for number in range(count)]


class SimulatedFleet:
    """All hosts behind one listening socket: the control address of each ends with its name."""

    def __init__(self, control_secret: str, count: int, capacity: int) -> None:
        self._secret, self._capacity = control_secret, capacity
        self._http = HttpClient(max_clients=200)
        self._names = host_names(count)
        self.hosts: dict[str, SimulatedHost] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: HTTPServer | None = None
        self.port = 0
        self.heartbeats = 0
        self.refused = 0
        self.heartbeat_seconds: list[float] = []

    def listen(self) -> None:
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        app = Application(
            [(r"/([a-z0-9]+)(/control/v1/sessions/([a-z2-7]+).*)", _SessionHandler, {"fleet": self})],
            log_function=lambda _: None,
        )
        self._server = HTTPServer(app)
        self._server.add_sockets(sockets)

    def connect(self, coordinator_url: str) -> None:
        """Make the hosts; :meth:`begin` makes them talk."""
        for name in self._names:
            key = host_key(self._secret, name)
            client = SignedClient(
                self._http, coordinator_url, key=key, issuer=name, audience="coordinator", clock=_CLOCK
            )
            self.hosts[name] = SimulatedHost(name, self._capacity, key, client, RequestVerifier(name, _CLOCK))

    def begin(self) -> None:
        for host in self.hosts.values():
            self.spawn(self._beat_for_ever(host))
            self.spawn(self._deliver_for_ever(host))

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
        self._http.close()

    def spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def running(self) -> int:
        return sum(len(host.sessions) for host in self.hosts.values())

    async def beat_once(self) -> None:
        """Everybody says hello, a few at a time."""
        gate = asyncio.Semaphore(50)

        async def one(host: SimulatedHost) -> None:
            async with gate:
                await self._beat(host)

        await asyncio.gather(*(one(host) for host in self.hosts.values()))

    async def _beat_for_ever(self, host: SimulatedHost) -> None:
        # Hosts are not in step.
        await asyncio.sleep(random.random() * host.interval_seconds)
        while True:
            try:
                await self._beat(host)
            except (PeerUnreachableError, ServiceError):
                self.refused += 1
            await asyncio.sleep(host.interval_seconds)

    async def _beat(self, host: SimulatedHost) -> None:
        beat = HostHeartbeat(
            host=host.name,
            boot_id="boot",
            sent_ms=_CLOCK.now_ms(),
            version="bench",
            platform="linux",
            capacity=host.capacity,
            draining=False,
            sessions=tuple(host.sessions.values()),
            cpu=0.5,
            memory_total_bytes=2**35,
            memory_available_bytes=2**34,
            disk_free_bytes=2**38,
            events_waiting=len(host.outbox),
        )
        began = time.perf_counter()
        reply = await host.client.call(
            "POST", f"/control/v1/hosts/{host.name}/heartbeat", deadline_seconds=_DEADLINE_SECONDS, payload=beat
        )
        self.heartbeat_seconds.append(time.perf_counter() - began)
        self.heartbeats += 1
        wishes = reply.as_(HeartbeatReply)
        host.interval_seconds = wishes.interval_seconds
        for session_id, reason in wishes.end_sessions.items():
            self.stop(host, session_id, reason)

    async def _deliver_for_ever(self, host: SimulatedHost) -> None:
        while True:
            if host.outbox:
                events = list(host.outbox)
                try:
                    await host.client.call(
                        "POST",
                        f"/control/v1/hosts/{host.name}/events",
                        deadline_seconds=_DEADLINE_SECONDS,
                        payload={"events": events},
                    )
                    del host.outbox[: len(events)]
                except (PeerUnreachableError, ServiceError):
                    self.refused += 1
            await asyncio.sleep(0.25 + random.random() * 0.25)

    def begin_session(self, host: SimulatedHost, request: StartSession) -> SessionReport:
        known = host.sessions.get(request.session_id)
        if known is not None:
            return known
        if len(host.sessions) >= host.capacity:
            raise ServiceError("host_full")
        now = _CLOCK.now_ms()
        report = SessionReport(
            session_id=request.session_id,
            title=request.title,
            state=SessionState.STARTING,
            steps={StartStep.RELAY_UP: now},
            port=8900 + len(host.sessions),
            started_ms=now,
        )
        host.note(report)
        self.spawn(self._become_ready(host, report))
        return report

    async def _become_ready(self, host: SimulatedHost, report: SessionReport) -> None:
        await asyncio.sleep(_START_SECONDS)
        if report.session_id in host.sessions:
            steps = dict.fromkeys(StartStep, _CLOCK.now_ms())
            host.note(replace(report, state=SessionState.READY, steps=steps))

    def stop(self, host: SimulatedHost, session_id: str, reason: EndReason) -> SessionReport | None:
        report = host.sessions.get(session_id)
        if report is None:
            return None
        ended = replace(report, state=SessionState.ENDED, reason=reason, ended_ms=_CLOCK.now_ms())
        host.note(ended)
        return ended


class _SessionHandler(JsonHandler):
    def initialize(self, fleet: SimulatedFleet) -> None:
        self.fleet = fleet

    def _verified(self, name: str) -> SimulatedHost:
        host = self.fleet.hosts[name]
        host.verifier.verify(
            self.request.headers.get("Authorization"),
            host.key,
            issuer="coordinator",
            method=self.request.method or "",
            target=(self.request.uri or "").removeprefix(f"/{name}"),
            body=self.request.body,
        )
        return host

    def put(self, name: str, _: str, __: str) -> None:
        host = self._verified(name)
        self.write_json(self.fleet.begin_session(host, self.body_as(StartSession)), 201)

    def delete(self, name: str, _: str, session_id: str) -> None:
        host = self._verified(name)
        report = self.fleet.stop(host, session_id, EndReason(self.get_query_argument("reason")))
        self.write_json(report or {"session_id": session_id, "known": False})
