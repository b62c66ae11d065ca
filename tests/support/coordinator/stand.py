"""A coordinator in this process, fake hosts, and viewers that speak HTTP to it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import msgspec
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from runtime.chassis.clock import Clock, ManualClock, SystemClock
from runtime.chassis.tokens import new_signing_key
from runtime.coordinator.app import Coordinator
from runtime.coordinator.config import CoordinatorConfig
from runtime.coordinator.registry import Registry
from runtime.coordinator.registry_file import RegistryFile
from runtime.coordinator.store.store import Store
from tests.support.waiting import until

from .fake_host import FakeHost

CONTROL_SECRET = "control-secret-of-the-tests"
ADMIN_KEY = "ps_admin-key-of-the-tests"


@dataclass
class Answer:
    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code; empty for success."""
        return str(self.json["error"]["code"]) if self.status >= 400 else ""


@dataclass
class Viewer:
    """One browser: keeps cookies, sends the CSRF token. With ``key`` it is a program instead."""

    url: str
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    csrf: str | None = None
    _client: AsyncHTTPClient = field(
        default_factory=lambda: SimpleAsyncHTTPClient(force_instance=True, max_clients=100)
    )

    async def call(
        self, method: str, path: str, payload: Any = None, *, headers: dict[str, str] | None = None, raw: Any = None
    ) -> Answer:
        if self.key is None and self.csrf is None and method not in ("GET", "OPTIONS"):
            await self.me()
        sent = {**self.headers, **(headers or {})}
        if self.key is not None:
            sent["Authorization"] = f"Bearer {self.key}"
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self.csrf is not None and method not in ("GET", "OPTIONS"):
            sent.setdefault("X-CSRF-Token", self.csrf)
        body = raw if raw is not None else json.dumps(payload).encode() if payload is not None else None
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        response: HTTPResponse = await self._client.fetch(
            HTTPRequest(
                self.url + path,
                method=method,
                body=body,
                headers=sent,
                allow_nonstandard_methods=True,
                follow_redirects=False,
                request_timeout=20,
            ),
            raise_error=False,
        )
        if response.code == 599:
            raise ConnectionError(str(response.error))
        for line in response.headers.get_list("Set-Cookie"):
            # http.cookies knows Partitioned from Python 3.14 on, and drops the whole cookie before.
            for name, morsel in SimpleCookie(line.removesuffix("; Partitioned")).items():
                self.cookies[name] = morsel.value
        return Answer(response.code, response.body or b"", response.headers)

    async def me(self) -> dict[str, Any]:
        answer = await self.call("GET", "/api/v1/me")
        assert answer.status == 200, answer.body
        self.csrf = answer.json["csrf_token"]
        found: dict[str, Any] = answer.json
        return found

    async def get(self, path: str, status: int = 200) -> Any:
        answer = await self.call("GET", path)
        assert answer.status == status, (answer.status, answer.body)
        return answer.json

    async def post(self, path: str, payload: Any = None, status: int = 201) -> Any:
        answer = await self.call("POST", path, payload)
        assert answer.status == status, (answer.status, answer.body)
        return answer.json

    async def start(self, title: str, **more: Any) -> Any:
        return await self.post("/api/v1/sessions", {"title": title, **more})

    async def session_in(self, session_id: str, *states: str, seconds: float = 10.0) -> Any:
        """The session once it is in one of ``states``."""
        found: Any = None

        async def look() -> bool:
            nonlocal found
            found = await self.get(f"/api/v1/sessions/{session_id}")
            return found["state"] in states

        await until(look, f"session in {states}", seconds)
        return found

    def close(self) -> None:
        self._client.close()


class Stand:
    """Everything that a test of the coordinator needs; close in reverse."""

    def __init__(self, uri: str, database: str, clock: Clock | None = None) -> None:
        self.uri, self.database = uri, database
        self.clock = clock or SystemClock()
        self.key = new_signing_key()
        self.coordinators: list[Coordinator] = []
        self.hosts: dict[str, FakeHost] = {}
        self.viewers: list[Viewer] = []

    def config(self, **changes: Any) -> CoordinatorConfig:
        values: dict[str, Any] = {
            "listen": {"address": "127.0.0.1", "port": 0},
            "public_url": "http://127.0.0.1:1",
            "mongodb_uri": self.uri,
            "database": self.database,
            "token_signing_key": self.key,
            "control_secret": CONTROL_SECRET,
            "cookie_secret": "cookie-secret-of-the-tests-long-enough",
            "rate_limits": {"enabled": False},
            "access": {
                "api_keys": {"admin": {"sha256": hashlib.sha256(ADMIN_KEY.encode()).hexdigest(), "scopes": ["admin"]}}
            },
        }
        for key, value in changes.items():
            old = values.get(key)
            values[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        return msgspec.convert(values, CoordinatorConfig)

    async def coordinator(self, **changes: Any) -> Coordinator:
        """Start one more instance."""
        changes.setdefault("instance", f"c{len(self.coordinators)}")
        coordinator = Coordinator(self.config(**changes), clock=self.clock, check_responses=True)
        await coordinator.start()
        self.coordinators.append(coordinator)
        return coordinator

    async def stop(self, coordinator: Coordinator) -> None:
        self.coordinators.remove(coordinator)
        await coordinator.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.coordinators[0].port}"

    def viewer(self, *, key: str | None = None, url: str | None = None, **headers: str) -> Viewer:
        viewer = Viewer(url or self.url, key=key, headers=headers)
        self.viewers.append(viewer)
        return viewer

    def admin(self) -> Viewer:
        return self.viewer(key=ADMIN_KEY)

    async def host(self, name: str, **options: Any) -> FakeHost:
        """A fake host, running but not yet registered."""
        host = FakeHost(name, CONTROL_SECRET, clock=self.clock, **options)
        await host.start()
        self.hosts[name] = host
        return host

    async def register(
        self, titles: list[dict[str, Any]], hosts: dict[FakeHost, list[str]], *, prune: bool = False
    ) -> Any:
        """Write the registry, as ``pixelstream registry apply`` does, and let every host say hello."""
        servers = [
            {**host.entry, "titles": {name: {"executable": f"/opt/{name}"} for name in names}}
            for host, names in hosts.items()
        ]
        file = msgspec.convert({"titles": titles, "session_servers": servers}, RegistryFile)
        store = Store(self.uri, self.database, writer="registry", clock=self.clock)
        await store.open()
        try:
            outcome = await Registry(store, Path("."), prune=prune, check=False).apply(file)
        finally:
            await store.close()
        if self.coordinators:
            names = {title["name"] for title in titles}
            for coordinator in self.coordinators:
                fleet = coordinator.service.fleet
                await until(
                    lambda fleet=fleet: names <= set(fleet.titles) and {h.name for h in hosts} <= set(fleet.hosts),
                    "the registry is known",
                )
            for host in hosts:
                host.connect(self.url)
                await host.beat()
            for coordinator in self.coordinators:  # the others hear of it by way of the database
                fleet = coordinator.service.fleet
                await until(
                    lambda fleet=fleet: all(fleet.hosts[host.name].heartbeat is not None for host in hosts),
                    "every instance has heard of the hosts",
                )
        return outcome

    async def pass_time(self, seconds: float, *hosts: FakeHost) -> None:
        """Let a manual clock go on in steps in which timers run and ``hosts`` are heard of."""
        assert isinstance(self.clock, ManualClock)
        while seconds > 0:
            self.clock.advance(min(4.0, seconds))
            seconds -= 4.0
            for host in hosts:
                await host.beat()
            for coordinator in self.coordinators:
                await coordinator.timers.round()

    async def close(self) -> None:
        for viewer in self.viewers:
            viewer.close()
        for host in self.hosts.values():
            await host.close()
        for coordinator in reversed(self.coordinators):
            await coordinator.close()
