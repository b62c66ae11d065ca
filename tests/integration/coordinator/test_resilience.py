"""Processes, hosts and the database go away and come back; nothing leaks, nothing ends that should not."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from runtime.chassis.clock import ManualClock
from runtime.coordinator.app import Coordinator
from runtime.protocol.states import EndReason, SessionState
from tests.support.coordinator.database import DatabaseProcess
from tests.support.coordinator.events import EventStream, follow
from tests.support.coordinator.stand import Stand
from tests.support.waiting import until

TITLE = {"name": "sample"}


@pytest.fixture
def hand_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def timed(engine: DatabaseProcess, hand_clock: ManualClock) -> AsyncIterator[Stand]:
    stand = Stand(engine.uri, f"t{secrets.token_hex(6)}", hand_clock)
    yield stand
    await stand.close()


async def _ended(stream: EventStream) -> bool:
    try:
        await stream.next()
    except EOFError:
        return True
    return False


async def no_slots(coordinator: Coordinator) -> bool:
    return await coordinator.service.store.slots.taken() == []


async def test_a_silent_host_is_lost_after_the_lease_and_its_slot_is_free_once(
    timed: Stand, hand_clock: ManualClock
) -> None:
    coordinator = await timed.coordinator()
    host = await timed.host("gpu1", capacity=1)
    await timed.register([TITLE], {host: ["sample"]})
    viewer = timed.viewer()
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    await timed.pass_time(50)
    assert (await viewer.get(f"/api/v1/sessions/{session['id']}"))["state"] == "ready"
    await timed.pass_time(20)
    lost = await viewer.session_in(session["id"], "failed")
    assert lost["reason"] == "host_lost"
    await until(lambda: no_slots(coordinator), "slot freed")
    # It comes back and still runs it: that must not be.
    reply = await host.beat()
    assert reply.end_sessions == {session["id"]: EndReason.HOST_LOST}
    await until(lambda: not host.running, "the host ended it")
    await host.beat()
    await viewer.start("sample")


async def test_a_coordinator_that_was_away_for_hours_ends_nothing(timed: Stand, hand_clock: ManualClock) -> None:
    first = await timed.coordinator()
    host = await timed.host("gpu1", capacity=1)
    await timed.register([TITLE], {host: ["sample"]})
    viewer = timed.viewer()
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    port = first.port
    await timed.stop(first)
    hand_clock.advance(3 * 3600)
    # What happened meanwhile waits in the host's outbox.
    host.change(session["id"], SessionState.STREAMING, participants=1)
    second = await timed.coordinator(listen={"address": "127.0.0.1", "port": port}, instance="second")
    await timed.pass_time(40)
    assert second.timers.holding
    assert (await viewer.get(f"/api/v1/sessions/{session['id']}"))["state"] == "ready"
    await host.beat()
    await host.flush()
    assert (await viewer.get(f"/api/v1/sessions/{session['id']}"))["state"] == "streaming"


async def test_a_start_whose_coordinator_died_is_taken_up_by_another(stand: Stand) -> None:
    first = await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    host.hold.clear()
    viewer = stand.viewer()
    session = await viewer.start("sample")
    await until(lambda: host.starts, "start request on its way")
    await stand.stop(first)  # its request dies with it
    host.hold.set()
    host.sessions.clear()
    await stand.coordinator(listen={"address": "127.0.0.1", "port": first.port}, instance="second")
    host.connect(stand.url)
    await host.beat()
    await viewer.session_in(session["id"], "ready", seconds=20)


async def test_an_orphaned_slot_is_freed_and_a_lost_claim_is_made_again(timed: Stand, hand_clock: ManualClock) -> None:
    coordinator = await timed.coordinator()
    host = await timed.host("gpu1", capacity=3)
    await timed.register([TITLE], {host: ["sample"]})
    store = coordinator.service.store
    viewer = timed.viewer()
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    # A process died right after claiming; another lost its claim after writing.
    assert await store.slots.claim("gpu1", 2, "nobody")
    assert await store.slots.free("gpu1", 0, session["id"])
    await timed.pass_time(40, host)

    async def repaired() -> bool:
        return [(s.number, s.session) for s in await store.slots.taken()] == [(0, session["id"])]

    await until(repaired, "slots as they should be")


async def test_two_instances_share_everything(stand: Stand) -> None:
    one, two = await stand.coordinator(), await stand.coordinator()
    host = await stand.host("gpu1", capacity=3)
    await stand.register([TITLE], {host: ["sample"]})
    at_one = stand.viewer(url=f"http://127.0.0.1:{one.port}")
    session = await at_one.start("sample")
    at_two = stand.viewer(url=f"http://127.0.0.1:{two.port}")
    at_two.cookies, at_two.csrf = dict(at_one.cookies), at_one.csrf
    # At once, although the other has not heard of it yet.
    assert (await at_two.get(f"/api/v1/sessions/{session['id']}"))["role"] == "owner"
    async with follow(at_two, f"/api/v1/sessions/{session['id']}/events") as stream:
        await stream.until(lambda s: s["state"] == "ready")
        # The other knows the session by now, but not what was added to it a moment ago.
        for _ in range(5):
            invite = await at_one.post(f"/api/v1/sessions/{session['id']}/invites", {"role": "watcher"})
            link = invite["url"].rpartition("/")[2]
            assert (await at_two.get(f"/api/v1/invites/{link}"))["session_id"] == session["id"]
        await at_one.call("DELETE", f"/api/v1/sessions/{session['id']}")
        await stream.until(lambda s: s["state"] == "ended")
    assert sum(c.timers.holding for c in stand.coordinators) == 1
    holder = next(c for c in stand.coordinators if c.timers.holding)
    await stand.stop(holder)
    await until(lambda: stand.coordinators[0].timers.holding, "the other took over", seconds=5)


async def test_slots_are_never_given_twice_by_instances_that_race(stand: Stand) -> None:
    for _ in range(2):
        await stand.coordinator(sessions={"per_viewer": 0})
    host = await stand.host("gpu1", capacity=4, auto=False)
    await stand.register([TITLE], {host: ["sample"]})
    viewers = [stand.viewer(url=f"http://127.0.0.1:{c.port}") for c in stand.coordinators for _ in range(5)]
    for viewer in viewers:
        await viewer.me()
    answers = await asyncio.gather(*(v.call("POST", "/api/v1/sessions", {"title": "sample"}) for v in viewers))
    assert sorted(a.status for a in answers) == [*[201] * 4, *[503] * 6]
    slots = await stand.coordinators[0].service.store.slots.taken()
    assert sorted(slot.number for slot in slots) == [0, 1, 2, 3]


async def test_without_the_database_reads_go_on_writes_fail_and_nothing_ends(
    fragile: Stand, own_database: DatabaseProcess
) -> None:
    coordinator = await fragile.coordinator(database_deadline_seconds=1.0, sessions={"lease_seconds": 3})
    host = await fragile.host("gpu1", capacity=3)
    await fragile.register([TITLE], {host: ["sample"]})
    viewer = fragile.viewer()
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    own_database.kill()
    refused = await viewer.call(
        "POST", "/api/v1/sessions", {"title": "sample"}, headers={"Idempotency-Key": "again-1234"}
    )
    assert (refused.status, refused.code) == (503, "database_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    read = await viewer.call("GET", f"/api/v1/sessions/{session['id']}")
    assert (read.json["state"], read.headers["Warning"][:3]) == ("ready", "111")
    assert (await viewer.get("/api/v1/titles"))["items"][0]["name"] == "sample"
    for lists in ("sessions", "sessions?state=live", "sessions?state=ready&title=sample", "bookings"):
        listed = await viewer.call("GET", f"/api/v1/{lists}")
        assert (listed.status, listed.headers["Warning"][:3]) == (200, "111")
        assert [item["id"] for item in listed.json["items"]] == [session["id"]] * lists.startswith("sessions")
    assert (await viewer.get("/api/v1/sessions?state=ended"))["items"] == []
    ready = await viewer.call("GET", "/readyz")
    assert (ready.status, ready.json["checks"]["database"]["ok"]) == (503, False)
    assert (await viewer.call("GET", "/healthz")).status == 200
    # Longer than the lease; the host keeps talking.
    for _ in range(4):
        assert (await host.beat()).end_sessions == {}
        await asyncio.sleep(1)

    own_database.start()
    await until(lambda: coordinator.service.store.connection.available, "database is back", seconds=15)
    again = await viewer.call(
        "POST", "/api/v1/sessions", {"title": "sample"}, headers={"Idempotency-Key": "again-1234"}
    )
    assert again.status == 201
    await host.beat()
    await asyncio.sleep(1.5)  # rounds of the reaper, which must do nothing
    assert (await viewer.get(f"/api/v1/sessions/{session['id']}"))["state"] == "ready"
    live = await coordinator.service.store.sessions.find({"live": 1})
    assert {s.id for s in live} == {session["id"], again.json["id"]}


async def test_a_database_that_hangs_for_a_moment_is_waited_for(fragile: Stand, own_database: DatabaseProcess) -> None:
    await fragile.coordinator(database_deadline_seconds=5.0)
    host = await fragile.host("gpu1", capacity=3)
    await fragile.register([TITLE], {host: ["sample"]})
    viewer = fragile.viewer()
    await viewer.me()
    own_database.pause()
    pending = asyncio.create_task(viewer.call("POST", "/api/v1/sessions", {"title": "sample"}))
    await asyncio.sleep(1)
    own_database.resume()
    answer = await pending
    assert answer.status == 201
    slots = await fragile.coordinators[0].service.store.slots.taken()
    assert [slot.session for slot in slots] == [answer.json["id"]]


async def test_events_that_cannot_be_kept_stay_in_the_hosts_outbox(
    fragile: Stand, own_database: DatabaseProcess
) -> None:
    await fragile.coordinator(database_deadline_seconds=0.5)
    host = await fragile.host("gpu1", capacity=1)
    await fragile.register([TITLE], {host: ["sample"]})
    viewer = fragile.viewer()
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    own_database.kill()
    host.change(session["id"], SessionState.ENDED, reason=EndReason.APP_EXITED, ended_ms=1)
    with pytest.raises(Exception, match="database"):
        await host.flush()
    own_database.start()
    await host.flush()
    assert host.outbox == []
    assert (await viewer.session_in(session["id"], "ended"))["reason"] == "app_exited"


async def test_requests_under_way_are_answered_when_an_instance_stops(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    host = await stand.host("gpu1", capacity=9)
    await stand.register([TITLE], {host: ["sample"]})
    viewers = [stand.viewer() for _ in range(6)]
    for viewer in viewers:
        await viewer.me()
    async with follow(viewers[0], "/api/v1/events") as stream:
        await stream.next()
        requests = [asyncio.create_task(v.call("POST", "/api/v1/sessions", {"title": "sample"})) for v in viewers]
        await until(lambda: coordinator.service.in_flight > 0, "requests under way")
        await stand.stop(coordinator)
        answers = await asyncio.gather(*requests, return_exceptions=True)
        await until(lambda: _ended(stream), "the stream was closed")
    answered = [a for a in answers if not isinstance(a, BaseException)]
    # Whoever was connected got an answer; the others were refused a connection and can go elsewhere.
    assert answered
    assert {a.status for a in answered} == {201}
    assert all(isinstance(a, ConnectionError) for a in answers if isinstance(a, BaseException))
