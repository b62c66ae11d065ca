"""A coordinator as session servers know it: takes heartbeats and events, keeps what it was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tornado import httputil, web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from runtime.chassis import codec
from runtime.chassis.clock import Clock, SystemClock
from runtime.chassis.signing import RequestVerifier
from runtime.chassis.web import JsonHandler
from runtime.protocol.control import EndTime, HeartbeatReply, HostHeartbeat, SessionEvent
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason

HOST_KEY = "k" * 43


class FakeCoordinator:
    """``events`` holds what was applied, once each; ``offered`` counts how often each was sent."""

    def __init__(self, host: str, host_key: str, clock: Clock | None = None) -> None:
        self.host, self.host_key = host, host_key
        self.clock = clock or SystemClock()
        self.events: list[SessionEvent] = []
        self.offered: dict[str, int] = {}
        self.heartbeats: list[HostHeartbeat] = []
        self.desired_state = "serving"
        self.end_sessions: dict[str, EndReason] = {}
        self.end_times: dict[str, EndTime] = {}
        # Asked before each request is answered; raise to refuse.
        self.gate: Callable[[str], None] = lambda path: None
        # Called when events were applied, before that is answered; raise to lose the answer.
        self.answers: Callable[[], None] = lambda: None
        # Asked for each event; False leaves it with the host.
        self.takes: Callable[[SessionEvent], bool] = lambda event: True
        self.happened = asyncio.Condition()
        self.port = 0
        self._verifier = RequestVerifier("coordinator", self.clock)
        self._server: HTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def use_clock(self, clock: Clock) -> None:
        self.clock = clock
        self._verifier = RequestVerifier("coordinator", clock)

    async def start(self) -> None:
        routes = [
            (r"/control/v1/hosts/([^/]+)/heartbeat", _Heartbeat, {"coordinator": self}),
            (r"/control/v1/hosts/([^/]+)/events", _Events, {"coordinator": self}),
        ]
        self._server = HTTPServer(web.Application(routes, log_function=lambda handler: None))  # type: ignore[arg-type]
        sockets = bind_sockets(self.port, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self._server.add_sockets(sockets)

    async def close(self) -> None:
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None

    def verify(self, request: httputil.HTTPServerRequest) -> None:
        self._verifier.verify(
            request.headers.get("Authorization"),
            self.host_key,
            issuer=self.host,
            method=request.method or "",
            target=request.uri or "",
            body=request.body,
        )

    def of(self, session_id: str) -> list[SessionEvent]:
        return [event for event in self.events if event.report.session_id == session_id]

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        try:
            async with asyncio.timeout(seconds), self.happened:
                await self.happened.wait_for(condition)
        except TimeoutError:
            told = [(e.report.state, e.report.reason, e.report.detail) for e in self.events]
            raise AssertionError(f"{what} did not happen within {seconds} s; events: {told}") from None


class _Handler(JsonHandler):
    def initialize(self, coordinator: FakeCoordinator) -> None:
        self.coordinator = coordinator

    def prepare(self) -> Any:
        super().prepare()
        self.coordinator.gate(self.request.path)
        self.coordinator.verify(self.request)


class _Heartbeat(_Handler):
    async def post(self, host: str) -> None:
        coordinator = self.coordinator
        if host != coordinator.host:
            raise ServiceError("host_unknown")
        async with coordinator.happened:
            coordinator.heartbeats.append(self.body_as(HostHeartbeat))
            coordinator.happened.notify_all()
        reply = HeartbeatReply(
            desired_state=coordinator.desired_state,
            interval_seconds=0.2,
            now_ms=coordinator.clock.now_ms(),
            end_sessions=coordinator.end_sessions,
            end_times=coordinator.end_times,
        )
        self.write_json(reply)


class _Events(_Handler):
    async def post(self, host: str) -> None:
        coordinator = self.coordinator
        offered = codec.decode(self.request.body, dict[str, list[SessionEvent]])["events"]
        applied = []
        async with coordinator.happened:
            known = {event.event_id for event in coordinator.events}
            for event in offered:
                coordinator.offered[event.event_id] = coordinator.offered.get(event.event_id, 0) + 1
                if not coordinator.takes(event):
                    continue
                if event.event_id not in known:
                    coordinator.events.append(event)
                applied.append(event.event_id)
            coordinator.happened.notify_all()
        coordinator.answers()
        self.write_json({"applied": applied})


@asynccontextmanager
async def fake_coordinator(host: str, host_key: str, clock: Clock | None = None) -> AsyncIterator[FakeCoordinator]:
    coordinator = FakeCoordinator(host, host_key, clock)
    await coordinator.start()
    try:
        yield coordinator
    finally:
        await coordinator.close()
