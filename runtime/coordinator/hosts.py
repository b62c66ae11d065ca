"""Signed calls to session servers."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import msgspec

from runtime.chassis.client import HttpClient, Reply, SignedClient
from runtime.chassis.clock import Clock
from runtime.chassis.signing import host_key
from runtime.protocol.control import EndTime, SessionReport, SessionStatistics, StartSession
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason

from .domain.model import Host

COORDINATOR = "coordinator"


class _Known(msgspec.Struct):
    """The part of an answer by which a host says that it never heard of the session."""

    known: bool = True


class HostClient:
    """One call per method; each raises ``PeerUnreachableError`` or ``ServiceError`` as the chassis client does."""

    def __init__(self, *, control_secret: str, clock: Clock, deadline_seconds: float, ca_file: str | None) -> None:
        self._secret = control_secret
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._http = HttpClient(ca_file=ca_file)

    async def start(self, host: Host, request: StartSession) -> SessionReport:
        """Idempotent by session id."""
        reply = await self._call(host, "PUT", f"/control/v1/sessions/{request.session_id}", payload=request)
        return reply.as_(SessionReport)

    async def stop(self, host: Host, session_id: str, reason: EndReason) -> SessionReport | None:
        """Ask for the end; None when the host answers without a report (it does not know the session)."""
        try:
            reply = await self._call(host, "DELETE", f"/control/v1/sessions/{session_id}?reason={reason}")
        except ServiceError as error:
            if error.code == "session_not_found":
                return None
            raise
        return reply.as_(SessionReport) if reply.as_(_Known).known else None

    async def set_end_time(self, host: Host, session_id: str, end: EndTime) -> None:
        await self._call(host, "PUT", f"/control/v1/sessions/{session_id}/end-time", payload=end)

    async def statistics(self, host: Host, session_id: str) -> SessionStatistics:
        reply = await self._call(host, "GET", f"/control/v1/sessions/{session_id}/statistics")
        return reply.as_(SessionStatistics)

    async def logs(self, host: Host, session_id: str, source: str, lines: int) -> Reply:
        query = urlencode({"source": source, "lines": lines})
        return await self._call(host, "GET", f"/control/v1/sessions/{session_id}/logs?{query}")

    async def bundle(self, host: Host, session_id: str) -> Reply:
        """The support bundle, a zip."""
        return await self._call(
            host, "GET", f"/control/v1/sessions/{session_id}/bundle", deadline_seconds=self._deadline_seconds * 6
        )

    async def _call(
        self,
        host: Host,
        method: str,
        target: str,
        *,
        payload: object | None = None,
        deadline_seconds: float | None = None,
    ) -> Reply:
        client = SignedClient(
            self._http,
            host.control_url,
            key=host_key(self._secret, host.name),
            issuer=COORDINATOR,
            audience=host.name,
            clock=self._clock,
        )
        return await client.call(
            method, target, deadline_seconds=deadline_seconds or self._deadline_seconds, payload=payload
        )

    def close(self) -> None:
        self._http.close()


def edge_address(host: Host, port: int, path: str) -> str:
    """The public address of a relay's socket, from the host's template."""
    base = host.edge_url.replace("{host}", quote(host.name)).replace("{port}", str(port))
    return f"{base.rstrip('/')}/{path}"
