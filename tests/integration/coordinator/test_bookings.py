"""Sessions planned ahead, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import icalendar
import pytest

from runtime.chassis.clock import ManualClock
from runtime.coordinator.domain.accounts import AuditEntry
from runtime.coordinator.store.store import Store
from runtime.protocol.states import SessionState
from tests.support.coordinator.fake_host import FakeHost
from tests.support.coordinator.stand import ADMIN_KEY, Stand, Viewer
from tests.support.waiting import until

TITLE = {"name": "sample", "display_name": {"en": "Sample"}}
MINUTE = 60_000
START = 1_800_000_000_000  # a full minute, Friday 2027-01-15 08:00 UTC


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(epoch_ms=START)


async def _one_host(stand: Stand, capacity: int = 1, **changes: Any) -> FakeHost:
    await stand.coordinator(**changes)
    host = await stand.host("gpu1", capacity=capacity)
    await stand.register([TITLE], {host: ["sample"]})
    return host


def _window(start_minute: int, end_minute: int, **more: Any) -> dict[str, Any]:
    return {
        "title": "sample",
        "starts_at": START + start_minute * MINUTE,
        "ends_at": START + end_minute * MINUTE,
        **more,
    }


async def _booking_in(viewer: Viewer, booking_id: str, *states: str) -> Any:
    found: Any = None

    async def look() -> bool:
        nonlocal found
        found = await viewer.get(f"/api/v1/bookings/{booking_id}")
        return found["state"] in states

    await until(look, f"booking in {states}")
    return found


async def test_a_booked_session_is_warm_in_time_used_and_over_at_its_end(stand: Stand, clock: ManualClock) -> None:
    host = await _one_host(stand)
    owner, guest = stand.viewer(), stand.viewer()
    wish = _window(30, 90, label="Review", invitees=[{"role": "watcher", "name": "Boris", "email": "b@example.org"}])
    booking = (await owner.post("/api/v1/bookings", wish))["items"][0]
    link = booking["invitees"][0]["url"].rpartition("/")[2]
    preview = await guest.get(f"/api/v1/invites/{link}")
    assert (preview["session_id"], preview["starts_at"]) == (None, booking["starts_at"])

    await stand.pass_time(27.5 * 60, host)
    assert (await owner.get(f"/api/v1/bookings/{booking['id']}"))["state"] == "planned"
    await stand.pass_time(60, host)
    opened = await _booking_in(owner, booking["id"], "open")
    session = await owner.session_in(opened["session"], "ready")
    assert (session["role"], session["ends_at"], session["booking"]) == ("owner", booking["ends_at"], booking["id"])
    entry = await guest.post(f"/api/v1/sessions/{session['id']}/join", {"invite": link}, status=200)
    assert entry["role"] == "watcher"
    await host.go(session["id"], SessionState.STREAMING, participants=2)
    await _booking_in(owner, booking["id"], "used")

    await stand.pass_time(62 * 60, host)
    over = await owner.session_in(session["id"], "ended")
    assert over["reason"] == "booking_over"
    assert (await stand.coordinators[0].service.store.slots.taken()) == []


async def test_a_taken_window_is_refused_with_the_next_free_one(stand: Stand, clock: ManualClock) -> None:
    await _one_host(stand)
    first, second = stand.viewer(), stand.viewer()
    await first.post("/api/v1/bookings", _window(60, 120))
    refused = await second.call("POST", "/api/v1/bookings", _window(90, 150))
    assert (refused.status, refused.code) == (409, "window_taken")
    details = refused.json["error"]["details"]
    assert details["taken"] == [{"starts_at": START + 90 * MINUTE, "ends_at": START + 150 * MINUTE}]
    proposed = details["next"]
    assert proposed["ends_at"] - proposed["starts_at"] == 60 * MINUTE
    assert proposed["starts_at"] >= START + 120 * MINUTE
    await second.post("/api/v1/bookings", {"title": "sample", **proposed})
    segments = await first.get(f"/api/v1/titles/sample/schedule?from={START}&to={START + 300 * MINUTE}")
    assert 0 in {segment["free"] for segment in segments["items"]}
    assert segments["items"][0]["starts_at"] == START
    assert segments["items"][-1]["ends_at"] == START + 300 * MINUTE


async def test_of_many_who_want_the_last_place_one_gets_it(stand: Stand) -> None:
    await _one_host(stand)
    await stand.coordinator()
    viewers = [stand.viewer(url=f"http://127.0.0.1:{stand.coordinators[n % 2].port}") for n in range(8)]
    await until(lambda: all("gpu1" in c.service.fleet.hosts for c in stand.coordinators), "both know the host")
    for viewer in viewers:
        await viewer.me()
    answers = await asyncio.gather(*(viewer.call("POST", "/api/v1/bookings", _window(60, 120)) for viewer in viewers))
    assert sorted(answer.status for answer in answers) == [201, *[409] * 7]
    assert {answer.code for answer in answers if answer.status == 409} == {"window_taken"}


async def test_a_series_is_booked_whole_or_not_and_cancelled_from_a_window_on(stand: Stand) -> None:
    await _one_host(stand)
    owner, other = stand.viewer(), stand.viewer()
    daily = _window(60, 120, rrule="FREQ=DAILY;COUNT=4", time_zone="Europe/Berlin")
    series = (await owner.post("/api/v1/bookings", daily))["items"]
    assert len(series) == 4
    assert len({booking["series"] for booking in series}) == 1
    blocked = _window(60 + 2 * 1440, 120 + 2 * 1440, rrule="FREQ=DAILY;COUNT=5")
    refused = await other.call("POST", "/api/v1/bookings", blocked)
    assert len(refused.json["error"]["details"]["taken"]) == 2
    assert (await other.get("/api/v1/bookings"))["items"] == []

    answer = await owner.call("DELETE", f"/api/v1/bookings/{series[1]['id']}?series=following")
    assert [booking["state"] for booking in answer.json["items"]] == ["cancelled"] * 3
    # Their capacity is free at once.
    assert len((await other.post("/api/v1/bookings", blocked))["items"]) == 5
    states = [booking["state"] for booking in (await owner.get("/api/v1/bookings"))["items"]]
    assert states == ["planned", "cancelled", "cancelled", "cancelled"]
    assert len((await owner.get("/api/v1/bookings?state=live"))["items"]) == 1


async def test_a_repeated_booking_books_once(stand: Stand) -> None:
    await _one_host(stand)
    owner = stand.viewer()
    await owner.me()
    wish = _window(60, 120, rrule="FREQ=DAILY;COUNT=3", invitees=[{"role": "watcher", "name": "Boris"}])
    headers = {"Idempotency-Key": "booking-1234"}
    answers = [await owner.call("POST", "/api/v1/bookings", wish, headers=headers) for _ in range(2)]
    first, again = ([booking["id"] for booking in answer.json["items"]] for answer in answers)
    assert len(first) == 3
    assert first == again == [booking["id"] for booking in (await owner.get("/api/v1/bookings"))["items"]]
    link = answers[0].json["items"][0]["invitees"][0]["url"].rpartition("/")[2]
    assert (await owner.get(f"/api/v1/invites/{link}"))["role"] == "watcher"
    other = await owner.call("POST", "/api/v1/bookings", _window(300, 360), headers=headers)
    assert other.code == "idempotency_mismatch"
    # What was refused leaves its key free.
    headers = {"Idempotency-Key": "booking-5678"}
    assert (await owner.call("POST", "/api/v1/bookings", _window(90, 150), headers=headers)).code == "window_taken"
    await owner.call("DELETE", f"/api/v1/bookings/{first[0]}")
    assert (await owner.call("POST", "/api/v1/bookings", _window(90, 150), headers=headers)).status == 201


BAD: list[tuple[dict[str, Any], str]] = [
    (_window(-120, -60), "past"),
    (_window(60, 61), "lasts"),
    (_window(60, 60 + 24 * 60), "lasts"),
    (_window(60, 120, rrule="FREQ=DAILY"), "COUNT or UNTIL"),
    (_window(60, 120, rrule="FREQ=WEEKLY;COUNT=20"), "Of 20 windows, 14 can be booked"),
    (_window(60, 120, time_zone="Nowhere/Land", rrule="FREQ=DAILY;COUNT=2"), "time zone"),
    (_window(200 * 1440, 200 * 1440 + 60), "ahead"),
]


@pytest.mark.parametrize(("wish", "why"), BAD)
async def test_windows_that_make_no_sense_are_refused(stand: Stand, wish: dict[str, Any], why: str) -> None:
    await _one_host(stand)
    answer = await stand.viewer().call("POST", "/api/v1/bookings", wish)
    assert answer.code == "bad_request"
    assert why in answer.json["error"]["message"]


async def test_a_walk_in_beside_a_booking_must_leave_in_time_or_does_not_get_in(
    stand: Stand, clock: ManualClock
) -> None:
    host = await _one_host(stand)
    booker, early, late = stand.viewer(), stand.viewer(), stand.viewer()
    await booker.post("/api/v1/bookings", _window(60, 120))
    session = await early.start("sample")
    assert session["ends_at"] == START + 58 * MINUTE  # two minutes before the window it is started
    policy = host.sessions[(await early.session_in(session["id"], "ready"))["id"]].request.policy
    assert policy.max_length_seconds == 58 * 60
    await early.call("DELETE", f"/api/v1/sessions/{session['id']}")
    await early.session_in(session["id"], "ended")
    await stand.pass_time(50 * 60, host)
    refused = await late.call("POST", "/api/v1/sessions", {"title": "sample"})
    assert (refused.code, refused.json["error"]["details"]["why"]) == ("no_capacity", "Every free place is booked.")


async def test_after_downtime_a_window_that_is_over_was_missed_and_one_that_is_not_is_opened_late(
    stand: Stand, clock: ManualClock
) -> None:
    host = await _one_host(stand, capacity=2)
    owner = stand.viewer()
    short = (await owner.post("/api/v1/bookings", _window(30, 60)))["items"][0]
    long = (await owner.post("/api/v1/bookings", _window(30, 240)))["items"][0]
    port = stand.coordinators[0].port
    await stand.stop(stand.coordinators[0])
    clock.advance(120 * 60)
    await stand.coordinator(listen={"address": "127.0.0.1", "port": port})
    await host.beat()
    await _booking_in(owner, short["id"], "missed")
    opened = await _booking_in(owner, long["id"], "open")
    session = await owner.session_in(opened["session"], "ready")
    assert session["ends_at"] == long["ends_at"]


async def test_cancelling_an_open_booking_ends_its_session(stand: Stand, clock: ManualClock) -> None:
    host = await _one_host(stand)
    owner, stranger = stand.viewer(), stand.viewer()
    booking = (await owner.post("/api/v1/bookings", _window(5, 65)))["items"][0]
    await stand.pass_time(4 * 60, host)
    opened = await _booking_in(owner, booking["id"], "open")
    await owner.session_in(opened["session"], "ready")
    assert (await stranger.call("DELETE", f"/api/v1/bookings/{booking['id']}")).code == "booking_not_found"
    await owner.call("DELETE", f"/api/v1/bookings/{booking['id']}")
    await owner.session_in(opened["session"], "ended")
    assert (await owner.get(f"/api/v1/bookings/{booking['id']}"))["state"] == "cancelled"


async def test_a_booked_session_that_breaks_is_replaced_within_its_window(stand: Stand, clock: ManualClock) -> None:
    host = await _one_host(stand)
    owner = stand.viewer()
    booking = (await owner.post("/api/v1/bookings", _window(5, 65)))["items"][0]
    await stand.pass_time(4 * 60, host)
    first = await _booking_in(owner, booking["id"], "open")
    await owner.session_in(first["session"], "ready")
    await host.go(first["session"], SessionState.FAILED, reason="app_crashed", ended_ms=clock.now_ms())

    async def replaced() -> bool:
        return (await owner.get(f"/api/v1/bookings/{booking['id']}"))["session"] != first["session"]

    await until(replaced, "another session for the booking")
    again = await owner.get(f"/api/v1/bookings/{booking['id']}")
    await owner.session_in(again["session"], "ready")


async def test_calendars_hold_what_was_booked_in_its_own_time_zone(stand: Stand) -> None:
    await _one_host(stand)
    owner, program = stand.viewer(), stand.viewer()
    wish = _window(60, 120, time_zone="Europe/Berlin", label="Planning; part 1, again")
    wish["invitees"] = [{"role": "watcher", "name": "Анна", "email": "anna@example.org"}]
    booking = (await owner.post("/api/v1/bookings", wish))["items"][0]
    file = await owner.call("GET", f"/api/v1/bookings/{booking['id']}/calendar.ics")
    assert file.headers["Content-Type"].startswith("text/calendar")
    event = next(iter(icalendar.Calendar.from_ical(file.body).walk("VEVENT")))
    assert event["SUMMARY"] == "Sample: Planning; part 1, again"
    assert event["DTSTART"].dt.isoformat() == "2027-01-15T10:00:00+01:00"
    assert event["DTSTART"].params["TZID"] == "Europe/Berlin"
    assert (event["DTEND"].dt - event["DTSTART"].dt).total_seconds() == 3600
    assert event["ATTENDEE"] == "mailto:anna@example.org"
    feed = (await owner.get("/api/v1/bookings"))["calendar_url"].removeprefix("http://127.0.0.1:1")
    read = await program.call("GET", feed)
    assert [e["UID"] for e in icalendar.Calendar.from_ical(read.body).walk("VEVENT")] == [event["UID"]]
    name, seal, _ = feed.rpartition("/")[2].split(".")
    assert (await program.call("GET", f"/api/v1/calendar/{name}.{seal[::-1]}.ics")).code == "not_found"
    await owner.call("DELETE", f"/api/v1/bookings/{booking['id']}")
    gone = await program.call("GET", feed)
    assert next(iter(icalendar.Calendar.from_ical(gone.body).walk("VEVENT")))["STATUS"] == "CANCELLED"


async def test_what_is_long_over_is_deleted(stand: Stand, clock: ManualClock) -> None:
    keep = {"keep_seconds": 86_400, "audit_keep_seconds": 2 * 86_400}
    await _one_host(stand, sessions=keep)
    store = stand.coordinators[0].service.store
    series = (await stand.viewer().post("/api/v1/bookings", _window(60, 120, rrule="FREQ=DAILY;COUNT=5")))["items"]
    ids = [booking["id"] for booking in series]
    entry = AuditEntry(
        id="1", at_ms=START, by="user:a", by_name="A", action="sign_in", subject="user:a", address="", request_id=""
    )
    await store.audit.insert(entry)
    await store.audit.insert(replace(entry, id="2", at_ms=START + 86_400_000))

    async def kept(*bookings: str) -> bool:
        return {booking.id for booking in await store.bookings.find()} == set(bookings)

    admin = stand.viewer(key=ADMIN_KEY)
    clock.advance(2.5 * 86_400)
    await _booking_in(admin, ids[2], "missed")
    await until(lambda: _noted(store, "2"), "the first entry is deleted")
    clock.advance(3601)  # it is looked for every hour
    # The first one stays as long as its series goes on.
    await until(lambda: kept(ids[0], *ids[2:]), "the second window is deleted")
    clock.advance(2.5 * 86_400)
    await _booking_in(admin, ids[4], "missed")
    clock.advance(86_400)
    await until(kept, "the whole series is deleted")
    await until(lambda: _noted(store), "the log is empty")


async def _noted(store: Store, *entries: str) -> bool:
    return [entry.id for entry in await store.audit.find()] == list(entries)
