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
from runtime.coordinator import webhooks
from runtime.coordinator.domain.webhook import PAUSES_SECONDS, Delivery
from tests.support.coordinator.stand import Stand
from tests.support.raw_server import silent_server
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


def _due(receiver: str, number: int, clock: ManualClock, *, waited_ms: int = 0) -> Delivery:
    now = clock.now_ms() - waited_ms
    event = f"{number:026d}.ready"
    return Delivery(
        id=f"{event}.{receiver}",
        receiver=receiver,
        event=event,
        type="session.ready",
        body="{}",
        next_ms=now,
        created_ms=now,
    )


async def test_a_receiver_that_never_answers_is_tried_again_until_the_event_is_dead(
    stand: Stand, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_DEADLINE_SECONDS", 0.1)
    async with silent_server() as port:
        hook = {"url": f"http://127.0.0.1:{port}/hook", "secret": "configured-secret-123"}
        deliveries = (await stand.coordinator(webhooks={"shop": hook})).service.store.deliveries
        made = await deliveries.insert(_due("shop", 1, clock))
        for attempt, pause in enumerate((0, *PAUSES_SECONDS), 1):
            clock.advance(pause + 1)
            await until(lambda n=attempt: _tried(deliveries, made.id, n), f"attempt {attempt}")
        dead = await deliveries.get(made.id)
    assert dead is not None
    assert dead.state == "dead"
    assert dead.last_answer.startswith("no answer: ")


async def _tried(deliveries: Any, delivery_id: str, attempts: int) -> bool:
    return bool((await deliveries.get(delivery_id)).attempts >= attempts)


ODD_ANSWERS = {
    "hangs up": b"",
    "no http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "another encoding than it says": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!"
    ),
    "shorter than it says": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
}


@pytest.mark.parametrize("answer", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
async def test_an_attempt_counts_whatever_came_of_it(stand: Stand, clock: ManualClock, answer: bytes) -> None:
    async with silent_server(answer=answer, hangs_up=True) as port:
        hook = {"url": f"http://127.0.0.1:{port}/hook", "secret": "configured-secret-123"}
        deliveries = (await stand.coordinator(webhooks={"shop": hook})).service.store.deliveries
        made = await deliveries.insert(_due("shop", 1, clock))
        await until(lambda: _tried(deliveries, made.id, 1), "attempt")
        after = await deliveries.get(made.id)
    assert after is not None
    assert (after.state, after.attempts, after.next_ms) == ("pending", 1, clock.now_ms() + PAUSES_SECONDS[0] * 1000)


async def test_an_attempt_counts_also_when_it_is_our_own_fault(
    stand: Stand, receiver: Receiver, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signature(secret: str, sent: int, body: bytes) -> str:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(webhooks, "signature", signature)
    hook = {"url": receiver.url, "secret": "configured-secret-123"}
    deliveries = (await stand.coordinator(webhooks={"shop": hook})).service.store.deliveries
    made = await deliveries.insert(_due("shop", 1, clock))
    await until(lambda: _tried(deliveries, made.id, 1), "attempt")
    after = await deliveries.get(made.id)
    assert after is not None
    assert (after.attempts, after.last_answer) == (1, "not sent: RuntimeError: nobody thought of this")


async def test_a_receiver_that_never_answers_keeps_nobody_else_waiting(
    stand: Stand, receiver: Receiver, clock: ManualClock
) -> None:
    async with silent_server() as port:
        silent = {"url": f"http://127.0.0.1:{port}/hook", "secret": "configured-secret-123"}
        hooks = {"silent": silent, "shop": {"url": receiver.url, "secret": "configured-secret-123"}}
        coordinator = await stand.coordinator(webhooks=hooks)
        store = coordinator.service.store
        # More than are looked at together, and all of them waiting for longer.
        for number in range(webhooks._DUE + 10):
            await store.deliveries.insert(_due("silent", number, clock, waited_ms=60_000))
        await until(lambda: coordinator.service.webhooks._sending, "the silent one is being asked")
        told = await store.deliveries.insert(_due("shop", 1, clock))
        # Shorter than the silent one is waited for, twice.
        await until(lambda: receiver.got, "the other one is told", seconds=15)
        await until(lambda: _tried(store.deliveries, told.id, 1), "kept")
        assert len(receiver.got) == 1
