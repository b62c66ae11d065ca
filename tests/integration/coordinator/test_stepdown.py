"""The primary of a replica set steps down under load: nothing is lost, nothing is applied twice."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.coordinator.database import DatabaseProcess
from tests.support.coordinator.replica_set import ReplicaSet, replica_set
from tests.support.coordinator.stand import Answer, Stand, Viewer
from tests.support.waiting import until

TITLE = {"name": "sample"}
_PEOPLE, _EACH = 6, 5


@pytest.fixture
async def members(engine: DatabaseProcess) -> AsyncIterator[ReplicaSet]:
    if not engine.uri.startswith("mongodb://127.0.0.1:"):
        pytest.skip("this engine may be a replica set of its own")
    async with replica_set(engine.port) as made:
        yield made


@pytest.fixture
async def stand(members: ReplicaSet) -> AsyncIterator[Stand]:
    stand = Stand(members.uri, f"t{secrets.token_hex(6)}")
    yield stand
    await stand.close()


async def _create(viewer: Viewer, key: str) -> Answer:
    """As clients do: what failed with a retryable code is asked again with the same key."""
    for _ in range(20):
        answer = await viewer.call(
            "POST", "/api/v1/sessions", {"title": "sample"}, headers={"Idempotency-Key": f"stepdown-{key}"}
        )
        if answer.status not in (503, 409):
            break
        assert answer.headers["Retry-After"], answer.body
        await asyncio.sleep(0.1)
    return answer


async def _trouble(members: ReplicaSet, stop: asyncio.Event) -> None:
    """Steps down again and again, in both ways, and loses answers in between."""
    for turn in range(1000):
        if stop.is_set():
            return
        if turn % 3 == 2:
            members.lose_answers += 2
        else:
            members.step_down(drop=turn % 3 == 0)
        await asyncio.sleep(0.25)


async def test_no_session_is_lost_or_made_twice_while_the_primary_steps_down(stand: Stand, members: ReplicaSet) -> None:
    coordinator = await stand.coordinator(sessions={"per_viewer": 0})
    host = await stand.host("gpu1", capacity=_PEOPLE * _EACH + 10)
    await stand.register([TITLE], {host: ["sample"]})
    viewers = [stand.viewer() for _ in range(_PEOPLE)]
    for viewer in viewers:
        await viewer.me()
    stop = asyncio.Event()
    trouble = asyncio.create_task(_trouble(members, stop))
    created: list[str] = []

    async def use(number: int, viewer: Viewer) -> None:
        for turn in range(_EACH):
            answer = await _create(viewer, f"{number}-{turn}")
            assert answer.status == 201, answer.body
            created.append(answer.json["id"])

    try:
        await asyncio.gather(*(use(number, viewer) for number, viewer in enumerate(viewers)))
        await until(lambda: members.refused > 0 and members.lost > 0, "trouble was had")
    finally:
        stop.set()
        await trouble
    members.lose_answers = 0

    store = coordinator.service.store
    assert len(set(created)) == _PEOPLE * _EACH

    async def as_created() -> bool:
        await host.beat()
        sessions = await store.sessions.find({"live": 1})
        slots = await store.slots.taken()
        return (
            {s.id for s in sessions} == set(created) == {slot.session for slot in slots} == set(host.sessions)
            and len(slots) == len(created)
            and {s.state for s in sessions} == {"ready"}
        )

    await until(as_created, "every session once, each with its slot", seconds=60)
    # Each state was entered once by one write: versions that other writers overtook would have left gaps or repeats.
    times: Counter[str] = Counter()
    for session in await store.sessions.find({"live": 1}):
        times.update(dict.fromkeys(session.times, 1))
    assert times["leased"] == times["ready"] == len(created)


async def test_a_change_whose_answer_was_lost_is_recognised_and_counted_once(stand: Stand, members: ReplicaSet) -> None:
    coordinator = await stand.coordinator()
    host = await stand.host("gpu1")
    await stand.register([TITLE], {host: ["sample"]})
    viewer = stand.viewer()
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    store = coordinator.service.store
    before: Any = await store.sessions.get(session["id"])
    members.lose_answers = 1
    invite = await viewer.post(f"/api/v1/sessions/{session['id']}/invites", {"role": "watcher"})
    assert members.lost >= 1
    after: Any = await store.sessions.get(session["id"])
    assert list(after.invites) == [invite["id"]]
    assert after.version == before.version + 1
