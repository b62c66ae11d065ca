"""Limits on how much runs or waits hold also for those who ask at the same moment, at whichever instance."""

from __future__ import annotations

import asyncio
from collections import Counter

from runtime.coordinator.domain.model import places_of
from tests.support.coordinator.stand import Answer, Stand, Viewer
from tests.support.waiting import until

ONCE = {"name": "sample", "limits": {"max_sessions": 1}}


async def _at_once(viewers: list[Viewer], **more: object) -> Counter[str]:
    """Everybody asks together; how often each code was answered (empty: a session)."""
    for viewer in viewers:
        await viewer.me()
    answers: list[Answer] = await asyncio.gather(
        *(viewer.call("POST", "/api/v1/sessions", {"title": "sample", **more}) for viewer in viewers)
    )
    return Counter(answer.code for answer in answers)


async def _claims(stand: Stand) -> int:
    """All of them, also those on places of titles."""
    return await stand.coordinators[0].service.store.connection.collection("slot").count_documents({})


async def test_a_title_for_one_session_goes_to_one_of_those_who_ask_together(stand: Stand) -> None:
    one, two = await stand.coordinator(), await stand.coordinator()
    host = await stand.host("gpu1", capacity=9)
    await stand.register([ONCE], {host: ["sample"]})
    viewers = [stand.viewer(url=f"http://127.0.0.1:{c.port}") for c in (one, two) for _ in range(3)]
    assert await _at_once(viewers) == {"": 1, "no_capacity": 5}
    store = one.service.store
    (slot,), (place,) = await store.slots.taken(), await store.slots.taken([places_of("sample")])
    assert slot.session == place.session
    admin = stand.admin()
    await admin.session_in(slot.session, "ready")
    await admin.call("DELETE", f"/api/v1/sessions/{slot.session}")

    async def given_back() -> bool:
        return await _claims(stand) == 0

    await until(given_back, "slot and place are free")
    for coordinator in (one, two):
        fleet = coordinator.service.fleet
        await until(lambda fleet=fleet: not list(fleet.live()), "both know that it is over")
    assert await _at_once(viewers) == {"": 1, "no_capacity": 5}


async def test_a_place_is_kept_by_a_session_that_moves_and_given_back_by_one_that_finds_no_host(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    full, good = await stand.host("a-full", capacity=1), await stand.host("b-good", capacity=1)
    full.refuse = "host_full"
    await stand.register([{"name": "sample", "limits": {"max_sessions": 5}}], {full: ["sample"], good: ["sample"]})
    viewer = stand.viewer()
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    store = coordinator.service.store
    assert [slot.host for slot in await store.slots.taken()] == ["b-good"]
    assert [slot.session for slot in await store.slots.taken([places_of("sample")])] == [session["id"]]
    await stand.admin().call("POST", "/api/v1/admin/hosts/a-full/drain")
    assert await _at_once([stand.viewer()]) == {"no_capacity": 1}
    assert await _claims(stand) == 2


async def test_one_viewer_gets_no_more_by_asking_many_times_at_once(stand: Stand) -> None:
    await stand.coordinator(sessions={"per_viewer": 3})
    host = await stand.host("gpu1", capacity=9)
    await stand.register([{"name": "sample"}], {host: ["sample"]})
    viewer = stand.viewer()
    assert await _at_once([viewer] * 6) == {"": 3, "session_limit": 3}
    assert len(host.starts) <= 3
    # What was counted while it was made is not counted twice, nor for ever.
    for session in (await viewer.get("/api/v1/sessions?state=live"))["items"]:
        await viewer.session_in(session["id"], "ready")
        await viewer.call("DELETE", f"/api/v1/sessions/{session['id']}")
        await viewer.session_in(session["id"], "ended")
    assert await _at_once([viewer] * 6) == {"": 3, "session_limit": 3}


async def test_the_queue_does_not_grow_beyond_its_length_at_once(stand: Stand) -> None:
    await stand.coordinator(sessions={"queue_length": 2})
    host = await stand.host("gpu1", capacity=1)
    await stand.register([{"name": "sample"}], {host: ["sample"]})
    await stand.viewer().start("sample")
    assert await _at_once([stand.viewer() for _ in range(6)], wait=True) == {"": 2, "queue_full": 4}
