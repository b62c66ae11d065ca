"""Series of bookings: expanded beside the loop, written whole or not at all."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from runtime.coordinator import booking_service, idempotency
from runtime.coordinator.app import Coordinator
from runtime.coordinator.domain.booking import Booking
from runtime.coordinator.store.errors import StoreUnavailableError
from tests.support.coordinator.database import DatabaseProcess
from tests.support.coordinator.stand import Answer, Stand, Viewer
from tests.support.waiting import until

TITLE = {"name": "sample"}
MINUTE = 60_000
HEADERS = {"Idempotency-Key": "series-1234"}


async def _prepared(stand: Stand) -> tuple[Coordinator, Viewer]:
    coordinator = await stand.coordinator(database_deadline_seconds=0.5)
    host = await stand.host("gpu1", capacity=2)
    await stand.register([TITLE], {host: ["sample"]})
    viewer = stand.viewer()
    await viewer.me()
    return coordinator, viewer


def _daily(stand: Stand, count: int) -> dict[str, Any]:
    start = stand.clock.now_ms() + 60 * MINUTE
    wish = {"title": "sample", "starts_at": start, "ends_at": start + 60 * MINUTE, "rrule": f"FREQ=DAILY;COUNT={count}"}
    return {**wish, "invitees": [{"role": "watcher", "name": "Boris"}]}


def _goes_away(coordinator: Coordinator, own: DatabaseProcess, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database ends when ``after`` windows are written."""
    bookings = coordinator.service.store.bookings
    insert, written = bookings.insert, 0

    async def counted(booking: Booking) -> Booking:
        nonlocal written
        kept = await insert(booking)
        written += 1
        if written == after:
            own.kill()
        return kept

    monkeypatch.setattr(bookings, "insert", counted)


def _links(answer: Answer) -> list[str]:
    return [booking["invitees"][0]["url"] for booking in answer.json["items"]]


async def _kept(coordinator: Coordinator) -> list[Booking]:
    return await coordinator.service.store.bookings.find()


async def _left(coordinator: Coordinator, count: int) -> bool:
    try:
        return len(await _kept(coordinator)) == count
    except StoreUnavailableError:
        return False


async def test_a_series_that_was_cut_off_is_made_whole_by_the_same_request(
    fragile: Stand, own_database: DatabaseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator, viewer = await _prepared(fragile)
    wish = _daily(fragile, 10)
    with monkeypatch.context() as during:
        _goes_away(coordinator, own_database, 4, during)
        cut = await viewer.call("POST", "/api/v1/bookings", wish, headers=HEADERS)
    assert (cut.status, cut.code) == (503, "database_unavailable")
    own_database.start()
    await until(lambda: _left(coordinator, 4), "what was written before is there")
    # The first request is not being worked on any more.
    monkeypatch.setattr(idempotency, "_UNFINISHED_MS", -1)
    whole = await viewer.call("POST", "/api/v1/bookings", wish, headers=HEADERS)
    assert whole.status == 201, whole.body
    assert all(_links(whole))
    made = [booking["id"] for booking in whole.json["items"]]
    assert len(made) == 10
    assert sorted(made) == sorted(booking.id for booking in await _kept(coordinator))
    again = await viewer.call("POST", "/api/v1/bookings", wish, headers=HEADERS)
    assert [booking["id"] for booking in again.json["items"]] == made


async def test_what_a_cut_off_series_left_is_deleted_and_whole_ones_stay(
    fragile: Stand, own_database: DatabaseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator, viewer = await _prepared(fragile)
    wish = _daily(fragile, 3)
    whole = (await viewer.post("/api/v1/bookings", wish))["items"]
    # That its first window is over or cancelled does not make it a leftover.
    await viewer.call("DELETE", f"/api/v1/bookings/{whole[0]['id']}")
    with monkeypatch.context() as during:
        _goes_away(coordinator, own_database, 4, during)
        assert (await viewer.call("POST", "/api/v1/bookings", _daily(fragile, 10))).status == 503
    own_database.start()
    await until(lambda: _left(coordinator, 3 + 4), "what was written before is there")
    await fragile.stop(coordinator)
    coordinator = await fragile.coordinator(instance="next")
    assert len(coordinator.service.fleet.bookings) == 2 + 4
    monkeypatch.setattr(booking_service, "_UNFINISHED_MS", -1)
    await until(lambda: _left(coordinator, 3), "the timers deleted it")
    assert {booking.id for booking in await _kept(coordinator)} == {booking["id"] for booking in whole}
    await until(lambda: len(coordinator.service.fleet.bookings) == 2, "its windows are free")


async def test_bookings_that_are_written_are_answered_even_if_the_lock_cannot_be_given_back(
    fragile: Stand, own_database: DatabaseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator, viewer = await _prepared(fragile)
    _goes_away(coordinator, own_database, 3, monkeypatch)
    answer = await viewer.call("POST", "/api/v1/bookings", _daily(fragile, 3))
    assert answer.status == 201, answer.body
    assert all(_links(answer))
    own_database.start()
    await until(lambda: _left(coordinator, 3), "all are there")


async def test_a_lock_held_too_long_ends_the_writing(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator, viewer = await _prepared(stand)
    monkeypatch.setattr(booking_service, "_SPARE_SECONDS", booking_service._LOCK_SECONDS - 0.3)
    bookings = coordinator.service.store.bookings
    insert, late = bookings.insert, threading.Event()

    async def slow(booking: Booking) -> Booking:
        kept = await insert(booking)
        if late.is_set():
            await asyncio.Event().wait()
        late.set()
        return kept

    with monkeypatch.context() as during:
        during.setattr(bookings, "insert", slow)
        refused = await viewer.call("POST", "/api/v1/bookings", _daily(stand, 3))
    assert refused.code == "database_unavailable"
    monkeypatch.undo()
    assert len((await viewer.post("/api/v1/bookings", _daily(stand, 3)))["items"]) == 3
    assert len(await _kept(coordinator)) == 3


async def test_others_are_served_while_a_rule_is_expanded(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    _, viewer = await _prepared(stand)
    begun, served = threading.Event(), threading.Event()
    expand = booking_service.rules.occurrences

    def slow(start_ms: int, rrule: str | None, zone: str, *, not_after_ms: int, most: int) -> list[int]:
        if rrule:
            begun.set()
            assert served.wait(10), "the loop stood still"
        return expand(start_ms, rrule, zone, not_after_ms=not_after_ms, most=most)

    monkeypatch.setattr(booking_service.rules, "occurrences", slow)
    daily = _daily(stand, 3)
    series = asyncio.create_task(viewer.call("POST", "/api/v1/bookings", daily))
    await until(begun.is_set, "the rule is being expanded")
    await stand.viewer().post("/api/v1/bookings", {key: value for key, value in daily.items() if key != "rrule"})
    served.set()
    assert (await series).status == 201
