"""People and programs that speak HTTP to a coordinator byte by byte: nothing is normalised on the way out."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The error's code, None when this is no error."""
        try:
            return str(self.json["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return None


@dataclass
class Person:
    """A browser as the service sees it: it keeps cookies, and knows its CSRF token once it has asked."""

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, signed: bool = True
    ) -> Reply:
        """One request. ``signed``: writes carry the CSRF token, as pages send it. ``path`` goes out as it is."""
        sent = {**self.headers, **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if signed and method not in ("GET", "HEAD", "OPTIONS") and "Authorization" not in sent:
            sent.setdefault("X-CSRF-Token", self.csrf())
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if payload is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(urlsplit(self.base_url).netloc, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, payload, sent)
            answer = connection.getresponse()
            reply = Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        for line in reply.headers.get_all("Set-Cookie") or []:
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        return reply

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, headers=headers)

    def csrf(self) -> str:
        return str(self.get("/api/v1/me").json["csrf_token"])

    def start(self, title: str) -> str:
        """Start a session and wait until it streams; its id."""
        created = self.ask("POST", "/api/v1/sessions", {"title": title})
        assert created.status == 201, created.body
        session_id = str(created.json["id"])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (session := self.get(f"/api/v1/sessions/{session_id}").json)["state"] not in ("ready", "streaming"):
            assert session["state"] not in ("ended", "failed"), session
            assert time.monotonic() < deadline, session
            time.sleep(0.1)
        return session_id

    def join(self, session_id: str, **body: str) -> Any:
        """The ticket: role, participant, token, addresses."""
        reply = self.ask("POST", f"/api/v1/sessions/{session_id}/join", body)
        assert reply.status == 200, reply.body
        return reply.json

    def invite(self, session_id: str, role: str = "watcher") -> Any:
        reply = self.ask("POST", f"/api/v1/sessions/{session_id}/invites", {"role": role})
        assert reply.status == 201, reply.body
        return reply.json


def secret_of(invite: Mapping[str, Any]) -> str:
    """What joining with an invitation needs: the last part of its link."""
    return str(invite["url"]).rsplit("/", 1)[1]
