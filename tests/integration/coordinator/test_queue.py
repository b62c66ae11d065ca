"""Waiting for a place: order, live position, leaving, restart."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from runtime.chassis.clock import ManualClock
from runtime.coordinator.store.locks import Lease
from runtime.protocol.states import EndReason, SessionState
from tests.support.coordinator.database import DatabaseProcess, EmbeddedDatabase
from tests.support.coordinator.events import follow
from tests.support.coordinator.stand import Stand, Viewer
from tests.support.waiting import until

TITLE = {"name": "sample"}


async def _wait(viewer: Viewer) -> str:
    session = await viewer.start("sample", wait=True)
    assert session["state"] == "queued"
    return str(session["id"])


async def test_places_are_given_in_order_and_positions_are_told_live(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    holder, first, second = stand.viewer(), stand.viewer(), stand.viewer()
    running = await holder.start("sample")
    await holder.session_in(running["id"], "ready")
    one, two = await _wait(first), await _wait(second)
    async with (
        follow(first, f"/api/v1/sessions/{one}/events") as stream_one,
        follow(second, f"/api/v1/sessions/{two}/events") as stream_two,
    ):
        assert stream_one.headers["content-type"].startswith("text/event-stream")
        assert (await stream_one.next())[1]["queue"]["position"] == 1
        at_second = (await stream_two.next())[1]["queue"]
        assert at_second["position"] == 2
        assert at_second["wait_seconds"] > 0
        # Somebody who would not wait does not overtake.
        await holder.call("DELETE", f"/api/v1/sessions/{running['id']}")
        ready = await stream_one.until(lambda s: s["state"] == "ready")
        assert ready["queue"] is None
        moved = await stream_two.until(lambda s: s["queue"]["position"] == 1)
        assert moved["state"] == "queued"
        await first.call("DELETE", f"/api/v1/sessions/{one}")
        ended = await stream_one.until(lambda s: s["state"] == "ended")
        assert ended["reason"] == "owner_ended"
        await stream_two.until(lambda s: s["state"] == "ready")


async def test_a_newcomer_does_not_overtake_the_queue(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=1, auto=False)
    await stand.register([TITLE], {host: ["sample"]})
    holder, waiting, newcomer = stand.viewer(), stand.viewer(), stand.viewer()
    await holder.start("sample")
    await _wait(waiting)
    # Room appears, and the newcomer asks before the queue was served.
    stand.coordinators[0].timers.round = _nothing  # type: ignore[method-assign]
    host.capacity = 2
    fleet = stand.coordinators[0].service.fleet
    fleet.put_host(replace(fleet.hosts["gpu1"], capacity=2, version=fleet.hosts["gpu1"].version + 99))
    await host.beat()
    assert (await newcomer.call("POST", "/api/v1/sessions", {"title": "sample"})).code == "no_capacity"
    assert (await newcomer.start("sample", wait=True))["queue"]["position"] == 2


async def _nothing() -> None:
    return None


async def test_everybodys_first_place_comes_before_anybodys_second(stand: Stand) -> None:
    await stand.coordinator(sessions={"per_viewer": 0})
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    holder, greedy, modest = stand.viewer(), stand.viewer(), stand.viewer()
    await holder.start("sample")
    tickets = [await _wait(greedy) for _ in range(3)]
    modest_ticket = await _wait(modest)
    positions = [
        (await viewer.get(f"/api/v1/sessions/{ticket}"))["queue"]["position"]
        for viewer, ticket in [*((greedy, t) for t in tickets), (modest, modest_ticket)]
    ]
    assert positions == [1, 3, 4, 2]


async def test_who_closes_the_page_leaves_the_queue_and_who_keeps_it_open_stays(stand: Stand) -> None:
    await stand.coordinator(sessions={"queue_grace_seconds": 1.5})
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    holder, gone, patient = stand.viewer(), stand.viewer(), stand.viewer()
    await holder.start("sample")
    left, stays = await _wait(gone), await _wait(patient)
    async with follow(patient, f"/api/v1/sessions/{stays}/events") as stream:
        async with follow(gone, f"/api/v1/sessions/{left}/events") as closing:
            await closing.next()
        # The watcher is somebody else, whose asking keeps nobody's place.
        ended = await holder.session_in(left, "ended", seconds=15)
        assert ended["reason"] == "queue_left"
        await stream.until(lambda s: s["queue"]["position"] == 1)
        assert (await patient.get(f"/api/v1/sessions/{stays}"))["state"] == "queued"


async def test_the_queue_survives_a_restart_in_its_order(stand: Stand) -> None:
    first = await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    holder, one, two = stand.viewer(), stand.viewer(), stand.viewer()
    running = await holder.start("sample")
    tickets = [await _wait(one), await _wait(two)]
    port = first.port
    await stand.stop(first)
    await stand.coordinator(listen={"address": "127.0.0.1", "port": port})
    await host.beat()
    for position, (viewer, ticket) in enumerate(zip((one, two), tickets, strict=True), 1):
        assert (await viewer.get(f"/api/v1/sessions/{ticket}"))["queue"]["position"] == position
    await holder.call("DELETE", f"/api/v1/sessions/{running['id']}")
    await one.session_in(tickets[0], "ready")


async def test_a_full_queue_and_a_title_without_hosts_say_so(stand: Stand) -> None:
    await stand.coordinator(sessions={"queue_length": 1})
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE, {"name": "nowhere"}], {host: ["sample"]})
    viewers = [stand.viewer() for _ in range(3)]
    await viewers[0].start("sample")
    await _wait(viewers[1])
    assert (await viewers[2].call("POST", "/api/v1/sessions", {"title": "sample", "wait": True})).code == "queue_full"
    nowhere = await viewers[2].call("POST", "/api/v1/sessions", {"title": "nowhere", "wait": True})
    assert nowhere.code == "no_host"


async def test_the_catalogue_is_told_live_when_availability_changes(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    viewer = stand.viewer()
    await viewer.me()
    async with follow(viewer, "/api/v1/events") as stream:
        name, data = await stream.next()
        assert (name, data["items"][0]["availability"]["state"]) == ("titles", "free")
        session = await viewer.start("sample")
        await stream.until(lambda d: d["items"][0]["availability"]["state"] == "busy")
        await viewer.session_in(session["id"], "ready")
        await viewer.call("DELETE", f"/api/v1/sessions/{session['id']}")
        await stream.until(lambda d: d["items"][0]["availability"]["state"] == "free")


async def test_streams_are_limited_per_address_and_counted_down(stand: Stand) -> None:
    limits = {"enabled": True, "streams_per_address": 1}
    coordinator = await stand.coordinator(rate_limits=limits)
    viewer = stand.viewer()
    await viewer.me()
    async with follow(viewer, "/api/v1/events") as stream:
        assert stream.status == 200
        async with follow(viewer, "/api/v1/events") as second:
            assert second.status == 429
    await until(lambda: not coordinator.service.streams, "closed stream counted down")
    async with follow(viewer, "/api/v1/events") as third:
        assert third.status == 200


async def test_who_waits_is_written_down_once_the_database_is_back(caplog: pytest.LogCaptureFixture) -> None:
    database = EmbeddedDatabase()
    database.start()
    stand = Stand(database.uri, "t")
    try:
        coordinator = await stand.coordinator(database_deadline_seconds=0.5)
        host = await stand.host("gpu1", capacity=1)
        await stand.register([TITLE], {host: ["sample"]})
        await stand.viewer().start("sample")
        tickets = [await _wait(stand.viewer()) for _ in range(3)]
        service, before = coordinator.service, coordinator.service.clock.now_ms()
        database.kill()
        touching = asyncio.create_task(service.queueing.touch())
        await until(lambda: touching.done() or "cannot be written down yet" in caplog.text, "the first try has failed")
        database.start()
        await touching
        found = [await service.store.sessions.get(ticket) for ticket in tickets]
        assert all(session and session.queue and session.queue.seen_ms > before for session in found)
    finally:
        await stand.close()
        database.close()


@pytest.fixture
async def timed(engine: DatabaseProcess) -> AsyncIterator[Stand]:
    stand = Stand(engine.uri, f"t{secrets.token_hex(6)}", ManualClock())
    yield stand
    await stand.close()


async def test_an_outage_of_the_database_takes_nobody_out_of_the_queue(timed: Stand) -> None:
    coordinator = await timed.coordinator(sessions={"queue_grace_seconds": 30})
    host = await timed.host("gpu1", capacity=1)
    await timed.register([TITLE], {host: ["sample"]})
    await timed.viewer().start("sample")
    ticket = await _wait(timed.viewer())
    coordinator.timers.round = _nothing  # type: ignore[method-assign]
    service, clock = coordinator.service, timed.clock
    assert isinstance(clock, ManualClock)
    lease = Lease(name="timers", holder="", expires_ms=0, since_ms=0)
    clock.advance(25)
    service.store.connection.last_failure = clock.monotonic()
    clock.advance(10)
    await service.queueing.round(lease)
    assert service.fleet.sessions[ticket].state is SessionState.QUEUED
    # Who is not heard of after it either has left.
    clock.advance(21)
    await service.queueing.round(lease)
    assert service.fleet.sessions[ticket].reason is EndReason.QUEUE_LEFT
