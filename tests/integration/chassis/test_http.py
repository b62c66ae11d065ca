"""Handlers and client against each other over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from runtime.chassis.client import HttpClient, PeerUnreachableError, SignedClient
from runtime.chassis.clock import SystemClock
from runtime.chassis.config import Config, ConfigError, load
from runtime.chassis.metrics import new_registry
from runtime.chassis.signing import RequestVerifier
from runtime.chassis.web import JsonHandler, MetricsHandler, application, target_of
from runtime.protocol.errors import ServiceError

KEY = "k" * 43
VERIFIER = RequestVerifier("gpu1", SystemClock())


class Echo(JsonHandler):
    def put(self) -> None:
        target = target_of(self.request)
        VERIFIER.verify(
            self.request.headers.get("Authorization"),
            KEY,
            issuer="coordinator",
            method="PUT",
            target=target,
            body=self.request.body,
        )
        self.write_json({"got": self.body_as(dict), "target": target}, status=201)


class Broken(JsonHandler):
    def get(self) -> None:
        raise RuntimeError("the cause stays in the log")


class Busy(JsonHandler):
    def get(self) -> None:
        raise ServiceError("rate_limited", retry_after_seconds=7)


class Silent(JsonHandler):
    async def get(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    routes: list[web.URLSpec | tuple[str, type]] = [
        ("/control/echo", Echo),
        ("/broken", Broken),
        ("/busy", Busy),
        ("/silent", Silent),
        web.url("/metrics", MetricsHandler, {"registry": new_registry()}),
    ]
    sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    server = HTTPServer(application(routes))
    server.add_sockets(sockets)
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    server.stop()
    await server.close_all_connections()


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    client.close()


async def test_a_signed_call_arrives_whole(base_url: str, http: HttpClient) -> None:
    client = SignedClient(http, base_url, key=KEY, issuer="coordinator", audience="gpu1", clock=SystemClock())
    reply = await client.call("PUT", "/control/echo?x=1", deadline_seconds=5, payload={"name": "Анна"})
    assert reply.status == 201
    assert reply.as_(dict) == {"got": {"name": "Анна"}, "target": "/control/echo?x=1"}


async def test_a_wrong_key_is_refused_with_its_code(base_url: str, http: HttpClient) -> None:
    client = SignedClient(http, base_url, key="x" * 43, issuer="coordinator", audience="gpu1", clock=SystemClock())
    with pytest.raises(ServiceError) as caught:
        await client.call("PUT", "/control/echo", deadline_seconds=5, payload={})
    assert caught.value.code == "control_unsigned"


async def test_a_wrong_body_names_the_fault(base_url: str, http: HttpClient) -> None:
    client = SignedClient(http, base_url, key=KEY, issuer="coordinator", audience="gpu1", clock=SystemClock())
    with pytest.raises(ServiceError) as caught:
        await client.call("PUT", "/control/echo", deadline_seconds=5, payload=[1])
    assert caught.value.code == "bad_request"
    assert "object" in caught.value.message


@pytest.mark.expects_errors
async def test_an_unexpected_failure_hides_its_cause(base_url: str, http: HttpClient) -> None:
    with pytest.raises(ServiceError) as caught:
        await http.fetch("GET", base_url + "/broken", deadline_seconds=5)
    assert caught.value.code == "internal"
    assert "cause" not in caught.value.message


async def test_no_route_and_no_method_are_told_apart(base_url: str, http: HttpClient) -> None:
    for path, code in (("/nowhere", "not_found"), ("/control/echo", "method_not_allowed")):
        with pytest.raises(ServiceError) as caught:
            await http.fetch("GET", base_url + path, deadline_seconds=5)
        assert caught.value.code == code


async def test_retry_after_and_request_id_are_sent(base_url: str) -> None:
    reader, writer = await asyncio.open_connection(*base_url.removeprefix("http://").split(":"))
    writer.write(b"GET /busy HTTP/1.1\r\nHost: x\r\nX-Request-ID: abcdefgh\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(5):
        answer = (await reader.read()).decode()
    writer.close()
    head, body = answer.split("\r\n\r\n", 1)
    assert "Retry-After: 7" in head
    assert "X-Request-Id: abcdefgh" in head
    assert json.loads(body)["error"] == {
        "code": "rate_limited",
        "message": "Too many requests.",
        "fix": "Wait for the time in Retry-After.",
        "request_id": "abcdefgh",
    }


async def test_a_silent_peer_meets_the_deadline(base_url: str, http: HttpClient) -> None:
    with pytest.raises(PeerUnreachableError):
        await http.fetch("GET", base_url + "/silent", deadline_seconds=0.2)


async def test_a_closed_port_is_unreachable(http: HttpClient) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(PeerUnreachableError):
            await http.fetch("GET", f"http://127.0.0.1:{port}/", deadline_seconds=2)


async def test_metrics_are_prometheus_text(base_url: str, http: HttpClient) -> None:
    reply = await http.fetch("GET", base_url + "/metrics", deadline_seconds=5)
    assert b"python_info" in reply.body
    assert reply.content_type.startswith("text/plain")


class Section(Config, frozen=True, kw_only=True):
    name: str
    port: int = 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"name": "x", "prot": 1}', "prot"),
        ('{"name": "x", "port": "1"}', "port"),
        ("{}", "name"),
        ('{"name": "secret-value"', "not valid JSON"),
    ],
)
def test_a_wrong_configuration_names_the_key(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load(path, Section)
    assert "secret-value" not in str(caught.value)


def test_a_missing_configuration_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.json", Section)
