"""Every state of a session times every death, on real processes: what becomes of it, and that nothing is left.

After each row, within the lease time: no slot taken, no process running, no session stuck, exactly one end with the
right reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from runtime.chassis.client import PeerUnreachableError
from tests.support.chaos import LEASE_SECONDS, Arena, arena
from tests.support.coordinator.database import engines
from tests.support.waiting import until

LIVES = "lives"

# What becomes of a session in a state (columns) when something dies (rows). "lives": it goes on, can be used and is
# ended by its owner; a reason: it ends with that; "-": there is nothing to kill yet.
TABLE = """
                    queued  leased  starting      ready         streaming     stopping
coordinator         lives   lives   lives         lives         lives         owner_ended
session_server      lives   lives   lives         lives         lives         owner_ended
database            lives   lives   lives         lives         lives         owner_ended
relay               -       -       lives         lives         lives         owner_ended
title               -       -       app_crashed   app_crashed   app_crashed   owner_ended
relay_keeper        -       -       lives         lives         lives         owner_ended
title_keeper        -       -       app_crashed   app_crashed   app_crashed   owner_ended
both_children       -       -       app_crashed   app_crashed   app_crashed   owner_ended
host_then_title     -       -       app_crashed   app_crashed   app_crashed   owner_ended
host_then_relay     -       -       lives         lives         lives         owner_ended
everything_but_us   lives   lives   lives         lives         lives         owner_ended
cut_to_host         lives   lives   lives         lives         lives         owner_ended
cut_to_coordinator  lives   lives   lives         lives         lives         owner_ended
cut_to_database     lives   lives   lives         lives         lives         owner_ended
cut_streamer        -       -       -             lives         lives         -
host_gone           lives   start_failed host_lost host_lost    host_lost     owner_ended
"""


def rows() -> list[tuple[str, str, str]]:
    header, *lines = TABLE.strip().splitlines()
    states = header.split()
    found = []
    for line in lines:
        death, *outcomes = line.split()
        assert len(outcomes) == len(states), line
        found += [(state, death, outcome) for state, outcome in zip(states, outcomes, strict=True) if outcome != "-"]
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[name for name in engines() if name != "mongodb"])
async def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    """On every engine that can be killed."""
    async with arena(Path(tmp_path_factory.mktemp("chaos")), request.param) as made:
        yield made


@pytest.mark.timeout(240)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("state", "death", "outcome"), rows())
async def test_death_in_state(stage: Arena, state: str, death: str, outcome: str) -> None:
    stage.gate.unlink(missing_ok=True)
    try:
        others = await STATES[state](stage)
        session = others.pop()
        await DEATHS[death](stage, session)
        if outcome == LIVES:
            await use_and_end(stage, session, others)
            outcome = "owner_ended"
        over = await stage.until_state(session, "ended", "failed")
        assert over["reason"] == outcome
        await stage.all_in_order()
        assert [end.partition(" ")[2] for end in stage.ends(session)] == [f"({outcome})"]
    except BaseException:
        await stage.clear()
        raise


async def use_and_end(stage: Arena, session: str, others: list[str]) -> None:
    """It lives: it becomes usable (again), people come, and its owner ends it."""
    for other in others:
        await stage.call("DELETE", f"/sessions/{other}")
    stage.gate.touch()
    await stage.until_state(session, "ready", "streaming")

    async def streams() -> bool:
        try:
            await stage.pretend(session, players=1, participants=1)
        except (PeerUnreachableError, FileNotFoundError):
            return False  # the relay is just being started again
        return (await stage.session(session))["state"] == "streaming"

    await until(streams, "streaming")
    await stage.call("DELETE", f"/sessions/{session}")


# --- states: each gives the session, after the sessions that are in its way ---


async def queued(stage: Arena) -> list[str]:
    occupant = await stage.create("plain")
    await stage.until_state(occupant, "ready")
    waiting = await stage.create("plain", wait=True)
    assert (await stage.session(waiting))["state"] == "queued"
    return [occupant, waiting]


async def leased(stage: Arena) -> list[str]:
    stage.to_host.cut()
    session = await stage.create("plain")
    assert (await stage.session(session))["state"] == "leased"
    asyncio.get_running_loop().call_later(1.0, stage.to_host.heal)
    return [session]


async def starting(stage: Arena) -> list[str]:
    session = await stage.create("gated")
    await stage.until_state(session, "starting")

    async def process_up() -> bool:
        return any(step["step"] == "process_up" for step in (await stage.session(session))["steps"])

    await until(process_up, "the title's process")
    return [session]


async def ready(stage: Arena) -> list[str]:
    session = await stage.create("plain")
    await stage.until_state(session, "ready")
    return [session]


async def streaming(stage: Arena) -> list[str]:
    session = await stage.create("plain")
    await stage.until_state(session, "ready")
    await stage.pretend(session, players=1, participants=1)
    await stage.until_state(session, "streaming")
    return [session]


async def stopping(stage: Arena) -> list[str]:
    session = await stage.create("stubborn")
    await stage.until_state(session, "ready")
    await stage.call("DELETE", f"/sessions/{session}")
    await stage.until_state(session, "stopping")
    return [session]


STATES: dict[str, Callable[[Arena], Awaitable[list[str]]]] = {
    "queued": queued,
    "leased": leased,
    "starting": starting,
    "ready": ready,
    "streaming": streaming,
    "stopping": stopping,
}


# --- deaths ---


async def both_children(stage: Arena, session: str) -> None:
    await stage.kill_child(session, "relay")
    await stage.kill_child(session, "title")


async def host_then(stage: Arena, session: str, part: str) -> None:
    """The child dies while no session server is there to see it."""
    await stage.kill_now("session server")
    try:
        await stage.kill_child(session, part)
    finally:
        await stage.stack.restart("session server")


async def everything_but_us(stage: Arena, session: str) -> None:
    """Coordinator, session server and database at once, as when somebody kills all of python."""
    names = ("coordinator", "session server", "database")
    for name in names:
        await stage.kill_now(name)
    for name in reversed(names):
        await stage.stack.restart(name)


async def cut(stage: Arena, which: str) -> None:
    """Shorter than the lease: nobody may be given up for it."""
    proxy = getattr(stage, which)
    proxy.cut()
    await asyncio.sleep(LEASE_SECONDS / 3)
    proxy.heal()


async def host_gone(stage: Arena, session: str) -> None:
    """The session server is away for longer than the lease; then it comes back and finds its sessions unwanted."""
    await stage.kill_now("session server")
    await asyncio.sleep(LEASE_SECONDS + 2)
    await stage.stack.restart("session server")


DEATHS: dict[str, Callable[[Arena, str], Awaitable[None]]] = {
    "coordinator": lambda stage, session: stage.kill_service("coordinator"),
    "session_server": lambda stage, session: stage.kill_service("session server"),
    "database": lambda stage, session: stage.kill_service("database"),
    "relay": lambda stage, session: stage.kill_child(session, "relay"),
    "title": lambda stage, session: stage.kill_child(session, "title"),
    "relay_keeper": lambda stage, session: stage.kill_child(session, "relay", keeper=True),
    "title_keeper": lambda stage, session: stage.kill_child(session, "title", keeper=True),
    "both_children": both_children,
    "host_then_title": lambda stage, session: host_then(stage, session, "title"),
    "host_then_relay": lambda stage, session: host_then(stage, session, "relay"),
    "everything_but_us": everything_but_us,
    "cut_to_host": lambda stage, session: cut(stage, "to_host"),
    "cut_to_coordinator": lambda stage, session: cut(stage, "to_coordinator"),
    "cut_to_database": lambda stage, session: cut(stage, "to_database"),
    "cut_streamer": lambda stage, session: stage.drop_streamer(session),
    "host_gone": host_gone,
}
