"""JSON over HTTP with a deadline on every call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypeVar

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from runtime.protocol.errors import ERRORS, ServiceError

from . import codec
from .clock import Clock
from .signing import sign_request

T = TypeVar("T")
_MAX_BODY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Reply:
    """An answer below status 400."""

    status: int
    body: bytes
    content_type: str

    def as_(self, shape: type[T]) -> T:
        return codec.decode(self.body, shape)


class PeerUnreachableError(Exception):
    """No answer: refused, reset, or past the deadline."""


class HttpClient:
    """A client of our own services. An error body with a known code is raised as ``ServiceError``."""

    def __init__(self, *, max_clients: int = 100, ca_file: str | None = None) -> None:
        self._client: AsyncHTTPClient = SimpleAsyncHTTPClient(
            force_instance=True, max_clients=max_clients, max_body_size=_MAX_BODY_BYTES
        )
        self._ca_file = ca_file

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        deadline_seconds: float,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Raise :class:`PeerUnreachableError` or ``ServiceError``."""
        request = HTTPRequest(
            url,
            method=method,
            body=body,
            headers={"Content-Type": "application/json", **(headers or {})} if body is not None else headers,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            connect_timeout=min(5.0, deadline_seconds),
            request_timeout=deadline_seconds,
            ca_certs=self._ca_file,
        )
        try:
            async with asyncio.timeout(deadline_seconds + 1):
                response = await self._client.fetch(request, raise_error=False)
        except (OSError, TimeoutError, HTTPClientError) as error:
            raise PeerUnreachableError(f"{method} {url.split('?')[0]}: {error or type(error).__name__}") from None
        if response.code == 599:
            raise PeerUnreachableError(f"{method} {url.split('?')[0]}: {response.reason}")
        reply = Reply(response.code, response.body or b"", response.headers.get("Content-Type", ""))
        if response.code >= 400:
            raise _as_error(reply, method, url)
        return reply

    def close(self) -> None:
        self._client.close()


def _as_error(reply: Reply, method: str, url: str) -> Exception:
    try:
        error: Any = codec.decode(reply.body, dict)["error"]
        code = error["code"]
        if code in ERRORS:
            return ServiceError(code, str(error.get("message", "")) or None, details=error.get("details"))
    except (ServiceError, KeyError, TypeError):
        pass
    return PeerUnreachableError(f"{method} {url.split('?')[0]}: HTTP {reply.status} without an error of ours")


class SignedClient:
    """Control requests to one peer."""

    def __init__(self, http: HttpClient, base_url: str, *, key: str, issuer: str, audience: str, clock: Clock) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        # The signature covers the path the peer sees; a proxy in front must pass paths unchanged.
        self._key, self._issuer, self._audience, self._clock = key, issuer, audience, clock

    async def call(self, method: str, target: str, *, deadline_seconds: float, payload: Any = None) -> Reply:
        """``target`` starts with ``/control/``. Raise as :meth:`HttpClient.fetch`."""
        body = codec.encode(payload) if payload is not None else None
        authorization = sign_request(
            self._key,
            issuer=self._issuer,
            audience=self._audience,
            method=method,
            target=target,
            body=body or b"",
            clock=self._clock,
        )
        return await self._http.fetch(
            method,
            self._base_url + target,
            deadline_seconds=deadline_seconds,
            body=body,
            headers={"Authorization": authorization},
        )
