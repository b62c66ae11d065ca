"""Events for other systems: signed, at least once, tried again, dead, replayed."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from runtime.chassis.clock import ManualClock
from runtime.coordinator.domain.webhook import PAUSES_SECONDS
from tests.support.coordinator.stand import Stand
from tests.support.waiting import until

TITLE = {"name": "sample"}


class Receiver:
    """Somebody's server; ``status`` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []
        sockets = bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/hook"
        self._server = HTTPServer(Application([(r"/hook", _Hook, {"receiver": self})], log_function=lambda _: None))
        self._server.add_sockets(sockets)

    @property
    def types(self) -> list[str]:
        return [headers["X-Pixelstream-Event"] for headers, _ in self.got]

    async def close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


class _Hook(RequestHandler):
    def initialize(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def post(self) -> None:
        self.receiver.got.append((dict(self.request.headers), self.request.body))
        self.set_status(self.receiver.status)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    yield receiver
    await receiver.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def _started(stand: Stand) -> Any:
    host = await stand.host("gpu1")
    await stand.register([TITLE], {host: ["sample"]})
    return host


async def test_events_come_signed_and_only_those_wanted(stand: Stand, receiver: Receiver) -> None:
    await stand.coordinator()
    await _started(stand)
    admin, viewer = stand.admin(), stand.viewer()
    wanted = ["session.ready", "session.ended"]
    made = await admin.post("/api/v1/admin/webhooks", {"url": receiver.url, "events": wanted})
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    await viewer.call("DELETE", f"/api/v1/sessions/{session['id']}")
    await until(lambda: sorted(receiver.types) == sorted(wanted), "both events")
    for headers, body in receiver.got:
        stamp, _, sent = headers["X-Pixelstream-Signature"].partition(",v1=")
        expected = hmac.new(made["secret"].encode(), f"{stamp.removeprefix('t=')}.".encode() + body, hashlib.sha256)
        assert hmac.compare_digest(sent, expected.hexdigest())
        told = json.loads(body)
        assert told["data"]["session"]["id"] == session["id"]
        assert told["data"]["session"]["owner"]["kind"] == "anonymous"
        assert told["type"] == headers["X-Pixelstream-Event"]
    assert (await admin.get("/api/v1/admin/webhooks"))["items"][0]["secret"] is None
    unknown = await admin.call("POST", "/api/v1/admin/webhooks", {"url": receiver.url, "events": ["session.slept"]})
    assert unknown.code == "bad_request"


async def test_a_receiver_that_fails_is_tried_again_until_the_event_is_dead_and_then_replayed(
    stand: Stand, receiver: Receiver, clock: ManualClock
) -> None:
    hook = {"url": receiver.url, "secret": "configured-secret-123", "events": ["session.ready"]}
    await stand.coordinator(webhooks={"shop": hook})
    host = await _started(stand)
    admin, viewer = stand.admin(), stand.viewer()
    receiver.status = 500
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")

    async def delivery() -> Any:
        items = (await admin.get("/api/v1/admin/deliveries"))["items"]
        return items[0] if items else {"attempts": 0, "state": ""}

    for attempt, pause in enumerate((0, *PAUSES_SECONDS), 1):
        clock.advance(pause + 1)
        await host.beat()
        await until(lambda n=attempt: _attempts(delivery, n), f"attempt {attempt}")
    dead = await delivery()
    assert (dead["state"], dead["last_answer"], dead["next_at"]) == ("dead", "HTTP 500", None)
    assert len(receiver.got) == len(PAUSES_SECONDS) + 1
    assert len({headers["X-Pixelstream-Delivery"] for headers, _ in receiver.got}) == 1

    receiver.status = 204
    await admin.post(f"/api/v1/admin/deliveries/{dead['id']}/replay", status=202)
    await until(lambda: _is(delivery, "delivered"), "replayed")
    assert receiver.got[0][1] == receiver.got[-1][1]


async def _attempts(delivery: Any, count: int) -> bool:
    return bool((await delivery())["attempts"] >= count)


async def _is(delivery: Any, state: str) -> bool:
    return bool((await delivery())["state"] == state)


async def test_events_of_a_process_that_died_are_told_by_the_next(
    stand: Stand, receiver: Receiver, clock: ManualClock
) -> None:
    hook = {"url": receiver.url, "secret": "configured-secret-123", "events": ["session.ended", "session.created"]}
    # The first instance makes the changes and never gets to tell of them.
    first = await stand.coordinator()
    await _started(stand)
    viewer = stand.viewer()
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    await viewer.call("DELETE", f"/api/v1/sessions/{session['id']}")
    await viewer.session_in(session["id"], "ended")
    await stand.stop(first)
    await first.service.store.connection.open()
    await first.service.store.connection.collection("cursor").delete_many({})
    await first.service.store.connection.close()
    clock.advance(30)
    await stand.coordinator(webhooks={"shop": hook}, instance="next")
    await stand.coordinator(webhooks={"shop": hook}, instance="other")
    await until(lambda: sorted(receiver.types) == ["session.created", "session.ended"], "told after all")
    clock.advance(60)
    await until(lambda: stand.coordinators[0].timers.holding or stand.coordinators[1].timers.holding, "timers run")
    assert len(receiver.got) == 2
