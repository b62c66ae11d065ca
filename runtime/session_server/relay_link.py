"""The relay's private interface, from the session server's side."""

from __future__ import annotations

from typing import Any

from runtime.chassis import codec
from runtime.chassis.client import HttpClient, PeerUnreachableError
from runtime.protocol.control import RelayStatus, SessionStatistics
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason

_WAIT_SECONDS = 25
_POST_SECONDS = 2.0
_STATISTICS_SECONDS = 2.0


class RelaySilentError(Exception):
    """The relay did not answer, or not as agreed."""


class RelayLink:
    """Loopback HTTP with the session's private secret. One per running relay."""

    def __init__(self, private_port: int, private_secret: str) -> None:
        self._base_url = f"http://127.0.0.1:{private_port}"
        self._headers = {"Authorization": f"Bearer {private_secret}"}
        self._http = HttpClient(max_clients=4)  # the long poll, and statistics and a stop beside it

    async def status(self, seen: int | None) -> RelayStatus:
        """At once without ``seen``; else when the relay's version differs, or after 25 s.

        Raise :class:`RelaySilentError`.
        """
        query = "" if seen is None else f"?seen={seen}&wait_seconds={_WAIT_SECONDS}"
        deadline = 5.0 if seen is None else _WAIT_SECONDS + 5.0
        try:
            reply = await self._http.fetch(
                "GET", f"{self._base_url}/private/status{query}", deadline_seconds=deadline, headers=self._headers
            )
            return reply.as_(RelayStatus)
        except (PeerUnreachableError, ServiceError) as error:
            raise RelaySilentError(str(error)) from None

    async def statistics(self) -> SessionStatistics:
        """Raise :class:`RelaySilentError`."""
        try:
            reply = await self._http.fetch(
                "GET",
                f"{self._base_url}/private/statistics",
                deadline_seconds=_STATISTICS_SECONDS,
                headers=self._headers,
            )
            return reply.as_(SessionStatistics)
        except (PeerUnreachableError, ServiceError) as error:
            raise RelaySilentError(str(error)) from None

    async def end_in(self, seconds: float) -> None:
        """Raise :class:`RelaySilentError`."""
        await self._post("end-time", {"seconds_left": seconds})

    async def stop(self, reason: EndReason) -> None:
        """Raise :class:`RelaySilentError`."""
        await self._post("stop", {"reason": reason})

    async def _post(self, what: str, payload: dict[str, Any]) -> None:
        try:
            await self._http.fetch(
                "POST",
                f"{self._base_url}/private/{what}",
                deadline_seconds=_POST_SECONDS,
                body=codec.encode(payload),
                headers=self._headers,
            )
        except (PeerUnreachableError, ServiceError) as error:
            raise RelaySilentError(str(error)) from None

    def close(self) -> None:
        self._http.close()
