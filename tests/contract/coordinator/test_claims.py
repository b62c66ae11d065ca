"""Slots, leases, schema: what several processes may rely on."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from runtime.chassis.clock import ManualClock
from runtime.coordinator.domain.model import places_of
from runtime.coordinator.store.connection import Connection
from runtime.coordinator.store.errors import SchemaError
from runtime.coordinator.store.schema import INDEXES, ensure_indexes, migrate
from runtime.coordinator.store.store import Store
from runtime.coordinator.store.swap import ClaimedSwap, NativeSwap

from .test_records import SESSION


async def test_a_slot_is_taken_by_one_and_freed_once(stores: tuple[Store, Store]) -> None:
    claims = [(store, f"session-{n}-{index}") for index, store in enumerate(stores) for n in range(10)]
    won = await asyncio.gather(*(store.slots.claim("gpu.1", 0, session) for store, session in claims))
    assert sum(won) == 1
    holder = claims[won.index(True)][1]
    assert await stores[0].slots.claim("gpu.1", 0, holder) is True
    assert await stores[0].slots.claim("gpu.1", 1, "another") is True
    assert await stores[1].slots.free("gpu.1", 0, "not-the-holder") is False
    freed = await asyncio.gather(*(store.slots.free("gpu.1", 0, holder) for store in stores * 3))
    assert sum(freed) == 1
    taken = await stores[0].slots.taken()
    assert [(slot.host, slot.number, slot.session) for slot in taken] == [("gpu.1", 1, "another")]
    assert await stores[0].slots.taken(["elsewhere"]) == []


async def test_places_of_titles_are_claimed_like_slots_and_all_of_a_session_is_given_back(
    stores: tuple[Store, Store],
) -> None:
    one, two = stores
    places = places_of("sample")
    won = await asyncio.gather(*(store.slots.claim(places, 0, f"session-{n}") for n, store in enumerate(stores * 5)))
    assert sum(won) == 1
    holder = f"session-{won.index(True)}"
    assert await one.slots.claim("gpu.1", 0, holder)
    assert await one.slots.claim("gpu.1", 1, "another")
    assert [(slot.number, slot.session) for slot in await two.slots.taken([places])] == [(0, holder)]
    assert {slot.host for slot in await two.slots.taken()} == {"gpu.1"}, "places are no slots of a host"
    await asyncio.gather(*(store.slots.free_all(holder) for store in stores))
    assert await one.slots.taken([places]) == []
    assert [slot.session for slot in await one.slots.taken()] == ["another"]
    assert await two.slots.claim(places, 0, "another")


async def test_one_of_two_holds_a_lease_and_the_watch_is_unbroken_only_by_a_gap(
    stores: tuple[Store, Store], clock: ManualClock
) -> None:
    one, two = stores
    began = clock.now_ms()
    held = await asyncio.gather(one.locks.acquire("timers", 10), two.locks.acquire("timers", 10))
    assert sorted(lease is None for lease in held) == [False, True]
    holder, other = (one, two) if held[0] else (two, one)
    clock.advance(6)
    renewed = await holder.locks.acquire("timers", 10)
    assert renewed is not None
    assert (renewed.since_ms, renewed.expires_ms) == (began, clock.now_ms() + 10_000)
    assert await other.locks.acquire("timers", 10) is None
    # Handed over: no gap.
    await holder.locks.release("timers")
    taken = await other.locks.acquire("timers", 10)
    assert taken is not None
    assert taken.since_ms == began
    # Lapsed: the watch begins anew.
    clock.advance(11)
    late = await holder.locks.acquire("timers", 10)
    assert late is not None
    assert late.since_ms == clock.now_ms()
    assert await other.locks.acquire("timers", 10) is None


async def test_many_fight_for_a_lapsed_lease_and_one_gets_it(stores: tuple[Store, Store], clock: ManualClock) -> None:
    assert await stores[0].locks.acquire("timers", 1) is not None
    clock.advance(5)
    won = [lease for lease in await asyncio.gather(*(s.locks.acquire("timers", 10) for s in stores)) if lease]
    assert len(won) == 1


async def test_declared_indexes_are_there_and_are_checked_again_without_harm(store: Store) -> None:
    await ensure_indexes(store.connection)
    for index in INDEXES:
        present = await store.connection.collection(index.collection).index_information()
        assert index.keys in {tuple((f, int(w)) for f, w in each["key"]) for each in present.values()}


async def test_a_migration_that_died_half_way_is_taken_up_again(store: Store) -> None:
    database = store.connection
    await database.collection("title").insert_one({"_id": "old", "n": 1})
    runs: list[str] = []

    async def first(connection: Connection) -> None:
        runs.append("first")
        await connection.collection("title").update_one({"_id": "old"}, {"$set": {"n": 2}})

    async def dies(_: Connection) -> None:
        runs.append("dies")
        raise RuntimeError("power cut")

    async def works(_: Connection) -> None:
        runs.append("works")

    await database.collection("schema").update_one({"_id": "schema"}, {"$set": {"version": 1}})
    with pytest.raises(RuntimeError):
        await migrate(database, ((1, "first", first), (2, "second", dies)))
    assert await migrate(database, ((1, "first", first), (2, "second", works))) == 3
    assert await migrate(database, ((1, "first", first), (2, "second", works))) == 3
    assert runs == ["first", "dies", "works"]


async def test_data_of_a_newer_release_is_refused(store: Store) -> None:
    await store.connection.collection("schema").update_one({"_id": "schema"}, {"$set": {"version": 99}})
    with pytest.raises(SchemaError, match="newer release"):
        await migrate(store.connection)


async def test_the_clock_of_the_database_is_compared(stores: tuple[Store, Store], clock: ManualClock) -> None:
    first = await stores[0].connection.server_time_skew_ms()
    clock.advance(100)
    assert abs(await stores[0].connection.server_time_skew_ms() - first - 100_000) < 5_000


async def test_a_claim_whose_writer_died_is_released_after_a_while(store: Store, clock: ManualClock) -> None:
    """The way of engines without an atomic update; it must work on all of them."""
    store.connection.swap = ClaimedSwap(store.connection)
    session = await store.sessions.insert(SESSION)
    await store.connection.collection("version_claim").insert_one(
        {"_id": "dead:1", "target": f"session/{SESSION.id}/2", "at_ms": clock.now_ms()}
    )
    changed = replace(session, participants=7)
    assert await store.sessions.save(session, changed) is None
    clock.advance(6)
    assert await store.sessions.save(session, changed) is None  # finds and releases it
    saved = await store.sessions.save(session, changed)
    assert saved is not None
    assert (saved.participants, saved.version) == (7, 2)
    # A version that was written long ago cannot be written again, even when its claim was purged.
    await store.connection.collection("version_claim").delete_many({})
    assert await store.sessions.save(session, replace(session, participants=1)) is None
    assert await store.sessions.get(SESSION.id) == saved


async def test_claimed_changes_by_many_writers_are_all_applied_once(stores: tuple[Store, Store]) -> None:
    for store in stores:
        store.connection.swap = ClaimedSwap(store.connection)
    await stores[0].sessions.insert(SESSION)

    async def add(store: Store) -> None:
        await store.sessions.change(SESSION.id, lambda s: replace(s, participants=s.participants + 1))

    await asyncio.gather(*(add(store) for store in stores * 4))
    found = await stores[0].sessions.get(SESSION.id)
    assert found is not None
    assert (found.participants, found.version) == (8, 9)


@pytest.mark.parametrize("swap", [NativeSwap, ClaimedSwap])
async def test_an_instance_that_was_restarted_does_not_take_its_predecessors_writes_for_its_own(
    stores: tuple[Store, Store], engine_uri: str, clock: ManualClock, swap: type[NativeSwap | ClaimedSwap]
) -> None:
    """The same name, counting from the beginning again: the n-th write of one is not the n-th of the other."""
    before = stores[0]
    after = Store(engine_uri, before.connection.database.name, writer="one", clock=clock)
    await after.open()
    try:
        for store in (before, after):
            store.connection.swap = swap(store.connection)
        session = await before.sessions.insert(SESSION)
        written = await before.sessions.save(session, replace(session, participants=1))
        await after.sessions.insert(replace(SESSION, id="b" * 26))
        # The successor's second write, on a version that its predecessor's second write has replaced.
        assert await after.sessions.save(session, replace(session, participants=2)) is None
        assert await after.sessions.get(SESSION.id) == written
        # Leases go by the instance's name, so that the timers run again at once after a crash.
        assert await before.locks.acquire("timers", 10) is not None
        assert await after.locks.acquire("timers", 10) is not None
    finally:
        await after.close()
