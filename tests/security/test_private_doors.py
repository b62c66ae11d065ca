"""Interfaces that are not for people: the relay's private one and the signed one between coordinator and host."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

import psutil
import pytest
from tornado.httpclient import HTTPClientError

from runtime.chassis.clock import ManualClock, SystemClock
from runtime.chassis.entropy import new_event_id
from runtime.chassis.signing import host_key, sign_request
from tests.integration.relay_room.relay_harness import Socket

from .conftest import TITLE, Live
from .people import Person, Reply


def _ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def _public_port(live: Live) -> int:
    return int(live.relay_config["listen"]["port"])


# --- the relay ---

_PRIVATE = (
    ("GET", "/private/status?wait_seconds=0"),
    ("GET", "/private/statistics"),
    ("POST", "/private/end-time"),
    ("POST", "/private/stop"),
    ("GET", "/metrics"),
)


@pytest.mark.parametrize(("method", "path"), _PRIVATE)
def test_the_private_interface_wants_its_own_secret(live: Live, method: str, path: str) -> None:
    config = live.relay_config
    token = live.owner.join(live.session_id)["token"]
    body = json.dumps({"reason": "owner_ended"}).encode() if method == "POST" else None
    for authorization in (
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        f"Bearer {config['private_secret'][:-1]}",
        f"Bearer {config['private_secret']}x",
        f"Basic {config['private_secret']}",
        f"Bearer {config['streamer_secret']}",
        f"Bearer {token}",
        f"Bearer {live.stage.stack.admin.api_key}",
    ):
        reply = _ask(live.private_port, method, path, body, {"Authorization": authorization} if authorization else {})
        assert (reply.status, reply.code) == (401, "unauthenticated"), authorization
        assert live.session_id.encode() not in reply.body
    if method == "GET":
        right = {"Authorization": f"Bearer {config['private_secret']}"}
        assert _ask(live.private_port, method, path, headers=right).status == 200


def test_the_private_interface_listens_on_loopback_alone(live: Live) -> None:
    addresses = {
        connection.laddr.ip
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == live.private_port
    }
    assert addresses == {"127.0.0.1"}


async def test_the_public_side_has_no_way_to_the_private_one(live: Live) -> None:
    config = live.relay_config
    right = {"Authorization": f"Bearer {config['private_secret']}"}
    for method, path in _PRIVATE:
        assert _ask(_public_port(live), method, path, headers=right).status == 404
    for path in ("/player/../private/status", "//private/status", "/room/..%2fprivate%2fstatus"):
        assert _ask(_public_port(live), "GET", path, headers=right).status in (400, 404)
    for url in (
        f"ws://127.0.0.1:{_public_port(live)}/streamer/{config['streamer_secret']}",
        f"ws://127.0.0.1:{live.private_port}/streamer/{config['private_secret']}",
        f"ws://127.0.0.1:{live.private_port}/streamer/{config['streamer_secret'][:-1]}",
        f"ws://127.0.0.1:{live.private_port}/streamer/",
        f"ws://127.0.0.1:{live.private_port}/player?token={live.owner.join(live.session_id)['token']}",
    ):
        with pytest.raises(HTTPClientError) as refused:
            await Socket.open(url)
        assert refused.value.code == 404


# --- between coordinator and host ---


class Wire:
    """The keys of both sides, as whoever broke into one of them would have them."""

    def __init__(self, live: Live) -> None:
        self.coordinator = json.loads((live.stage.stack.directory / "coordinator.json").read_text())
        host = json.loads((live.stage.stack.directory / "session-server.json").read_text())
        self.key, self.port = str(host["host_key"]), int(host["listen"]["port"])
        self.coordinator_port = int(self.coordinator["listen"]["port"])

    def sign(self, method: str, path: str, body: bytes = b"", **changes: Any) -> dict[str, str]:
        fields = {"issuer": "coordinator", "audience": "demo", "clock": SystemClock(), "key": self.key, **changes}
        key = fields.pop("key")
        return {"Authorization": sign_request(key, method=method, target=path, body=body, **fields)}


@pytest.fixture
def wire(live: Live) -> Wire:
    return Wire(live)


def test_a_host_obeys_only_what_its_coordinator_signed_for_it(live: Live, wire: Wire) -> None:
    path = f"/control/v1/sessions/{live.session_id}?reason=admin_ended"
    late = ManualClock(epoch_ms=SystemClock().now_ms() - 3_600_000)
    tries = {
        "unsigned": ({}, "control_unsigned"),
        "with an API key": (live.stage.stack.admin.headers, "control_unsigned"),
        "with another host's key": (
            wire.sign("DELETE", path, key=host_key(wire.coordinator["control_secret"], "other")),
            "control_unsigned",
        ),
        "for another host": (wire.sign("DELETE", path, audience="other"), "control_unsigned"),
        "by another host": (wire.sign("DELETE", path, issuer="demo"), "control_unsigned"),
        "for another method": (wire.sign("GET", path), "control_mismatch"),
        "for another session": (wire.sign("DELETE", path.replace(live.session_id, "a" * 26)), "control_mismatch"),
        "for another reason": (wire.sign("DELETE", path.partition("?")[0]), "control_mismatch"),
        "an hour ago": (wire.sign("DELETE", path, clock=late), "control_expired"),
    }
    answers = {what: _ask(wire.port, "DELETE", path, headers=headers) for what, (headers, _) in tries.items()}
    assert {what: (reply.status, reply.code) for what, reply in answers.items()} == {
        what: (401, code) for what, (_, code) in tries.items()
    }
    assert live.owner.get(live.path).json["state"] in ("ready", "streaming")


def test_a_request_that_was_overheard_cannot_be_sent_again(live: Live, wire: Wire) -> None:
    path = f"/control/v1/sessions/{live.session_id}"
    headers = wire.sign("GET", path)
    assert _ask(wire.port, "GET", path, headers=headers).status == 200
    again = _ask(wire.port, "GET", path, headers=headers)
    assert (again.status, again.code) == (401, "control_replayed")


def test_a_changed_body_is_refused(wire: Wire, live: Live) -> None:
    path = f"/control/v1/sessions/{'b' * 26}"
    meant, sent = b'{"session_id": "x"}', b'{"session_id": "y"}'
    reply = _ask(wire.port, "PUT", path, sent, wire.sign("PUT", path, meant))
    assert (reply.status, reply.code) == (401, "control_mismatch")


def test_a_host_cannot_speak_for_another(wire: Wire) -> None:
    """One compromised host holds one derived key: it opens no other host's address."""
    for path in ("/control/v1/hosts/other/heartbeat", "/control/v1/hosts/other/events"):
        for issuer in ("demo", "other"):
            headers = wire.sign("POST", path, b"{}", issuer=issuer, audience="coordinator")
            reply = _ask(wire.coordinator_port, "POST", path, b"{}", headers)
            assert (reply.status, reply.code) == (401, "control_unsigned"), (path, issuer)


def test_a_host_cannot_end_what_runs_elsewhere(live: Live, wire: Wire) -> None:
    """In its own name a host may say what it likes of its own sessions; this one is not among them."""
    key = host_key(wire.coordinator["control_secret"], "other")
    report = {
        "session_id": live.session_id,
        "title": TITLE,
        "state": "ended",
        "reason": "app_exited",
        "port": 22,
        "ended_ms": SystemClock().now_ms(),
    }
    event = {"event_id": new_event_id(), "sequence": 1_000_000, "at_ms": SystemClock().now_ms(), "report": report}
    beat = {
        "host": "other",
        "boot_id": "x",
        "sent_ms": SystemClock().now_ms(),
        "version": "0",
        "platform": "linux",
        "capacity": 1,
        "draining": False,
        "sessions": [report],
    }
    for path, said in (
        ("/control/v1/hosts/other/events", {"events": [event]}),
        ("/control/v1/hosts/other/heartbeat", beat),
    ):
        body = json.dumps(said).encode()
        headers = wire.sign("POST", path, body, key=key, issuer="other", audience="coordinator")
        reply = _ask(wire.coordinator_port, "POST", path, body, headers)
        assert reply.status == 200, reply.body
    session = live.owner.get(live.path).json
    assert session["state"] in ("ready", "streaming")
    # Nor was the way to it bent: its players are still sent to the relay that runs it.
    assert f":{_public_port(live)}/" in live.owner.join(live.session_id)["player_url"]


def test_a_viewer_cannot_reach_a_hosts_control_interface_through_the_coordinator(live: Live) -> None:
    for person in (live.owner, Person(live.stage.url, live.stage.stack.admin.headers)):
        for path in ("/control/v1/sessions", f"/control/v1/sessions/{live.session_id}", "/control/v1/host"):
            assert person.get(path).status == 404
        reply = person.ask("POST", "/control/v1/hosts/demo/heartbeat", {})
        assert (reply.status, reply.code) == (401, "control_unsigned")
