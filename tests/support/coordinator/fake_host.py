"""A session server that starts nothing: it speaks the control interface for real, and does what a test says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from runtime.chassis import codec
from runtime.chassis.client import HttpClient, PeerUnreachableError, Reply, SignedClient
from runtime.chassis.clock import Clock, SystemClock
from runtime.chassis.entropy import new_event_id
from runtime.chassis.signing import RequestVerifier, host_key
from runtime.chassis.web import JsonHandler, target_of
from runtime.protocol.control import (
    EndTime,
    HeartbeatReply,
    HostHeartbeat,
    PlayerStatistics,
    SessionEvent,
    SessionReport,
    SessionStatistics,
    StartSession,
    StreamStatistics,
)
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, SessionState, StartStep


@dataclass
class FakeSession:
    request: StartSession
    report: SessionReport
    sequence: int = 0


class FakeHost:
    """``refuse`` makes starts fail with that code; ``hold`` keeps start requests waiting; ``auto`` goes to ready."""

    def __init__(
        self, name: str, control_secret: str, *, capacity: int = 2, auto: bool = True, clock: Clock | None = None
    ) -> None:
        self.name = name
        self.capacity = capacity
        self.auto = auto
        self.refuse: str | None = None
        self.hold = asyncio.Event()
        self.hold.set()
        self.starts: list[str] = []
        self.stops: list[tuple[str, str]] = []
        self.sessions: dict[str, FakeSession] = {}
        self.outbox: list[SessionEvent] = []
        self.end_times: list[tuple[str, EndTime]] = []
        self.deaf = False  # for new ends of sessions
        self.draining = False
        self.port = 0
        self._clock = clock or SystemClock()
        self._key = host_key(control_secret, name)
        self._verifier = RequestVerifier(name, self._clock)
        self._server: HTTPServer | None = None
        self._http = HttpClient()
        self._coordinator: SignedClient | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._flushing = asyncio.Lock()

    async def start(self, coordinator_url: str = "") -> None:
        sockets = bind_sockets(self.port, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        app = Application(
            [
                (r"/control/v1/sessions/([a-z2-7]+)", _SessionHandler, {"host": self}),
                (r"/control/v1/sessions/([a-z2-7]+)/end-time", _EndTimeHandler, {"host": self}),
                (r"/control/v1/sessions/([a-z2-7]+)/(logs|bundle|statistics)", _FilesHandler, {"host": self}),
            ],
            log_function=lambda _: None,
        )
        self._server = HTTPServer(app)
        self._server.add_sockets(sockets)
        if coordinator_url:
            self.connect(coordinator_url)

    def connect(self, coordinator_url: str) -> None:
        self._coordinator = SignedClient(
            self._http, coordinator_url, key=self._key, issuer=self.name, audience="coordinator", clock=self._clock
        )

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None
        self._http.close()

    def spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def entry(self) -> dict[str, Any]:
        """Its entry in a registry file, without titles."""
        return {
            "name": self.name,
            "control_url": f"http://127.0.0.1:{self.port}",
            "edge_url": "ws://127.0.0.1:{port}/{host}",
            "capacity": self.capacity,
        }

    # --- what the host says ---

    @property
    def running(self) -> list[FakeSession]:
        return [s for s in self.sessions.values() if s.report.ended_ms is None]

    async def beat(self, **changes: Any) -> HeartbeatReply:
        """Send one heartbeat, and obey the answer."""
        assert self._coordinator is not None
        beat = HostHeartbeat(
            host=self.name,
            boot_id="boot",
            sent_ms=self._clock.now_ms(),
            version="test",
            platform="test",
            capacity=self.capacity,
            draining=self.draining,
            sessions=tuple(s.report for s in self.running),
            events_waiting=len(self.outbox),
        )
        target = f"/control/v1/hosts/{self.name}/heartbeat"
        reply = await self._coordinator.call("POST", target, deadline_seconds=10, payload=replace(beat, **changes))
        wishes = reply.as_(HeartbeatReply)
        for session_id, reason in wishes.end_sessions.items():
            self.stop(session_id, reason)
        for session_id, end in wishes.end_times.items() if not self.deaf else ():
            self.set_end_time(session_id, end)
        return wishes

    def change(self, session_id: str, state: SessionState, **changes: Any) -> SessionEvent:
        """Note a change; :meth:`flush` sends it."""
        session = self.sessions[session_id]
        session.report = replace(session.report, state=state, **changes)
        session.sequence += 1
        event = SessionEvent(
            event_id=new_event_id(),
            sequence=session.sequence,
            at_ms=self._clock.now_ms(),
            report=session.report,
        )
        self.outbox.append(event)
        return event

    async def flush(self) -> None:
        """Deliver the outbox; what was applied leaves it."""
        async with self._flushing:
            if not self.outbox:
                return
            applied = await self.send(self.outbox)
            self.outbox = [event for event in self.outbox if event.event_id not in applied]

    async def send(self, events: list[SessionEvent]) -> list[str]:
        assert self._coordinator is not None
        reply: Reply = await self._coordinator.call(
            "POST", f"/control/v1/hosts/{self.name}/events", deadline_seconds=10, payload={"events": events}
        )
        return list(codec.decode(reply.body, dict)["applied"])

    async def go(self, session_id: str, state: SessionState, **changes: Any) -> None:
        """Change and tell."""
        self.change(session_id, state, **changes)
        await self.flush()

    # --- what the host does ---

    def begin(self, request: StartSession) -> tuple[SessionReport, bool]:
        if self.refuse is not None:
            raise ServiceError(self.refuse)
        known = self.sessions.get(request.session_id)
        if known is not None:
            return known.report, False
        if len(self.running) >= self.capacity:
            raise ServiceError("host_full")
        now = self._clock.now_ms()
        report = SessionReport(
            session_id=request.session_id,
            title=request.title,
            state=SessionState.STARTING,
            steps={StartStep.RELAY_UP: now},
            started_ms=now,
            port=9000 + len(self.sessions),
        )
        self.sessions[request.session_id] = FakeSession(request, report)
        if self.auto and self._coordinator is not None:
            self.spawn(self._to_ready(request.session_id))
        return report, True

    async def _to_ready(self, session_id: str) -> None:
        now = self._clock.now_ms()
        steps = dict.fromkeys(StartStep, now)
        if self.sessions[session_id].report.state is SessionState.STARTING:
            self.change(session_id, SessionState.READY, steps=steps)
            await self.deliver()

    async def deliver(self) -> None:
        """Empty the outbox, however long the coordinator is away."""
        while self.outbox:
            try:
                await self.flush()
            except (PeerUnreachableError, ServiceError):
                await asyncio.sleep(0.2)

    def set_end_time(self, session_id: str, end: EndTime) -> SessionReport:
        if self.deaf:
            raise ServiceError("session_not_ready")
        session = self.sessions[session_id]
        session.report = replace(session.report, ends_ms=end.ends_ms)
        self.end_times.append((session_id, end))
        return session.report

    def stop(self, session_id: str, reason: EndReason) -> SessionReport | None:
        self.stops.append((session_id, reason))
        session = self.sessions.get(session_id)
        if session is None:
            return None
        if session.report.ended_ms is None:
            session.report = replace(session.report, state=SessionState.STOPPING, reason=reason)
            if self.auto:
                self.change(session_id, SessionState.ENDED, ended_ms=self._clock.now_ms(), reason=reason)
                if self._coordinator is not None:
                    self.spawn(self.deliver())
        return session.report


class _Signed(JsonHandler):
    def initialize(self, host: FakeHost) -> None:
        self.host = host

    def prepare(self) -> None:
        super().prepare()
        self.host._verifier.verify(
            self.request.headers.get("Authorization"),
            self.host._key,
            issuer="coordinator",
            method=self.request.method or "",
            target=target_of(self.request),
            body=self.request.body,
        )


class _SessionHandler(_Signed):
    async def put(self, session_id: str) -> None:
        self.host.starts.append(session_id)
        await self.host.hold.wait()
        report, fresh = self.host.begin(self.body_as(StartSession))
        self.write_json(report, 201 if fresh else 200)

    def delete(self, session_id: str) -> None:
        report = self.host.stop(session_id, EndReason(self.get_query_argument("reason")))
        if report is None:
            self.write_json({"session_id": session_id, "known": False})
            return
        self.write_json(report, 200 if report.ended_ms is not None else 202)


class _EndTimeHandler(_Signed):
    def put(self, session_id: str) -> None:
        self.write_json(self.host.set_end_time(session_id, self.body_as(EndTime)))


class _FilesHandler(_Signed):
    def get(self, session_id: str, what: str) -> None:
        handler: RequestHandler = self
        if what == "logs":
            handler.set_header("Content-Type", "text/plain; charset=utf-8")
            handler.finish(f"{self.get_query_argument('source')} of {session_id}\n")
        elif what == "statistics":
            self.write_json(
                SessionStatistics(
                    stream=StreamStatistics(codec="H264", fps=30.0),
                    players=(PlayerStatistics(id="1", participant="p"),),
                )
            )
        else:
            handler.set_header("Content-Type", "application/zip")
            handler.finish(b"PK\x05\x06" + bytes(18))
