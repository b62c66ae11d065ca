"""Sessions kept ready for a click."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runtime.coordinator.store.locks import Lease
from runtime.coordinator.warm import WarmPools
from runtime.protocol.states import EndReason, SessionState
from tests.support.coordinator.stand import Stand
from tests.support.waiting import until

WARM = {"name": "sample", "warm": 1}


async def _warm(stand: Stand, ready: int) -> list[Any]:
    admin = stand.admin()

    async def look() -> list[Any]:
        items = (await admin.get("/api/v1/sessions?state=live"))["items"]
        found = [s for s in items if s["warm"] and s["owner"] is None and s["state"] == "ready"]
        return found if len(found) == ready else []

    found: list[Any] = await until(look, f"{ready} warm")
    return found


async def test_a_click_gets_the_warm_session_at_once_and_another_is_started(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=3)
    await stand.register([WARM], {host: ["sample"]})
    warm = (await _warm(stand, 1))[0]
    viewer = stand.viewer()
    session = await viewer.start("sample")
    assert (session["id"], session["state"], session["role"]) == (warm["id"], "ready", "owner")
    await viewer.post(f"/api/v1/sessions/{session['id']}/join", {}, status=200)
    assert (await _warm(stand, 1))[0]["id"] != warm["id"]
    answers = [await viewer.call("POST", "/api/v1/sessions", {"title": "sample"}) for _ in range(2)]
    assert {a.status for a in answers} == {201}


async def test_two_clicks_never_get_the_same_warm_session(stand: Stand) -> None:
    await stand.coordinator()
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=5)
    await stand.register([WARM], {host: ["sample"]})
    await _warm(stand, 1)
    urls = [f"http://127.0.0.1:{c.port}" for c in stand.coordinators]
    viewers = [stand.viewer(url=urls[n % 2]) for n in range(4)]
    ids = [(await viewer.start("sample"))["id"] for viewer in viewers]
    assert len(set(ids)) == 4


async def test_a_dead_warm_session_is_replaced(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=3)
    await stand.register([WARM], {host: ["sample"]})
    warm = (await _warm(stand, 1))[0]
    await host.go(warm["id"], SessionState.ENDED, reason=EndReason.IDLE, ended_ms=1)
    assert (await _warm(stand, 1))[0]["id"] != warm["id"]


async def test_warm_sessions_make_room_for_people(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([WARM, {"name": "other"}], {host: ["sample", "other"]})
    warm = (await _warm(stand, 1))[0]
    viewer = stand.viewer()
    waiting = await viewer.start("other", wait=True)
    assert waiting["state"] == "queued"
    ready = await viewer.session_in(waiting["id"], "ready")
    assert ready["title"] == "other"
    assert (await stand.admin().get(f"/api/v1/sessions/{warm['id']}"))["state"] == "ended"


async def test_a_smaller_target_ends_what_is_too_much(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=3)
    await stand.register([{"name": "sample", "warm": 2}], {host: ["sample"]})
    await _warm(stand, 2)
    await stand.admin().call("PATCH", "/api/v1/admin/titles/sample", {"warm": 0})
    await _none(stand)


async def test_a_smaller_target_spares_the_session_that_somebody_has_just_taken(stand: Stand) -> None:
    one, behind = await stand.coordinator(), await stand.coordinator()
    host = await stand.host("gpu1", capacity=3)
    await stand.register([WARM], {host: ["sample"]})
    warm = (await _warm(stand, 1))[0]
    fleet = behind.service.fleet
    await until(lambda: [s.state for s in fleet.warm("sample")] == ["ready"], "the other instance knows it")
    for coordinator in (one, behind):
        coordinator.timers.round = _nothing  # type: ignore[method-assign]
    behind._sync._changes = _nothing  # type: ignore[method-assign]
    viewer = stand.viewer(url=f"http://127.0.0.1:{one.port}")
    assert (await viewer.start("sample"))["id"] == warm["id"]
    fleet.put_title(replace(fleet.titles["sample"], warm=0, version=fleet.titles["sample"].version + 1))
    service = behind.service
    pools = WarmPools(fleet, service.admission, service.lifecycle, service.clock)
    await pools.round(Lease(name="timers", holder="", expires_ms=0, since_ms=0))
    kept = await service.store.sessions.get(warm["id"])
    assert kept is not None
    assert kept.state is SessionState.READY


async def _nothing() -> None:
    return None


async def _none(stand: Stand) -> None:
    admin = stand.admin()

    async def gone() -> bool:
        return (await admin.get("/api/v1/sessions?state=live"))["items"] == []

    await until(gone, "no warm session left")
