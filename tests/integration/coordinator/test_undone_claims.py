"""A claim that does not reach its session: nothing of somebody else's is given back, nothing stays counted as used."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runtime.coordinator.admission import Wish
from runtime.coordinator.app import Coordinator
from runtime.coordinator.domain.model import Owner, Session
from runtime.coordinator.store.errors import StoreUnavailableError
from tests.support.coordinator.fake_host import FakeHost
from tests.support.coordinator.stand import Stand
from tests.support.waiting import until

TITLE = {"name": "sample"}


async def _no_rounds() -> None:
    return None


async def _waits_at(host: FakeHost, stand: Stand) -> Session:
    """A session whose start request ``host`` does not answer; every instance knows it."""
    host.hold.clear()
    session_id = (await stand.viewer().start("sample"))["id"]
    await until(lambda: host.starts, "start request on its way")
    for coordinator in stand.coordinators:
        coordinator.timers.round = _no_rounds  # type: ignore[method-assign]
        sessions = coordinator.service.fleet.sessions
        await until(lambda sessions=sessions: session_id in sessions, "every instance knows it")
    return stand.coordinators[0].service.fleet.sessions[session_id]


async def _queued_for_a_free_slot(stand: Stand, host: FakeHost) -> Session:
    """A session in the queue of which every instance knows, and room for it that no timer gives out."""
    await stand.register([TITLE], {host: ["sample"]})
    holder = stand.viewer()
    running = await holder.start("sample")
    await holder.session_in(running["id"], "ready")
    session_id = (await stand.viewer().start("sample", wait=True))["id"]
    for coordinator in stand.coordinators:
        coordinator.timers.round = _no_rounds  # type: ignore[method-assign]
        fleet = coordinator.service.fleet
        await until(lambda fleet=fleet: [s.id for s in fleet.queued()] == [session_id], "every instance knows it")
    await holder.call("DELETE", f"/api/v1/sessions/{running['id']}")
    for coordinator in stand.coordinators:
        await until(lambda c=coordinator: _used(c, host.name) == set(), "room")
    await until(lambda: _nothing_taken(stand), "the slot was given back")
    return stand.coordinators[0].service.fleet.sessions[session_id]


def _used(coordinator: Coordinator, host: str) -> set[int]:
    load = coordinator.service.fleet.load(host)
    assert load is not None
    return set(load.used)


async def _nothing_taken(stand: Stand) -> bool:
    return not await stand.coordinators[0].service.store.slots.taken()


async def test_who_moves_a_session_second_leaves_the_first_ones_claim_alone(stand: Stand) -> None:
    one, two = await stand.coordinator(), await stand.coordinator()
    away, good = await stand.host("a-away", capacity=1), await stand.host("b-good", capacity=1)
    await stand.register([TITLE], {away: ["sample"], good: ["sample"]})
    session = await _waits_at(away, stand)
    moved = await asyncio.gather(*(c.service.lifecycle._move(session) for c in (one, two)))
    assert moved == [True, True]
    slots = await one.service.store.slots.taken()
    assert [(slot.host, slot.session) for slot in slots] == [("b-good", session.id)]
    now = await one.service.store.sessions.get(session.id)
    assert now is not None
    assert (now.host, now.attempts) == ("b-good", 2)


async def test_who_promotes_a_ticket_second_leaves_the_first_ones_claim_alone(stand: Stand) -> None:
    one, two = await stand.coordinator(), await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    session = await _queued_for_a_free_slot(stand, host)
    title = one.service.fleet.titles["sample"]
    assert await asyncio.gather(*(c.service.admission.promote(session, title) for c in (one, two))) == [True, True]
    assert [slot.session for slot in await one.service.store.slots.taken()] == [session.id]


async def test_a_move_that_the_database_does_not_answer_leaves_no_slot_counted_as_used(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    away, good = await stand.host("a-away", capacity=1), await stand.host("b-good", capacity=1)
    await stand.register([TITLE], {away: ["sample"], good: ["sample"]})
    session = await _waits_at(away, stand)

    async def gone(*_: Any) -> None:
        raise StoreUnavailableError("gone")

    coordinator.service.store.connection.swap = gone  # type: ignore[assignment]
    with pytest.raises(StoreUnavailableError):
        await coordinator.service.lifecycle._move(session)
    assert _used(coordinator, "b-good") == set()


async def _cancelled_in(coordinator: Coordinator, where: str, work: Any) -> None:
    """Cancel ``work`` while it waits for the database: for a change (``swap``), or for a new record (``insert``)."""
    entered = asyncio.Event()

    async def never(*_: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    store = coordinator.service.store
    if where == "swap":
        store.connection.swap = never  # type: ignore[assignment]
    else:
        store.sessions.insert = never  # type: ignore[method-assign, assignment]
    task = asyncio.ensure_future(work)
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_promotion_that_is_cut_off_leaves_no_slot_counted_as_used(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    session = await _queued_for_a_free_slot(stand, await stand.host("gpu1", capacity=1))
    service = coordinator.service
    await _cancelled_in(coordinator, "swap", service.admission.promote(session, service.fleet.titles["sample"]))
    assert _used(coordinator, "gpu1") == set()


async def test_a_session_whose_making_is_cut_off_leaves_no_slot_counted_as_used(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    fleet = coordinator.service.fleet
    wish = Wish(title=fleet.titles["sample"], owner=Owner(id="user:anna", kind="user"))
    await _cancelled_in(coordinator, "insert", coordinator.service.admission.create(wish))
    assert _used(coordinator, "gpu1") == set()
    assert fleet.owned_by("user:anna") == []
