"""The control interface (docs/architecture.md). Every request is signed by the coordinator; answers are JSON."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from runtime.chassis import codec
from runtime.chassis.signing import RequestVerifier
from runtime.chassis.web import JsonHandler, MetricsHandler, application, target_of
from runtime.protocol.control import EndTime, StartSession
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason

from .agent import Agent
from .config import SessionServerConfig
from .evidence import MAX_LINES, SOURCES, tail, write_bundle
from .files import SessionDirectory
from .policy.ending import End
from .record import SessionRecord
from .registry import SessionRegistry

_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Service:
    """What handlers need."""

    config: SessionServerConfig
    registry: SessionRegistry
    agent: Agent
    verifier: RequestVerifier
    environment: dict[str, str]


class ControlHandler(JsonHandler):
    """Refuses everything that the coordinator has not signed."""

    def initialize(self, service: Service) -> None:
        self.service = service

    def prepare(self) -> Any:
        super().prepare()
        self.service.verifier.verify(
            self.request.headers.get("Authorization"),
            self.service.config.host_key,
            issuer="coordinator",
            method=self.request.method or "",
            target=target_of(self.request),
            body=self.request.body,
        )

    def known(self, session_id: str) -> tuple[SessionRecord, SessionDirectory]:
        """Raise ``ServiceError`` ``session_not_found``."""
        record, directory = self.service.registry.record(session_id), self.service.registry.directory(session_id)
        if record is None or directory is None:
            raise ServiceError("session_not_found")
        return record, directory


class SessionsHandler(ControlHandler):
    def get(self) -> None:
        registry = self.service.registry
        self.write_json({"items": [*registry.live_reports(), *registry.ended_reports()]})


class SessionHandler(ControlHandler):
    async def put(self, session_id: str) -> None:
        start = self.body_as(StartSession)
        if start.session_id != session_id:
            raise ServiceError("bad_request", "session_id in the body is not the one in the address.")
        report, is_new = await self.service.registry.begin(start)
        self.write_json(report, 201 if is_new else 200)

    def get(self, session_id: str) -> None:
        report = self.service.registry.report(session_id)
        if report is None:
            raise ServiceError("session_not_found")
        self.write_json(report)

    def delete(self, session_id: str) -> None:
        try:
            reason = EndReason(self.get_query_argument("reason", EndReason.ADMIN_ENDED))
        except ValueError:
            raise ServiceError("bad_request", f"reason must be one of {', '.join(EndReason)}.") from None
        report = self.service.registry.end(session_id, End(reason))
        if report is None:
            # Nothing to end is what was asked for.
            self.write_json({"session_id": session_id, "known": False})
            return
        self.write_json(report, 200 if report.ended_ms is not None else 202)


class StatisticsHandler(ControlHandler):
    async def get(self, session_id: str) -> None:
        self.write_json(await self.service.registry.statistics(session_id))


class EndTimeHandler(ControlHandler):
    async def put(self, session_id: str) -> None:
        self.write_json(await self.service.registry.set_end_time(session_id, self.body_as(EndTime)))


class LogsHandler(ControlHandler):
    async def get(self, session_id: str) -> None:
        record, directory = self.known(session_id)
        source = self.get_query_argument("source", "relay")
        lines = self.get_query_argument("lines", "200")
        if source not in SOURCES:
            raise ServiceError("bad_request", f"source must be one of {', '.join(SOURCES)}.")
        if not lines.isdecimal() or not 1 <= int(lines) <= MAX_LINES:
            raise ServiceError("bad_request", f"lines must be 1 to {MAX_LINES}.")
        secrets = (record.streamer_secret, record.private_secret)
        text = await asyncio.to_thread(tail, directory, source, int(lines), secrets)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(text)


class BundleHandler(ControlHandler):
    async def get(self, session_id: str) -> None:
        record, directory = self.known(session_id)
        host = codec.to_builtins(await self.service.agent.heartbeat())
        # On the data disk: crash dumps may be larger than what a small /tmp takes.
        with tempfile.TemporaryDirectory(dir=self.service.config.data_directory, prefix="bundle-") as place:
            target = Path(place, "bundle.zip")
            await asyncio.to_thread(
                write_bundle,
                target,
                directory,
                record,
                host,
                self.service.environment,
                self.service.config.files.crash_bytes,
            )
            self.set_header("Content-Type", "application/zip")
            self.set_header("Content-Disposition", f'attachment; filename="session-{session_id}.zip"')
            with await asyncio.to_thread(target.open, "rb") as file:
                while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                    self.write(piece)
                    await self.flush()


class HostHandler(ControlHandler):
    async def get(self) -> None:
        self.write_json(await self.service.agent.heartbeat())


class HealthHandler(JsonHandler):
    """Unsigned, and says nothing but that the service answers."""

    def get(self) -> None:
        self.write_json({"status": "ok"})


def routes(service: Service, metrics: CollectorRegistry) -> Any:
    """The Tornado application."""
    signed = {"service": service}
    session = r"/control/v1/sessions/([a-z2-7]{26})"
    return application(
        [
            (r"/control/v1/sessions", SessionsHandler, signed),
            (session, SessionHandler, signed),
            (session + "/statistics", StatisticsHandler, signed),
            (session + "/end-time", EndTimeHandler, signed),
            (session + "/logs", LogsHandler, signed),
            (session + "/bundle", BundleHandler, signed),
            (r"/control/v1/host", HostHandler, signed),
            (r"/healthz", HealthHandler),
            (r"/metrics", MetricsHandler, {"registry": metrics}),
        ]
    )
