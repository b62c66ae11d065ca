"""What session servers call. Every request is signed with the host's own key (docs/architecture.md)."""

from __future__ import annotations

import msgspec

from runtime.chassis.signing import host_key
from runtime.chassis.web import target_of
from runtime.protocol.control import HostHeartbeat, SessionEvent
from runtime.protocol.errors import ServiceError

from .base import CoordinatorHandler

_EVENTS = 1000


class Events(msgspec.Struct):
    events: list[SessionEvent]


class HostHandler(CoordinatorHandler):
    def verify(self, host: str) -> None:
        """Raise the ``control_...`` code of what is wrong with the signature."""
        self.service.verifier.verify(
            self.request.headers.get("Authorization"),
            host_key(self.service.config.control_secret, host),
            issuer=host,
            method=self.request.method or "",
            target=target_of(self.request),
            body=self.request.body,
        )


class HeartbeatHandler(HostHandler):
    async def post(self, host: str) -> None:
        self.verify(host)
        said = self.body_as(HostHeartbeat)
        if said.host != host:
            raise ServiceError("bad_request", "The body names another host than the address.")
        self.write_json(await self.service.reports.heartbeat(said))


class EventsHandler(HostHandler):
    async def post(self, host: str) -> None:
        self.verify(host)
        events = self.body_as(Events).events
        if len(events) > _EVENTS:
            raise ServiceError("too_large", f"At most {_EVENTS} events at once.")
        self.write_json({"applied": await self.service.reports.events(host, events)})
