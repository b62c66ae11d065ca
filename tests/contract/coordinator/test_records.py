"""Records: what goes in comes out, and of several writers one wins."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from runtime.chassis.clock import ManualClock
from runtime.coordinator.domain.model import (
    Build,
    GpuSlots,
    Heartbeat,
    Host,
    Invite,
    Launch,
    Limits,
    Member,
    Owner,
    QueueTicket,
    Session,
    Title,
)
from runtime.coordinator.store.errors import ConflictError, DuplicateError
from runtime.coordinator.store.store import Store
from runtime.protocol.control import Gpu
from runtime.protocol.states import EndReason, Role, SessionState, StartStep

NOW = 1_764_000_000_123
SESSION = Session(
    id="s" * 26,
    title="a.b-c_1",
    state=SessionState.READY,
    created_ms=NOW,
    owner=Owner(id="anonymous:x", kind="anonymous", name="Анна 'q\" $x .y"),
    host="gpu1.example.org",
    slot=0,
    gpu=0,
    port=8900,
    placement="why",
    steps={StartStep.LEASED: NOW, StartStep.FIRST_FRAME: NOW + 5},
    times={SessionState.LEASED: NOW},
    max_length_seconds=0.5,
    participants=0,
    queue=QueueTicket(queued_ms=NOW, seen_ms=0),
    refused_by=("gpu2", "gpu3"),
    invites={"i1": Invite(sha256="ab" * 32, role=Role.WATCHER, created_ms=NOW, expires_ms=2**40, label="")},
    members={"p1": Member(role=Role.CONTROLLER, name="Boris", invite="i1", joined_ms=NOW)},
)
TITLE = Title(
    name="a.b",
    display_name={"en": "A", "zh-Hans": "甲"},
    launch=Launch(arguments=("-a=$b", "c d", "", "{streamer_url}"), environment={"LANG_X": ""}),
    limits=Limits(max_length_seconds=3600.0),
)
HOST = Host(
    name="gpu.1",
    control_url="http://x",
    edge_url="wss://x/{port}",
    capacity=0,
    labels={"zone/a": "b.c"},
    gpus={"0": GpuSlots(slots=1, vram_bytes=2**35)},
    title={"a.b": Build(executable="C:\\x y.exe", arguments=("-x",)), "c": Build(executable="/c")},
)


async def test_records_come_back_as_they_were(store: Store) -> None:
    for records, record, key in (
        (store.sessions, SESSION, SESSION.id),
        (store.titles, TITLE, TITLE.name),
        (store.hosts, HOST, HOST.name),
    ):
        inserted = await records.insert(record)
        assert replace(inserted, changed_ms=0) == record
        assert await records.get(key) == inserted


async def test_a_record_decoded_from_few_values_is_kept_whole(store: Store) -> None:
    """As those are that come from a registry file, or from documents of an older release."""
    values = {"name": "h", "control_url": "http://x", "edge_url": "ws://x/{port}", "capacity": 1}
    host = await store.hosts.insert(msgspec.convert(values, Host))
    document = await store.connection.collection("session_server").find_one({"_id": "h"})
    assert document is not None
    assert {"version", "heartbeat", "labels", "title"} <= set(document)
    assert await store.hosts.save(host, replace(host, capacity=2)) is not None


async def test_an_id_is_taken_once(store: Store) -> None:
    await store.sessions.insert(SESSION)
    with pytest.raises(DuplicateError):
        await store.sessions.insert(replace(SESSION, title="other"))
    found = await store.sessions.get(SESSION.id)
    assert found is not None
    assert found.title == SESSION.title


async def test_of_two_changes_on_the_same_version_one_wins(stores: tuple[Store, Store]) -> None:
    one, two = stores
    session = await one.sessions.insert(SESSION)
    results = await asyncio.gather(
        one.sessions.save(session, replace(session, participants=1)),
        two.sessions.save(session, replace(session, participants=2)),
    )
    assert sorted(result is None for result in results) == [False, True]
    found = await one.sessions.get(SESSION.id)
    assert found in results
    assert found is not None
    assert found.version == 2


async def test_changes_by_many_writers_are_all_applied_once(stores: tuple[Store, Store]) -> None:
    await stores[0].sessions.insert(SESSION)

    async def add(store: Store) -> None:
        await store.sessions.change(SESSION.id, lambda s: replace(s, participants=s.participants + 1))

    await asyncio.gather(*(add(store) for store in stores * 5))
    found = await stores[0].sessions.get(SESSION.id)
    assert found is not None
    assert (found.participants, found.version) == (10, 11)


async def test_values_that_engines_get_wrong_survive_changes(store: Store) -> None:
    """Zeros, nulls, empty maps and lists, and the removal of keys from maps."""
    session = await store.sessions.insert(SESSION)
    changed = await store.sessions.save(
        session,
        replace(
            session,
            slot=None,
            gpu=None,
            queue=None,
            refused_by=(),
            invites={},
            steps={StartStep.LEASED: 0},
            reason=EndReason.IDLE,
            max_length_seconds=None,
            members={"p2": SESSION.members["p1"]},
        ),
    )
    assert changed is not None
    assert await store.sessions.get(SESSION.id) == changed
    assert (changed.queue, changed.refused_by, changed.invites, changed.slot) == (None, (), {}, None)
    assert list(changed.members) == ["p2"]
    back = await store.sessions.save(changed, replace(changed, queue=SESSION.queue, slot=0))
    assert back is not None
    assert (back.queue, back.slot) == (SESSION.queue, 0)


async def test_booleans_survive_changes(store: Store) -> None:
    title = await store.titles.insert(TITLE)
    for retired in (True, False, True):
        saved = await store.titles.save(title, replace(title, retired=retired, bookable=not retired))
        assert saved is not None
        assert (saved.retired, saved.bookable) == (retired, not retired)
        assert isinstance(saved.retired, bool)
        title = saved
    assert await store.titles.get(TITLE.name) == title


async def test_change_reads_again_only_when_what_it_knew_is_old(store: Store) -> None:
    session = await store.sessions.insert(SESSION)
    await store.sessions.save(session, replace(session, participants=5))
    seen: list[int] = []

    def decide(current: Session) -> Session | None:
        seen.append(current.participants)
        return replace(current, participants=current.participants + 1)

    found, changed = await store.sessions.change(SESSION.id, decide, known=session)
    assert changed
    assert found is not None
    assert (seen, found.participants) == ([0, 5], 6)
    assert await store.sessions.change("x" * 26, decide) == (None, False)
    assert await store.sessions.change(SESSION.id, lambda _: None, known=session) == (found, False)


async def test_endless_contention_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.sessions.insert(SESSION)

    async def somebody_was_faster(old: Session, new: Session) -> None:
        return None

    monkeypatch.setattr(store.sessions, "save", somebody_was_faster)
    with pytest.raises(ConflictError):
        await store.sessions.change(SESSION.id, lambda s: replace(s, participants=9))


async def test_queries_that_the_coordinator_makes(store: Store, clock: ManualClock) -> None:
    for number in range(6):
        await store.sessions.insert(
            replace(
                SESSION,
                id=f"{number}" * 26,
                created_ms=NOW + number // 2,
                state=SessionState.ENDED if number % 2 else SessionState.READY,
                owner=Owner(id=f"user:{number % 3}", kind="user"),
            )
        )

    async def ids(query: dict[str, object], **more: object) -> list[str]:
        return [session.id[0] for session in await store.sessions.find(query, **more)]  # type: ignore[arg-type]

    newest = (("created_ms", -1), ("_id", -1))
    assert await ids({"live": 1}) == ["0", "2", "4"]
    assert await ids({"owner_id": "user:1"}, sort=newest) == ["4", "1"]
    assert await ids({"state": {"$in": ["ended", "failed"]}}, sort=newest, limit=2) == ["5", "3"]
    assert await ids({"live": 1, "owner_id": {"$nin": ["user:1", "user:9"]}}) == ["0", "2"]
    after = {"$or": [{"created_ms": {"$lt": NOW + 1}}, {"created_ms": NOW + 1, "_id": {"$lt": "3" * 26}}]}
    assert await ids(after, sort=newest) == ["2", "1", "0"]
    assert await store.sessions.count({"live": 1, "owner_id": "user:2"}) == 1
    ended: dict[str, object] = {"live": 0, "created_ms": {"$lt": NOW + 2}}
    assert await store.sessions.delete_where({**ended, "_id": {"$nin": ["1" * 26, "3" * 26]}}) == 0
    assert await store.sessions.delete_where(ended) == 2
    assert await ids({}) == ["0", "2", "4", "5"]
    assert await store.sessions.delete("5" * 26, live=1) is False
    assert await store.sessions.delete("5" * 26, live=0) is True
    assert await store.sessions.delete("5" * 26, live=0) is False


async def test_changes_of_others_are_found_and_own_ones_not(stores: tuple[Store, Store], clock: ManualClock) -> None:
    one, two = stores
    await one.sessions.insert(SESSION)
    mark = clock.now_ms()
    clock.advance(1)
    other = await two.sessions.insert(replace(SESSION, id="o" * 26))
    assert await one.sessions.changed_by_others(mark) == [other]
    assert await two.sessions.changed_by_others(mark) == []
    assert [s.id for s in await two.sessions.changed_by_others(mark - 1)] == [SESSION.id]
    taken = await one.sessions.save(other, replace(other, participants=3))
    assert await one.sessions.changed_by_others(mark) == []
    assert await two.sessions.changed_by_others(mark) == [taken]


async def test_a_heartbeat_touches_nothing_else(store: Store) -> None:
    await store.hosts.insert(HOST)
    beat = Heartbeat(
        at_ms=NOW,
        sent_ms=NOW,
        capacity=2,
        cpu=0.25,
        sessions={SESSION.id: "ready"},
        gpus=(Gpu(index=0, name="G", memory_total_bytes=2**34, memory_used_bytes=0),),
    )
    assert await store.write_heartbeat(HOST.name, beat)
    found = await store.hosts.get(HOST.name)
    assert found is not None
    assert replace(found, changed_ms=0, version=1) == replace(HOST, heartbeat=beat)
    assert await store.write_heartbeat("unknown", beat) is False
    assert await store.hosts.get("unknown") is None


async def test_pictures_are_kept_by_content(store: Store) -> None:
    content = bytes(range(256)) * 40
    name = await store.put_picture("image/png", content)
    assert await store.put_picture("image/png", content) == name
    picture = await store.picture(name)
    assert picture is not None
    assert (picture.content, picture.content_type) == (content, "image/png")
    assert await store.picture("0" * 64) is None
