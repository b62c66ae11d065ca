"""More time for a running session, as long as it takes nothing from anybody."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.chassis.clock import ManualClock
from runtime.protocol.states import SessionState
from tests.support.coordinator.fake_host import FakeHost
from tests.support.coordinator.stand import Answer, Stand, Viewer
from tests.support.waiting import until

HOUR_MS = 3_600_000
START = 1_800_000_000_000
TITLE = {"name": "sample", "limits": {"max_length_seconds": 3600}}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(epoch_ms=START)


async def _running(stand: Stand, title: dict[str, Any] | None = None) -> tuple[FakeHost, Viewer, Any]:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([title or TITLE, {"name": "endless"}], {host: ["sample", "endless"]})
    owner = stand.viewer()
    session = await owner.start("sample")
    return host, owner, await owner.session_in(session["id"], "ready")


async def _extend(viewer: Viewer, session: Any, **body: Any) -> Answer:
    return await viewer.call("POST", f"/api/v1/sessions/{session['id']}/extend", body or None)


async def test_the_owner_gets_more_time_and_the_host_knows_at_once(stand: Stand, clock: ManualClock) -> None:
    host, owner, session = await _running(stand)
    assert session["ends_at"] == START + HOUR_MS
    await stand.pass_time(40 * 60, host)
    longer = await _extend(owner, session, seconds=600)
    assert (longer.status, longer.json["ends_at"]) == (200, START + HOUR_MS + 600_000)
    told, end = host.end_times[-1]
    assert (told, end.ends_ms, end.seconds_left) == (session["id"], longer.json["ends_at"], 30 * 60)
    # As far as may be: one whole length from now.
    assert (await _extend(owner, session)).json["ends_at"] == clock.now_ms() + HOUR_MS
    more = await _extend(owner, session)
    assert (more.code, more.json["error"]["details"]["why"]) == (
        "extension_refused",
        "It has its whole length before it already.",
    )
    # The old end passes, and it goes on; the new one holds.
    await stand.pass_time(50 * 60, host)
    assert (await owner.get(f"/api/v1/sessions/{session['id']}"))["state"] == "ready"
    await stand.pass_time(15 * 60, host)
    assert (await owner.session_in(session["id"], "ended"))["reason"] == "max_length"


async def test_a_host_that_was_not_told_hears_of_the_end_with_a_heartbeat(stand: Stand, clock: ManualClock) -> None:
    host, owner, session = await _running(stand)
    host.deaf = True
    assert (await _extend(owner, session, seconds=600)).code == "extension_refused"  # a whole length lies before it
    await stand.pass_time(1200, host)
    longer = await _extend(owner, session, seconds=600)
    assert longer.status == 200
    assert host.end_times == []
    host.deaf = False
    await host.beat()
    assert [(told, end.ends_ms) for told, end in host.end_times] == [(session["id"], longer.json["ends_at"])]
    await host.beat()
    assert len(host.end_times) == 1


async def test_nobody_gets_time_that_others_wait_for_or_have_booked(stand: Stand, clock: ManualClock) -> None:
    host, owner, session = await _running(stand)
    await stand.pass_time(1800, host)
    patient, booker = stand.viewer(), stand.viewer()
    waiting = await patient.start("sample", wait=True)
    refused = await _extend(owner, session)
    assert refused.json["error"]["details"]["why"] == "Others wait for a place."
    await patient.call("DELETE", f"/api/v1/sessions/{waiting['id']}")
    window = {"title": "sample", "starts_at": START + HOUR_MS + 1_200_000, "ends_at": START + 2 * HOUR_MS}
    await booker.post("/api/v1/bookings", window)
    # Until the booked session must be started, two minutes before its window.
    assert (await _extend(owner, session)).json["ends_at"] == START + HOUR_MS + 1_080_000
    again = await _extend(owner, session)
    assert again.json["error"]["details"]["why"] == "Its place is booked."
    admin = await _extend(stand.admin(), session, seconds=600)
    assert admin.json["error"]["details"]["why"] == "Its place is booked."


async def test_who_may_extend_what(stand: Stand) -> None:
    host, owner, session = await _running(stand, {**TITLE, "limits": {}})
    assert (await _extend(owner, session)).json["error"]["message"] == "This session has no end that could be moved."
    assert (await _extend(stand.viewer(), session)).code == "forbidden"
    await owner.call("DELETE", f"/api/v1/sessions/{session['id']}")
    await owner.session_in(session["id"], "ended")
    assert (await _extend(owner, session)).code == "session_ended"
    host.auto = False
    starting = await owner.start("sample")
    assert (await _extend(owner, starting)).code == "session_not_ready"
    await until(lambda: starting["id"] in host.sessions, "the host got it")
    await host.go(starting["id"], SessionState.READY)


async def test_a_warm_session_has_its_whole_length_from_when_it_is_somebodys(stand: Stand, clock: ManualClock) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([{"name": "sample", "warm": 1, "limits": {"max_length_seconds": 300}}], {host: ["sample"]})
    admin, viewer = stand.admin(), stand.viewer()
    warm = (await admin.get("/api/v1/sessions?state=live"))["items"]
    while not warm or warm[0]["state"] != "ready":
        await stand.pass_time(1, host)
        warm = (await admin.get("/api/v1/sessions?state=live"))["items"]
    await stand.pass_time(600, host)
    session = await viewer.start("sample")
    assert (session["id"], session["ends_at"]) == (warm[0]["id"], clock.now_ms() + 300_000)
    assert host.end_times == []
    await host.beat()
    assert [(told, end.seconds_left) for told, end in host.end_times] == [(session["id"], 300)]


async def test_what_administrators_do_to_others_is_in_the_audit_log(stand: Stand, clock: ManualClock) -> None:
    host, owner, session = await _running(stand)
    admin, path = stand.admin(), f"/api/v1/sessions/{session['id']}"
    await stand.pass_time(1800, host)
    assert (await _extend(admin, session, seconds=7200)).json["ends_at"] == START + 3 * HOUR_MS
    invite = await admin.post(f"{path}/invites", {"role": "watcher"})
    await admin.call("DELETE", f"{path}/invites/{invite['id']}")
    assert (await admin.post(f"{path}/join", {}, status=200))["role"] == "watcher"
    await admin.call("DELETE", path)
    window = {"title": "sample", "starts_at": START + 10 * HOUR_MS, "ends_at": START + 11 * HOUR_MS}
    booking = (await owner.post("/api/v1/bookings", window))["items"][0]
    await admin.call("DELETE", f"/api/v1/bookings/{booking['id']}")
    # What people do with what is theirs is nobody's business.
    own = await admin.start("endless")
    await admin.call("DELETE", f"/api/v1/sessions/{own['id']}")
    await admin.session_in(own["id"], "ended")
    noted = [(e["action"], e["subject"]) for e in (await admin.get("/api/v1/admin/audit"))["items"]]
    actions = ["session.extend", "invite.create", "invite.revoke", "session.watch", "session.end"]
    # All within one moment of this clock, so in no order.
    assert sorted(noted) == sorted(
        [*((action, session["id"]) for action in actions), ("booking.cancel", booking["id"])]
    )
