"""Any process of a session dies and comes back: both players go on without being loaded again."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser

from .faults import TITLE, Processes, Unbroken, clicks_land, kill, options, record, watch
from .stage import Stage
from .stock_page import open_stock_page
from .viewer import Viewer

PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, stock_page: str) -> Iterator[Stage]:
    shape = options(tmp_path_factory.mktemp("faults"), coordinator={"allowed_origins": [stock_page.rstrip("/")]})
    with Stage(shape) as running:
        yield running
    assert running.stack.leftovers() == ([], [])


@pytest.fixture(scope="module")
def people(stage: Stage, browsers: tuple[Browser, Browser], stock_page: str) -> Iterator[list[Viewer]]:
    """The owner in our player and in Epic's, both with a picture."""
    owner = Viewer(browsers[0], stage.url, "ours")
    owner.open_catalogue()
    session_id = owner.start(TITLE)
    owner.wait_for_picture(60)
    stock = open_stock_page(browsers[0], stock_page, owner, session_id)
    stock.wait_for_picture(60)
    yield [owner, stock]
    for person in (stock, owner):
        person.close()


@pytest.fixture
def note(pytestconfig: pytest.Config) -> Callable[[str, Any], None]:
    return partial(record, pytestconfig.rootpath)


@pytest.fixture
def processes(stage: Stage, people: list[Viewer]) -> Processes:
    return Processes(stage, people[0])


def kill_service(stage: Stage, owner: Viewer, name: str) -> None:
    """Kill a service of the stack; returns when it is gone, still to be started again."""
    process = stage.stack.processes[name]
    os.kill(process.pid, signal.SIGKILL)
    owner.eventually(f"the death of the {name}", lambda: process.exit_code is not None)


def in_control(people: list[Viewer]) -> None:
    """Both pages' clicks arrive, at places of which none was used before."""
    for number, person in enumerate(people):
        x = 0.2 + (time.monotonic() * 7 % 1) * 0.5
        clicks_land(person, x, 0.3 + 0.25 * number, PATIENCE_SECONDS)
        assert not person.errors


@pytest.mark.timeout(180)
def test_the_title_dies_and_its_launcher_starts_it_again(
    processes: Processes, people: list[Viewer], note: Callable[[str, Any], None]
) -> None:
    unbroken = Unbroken(people)
    launcher, streamer = processes.launcher, processes.streamer
    kill(streamer)
    unbroken.struck()
    note("title_killed_recovery_seconds", unbroken.recovered(PATIENCE_SECONDS))
    assert processes.launcher == launcher
    assert processes.streamer != streamer
    in_control(people)


@pytest.mark.timeout(180)
def test_the_relay_dies_and_is_started_again_on_its_port(
    processes: Processes, people: list[Viewer], note: Callable[[str, Any], None]
) -> None:
    unbroken = Unbroken(people)
    relay, launcher = processes.relay, processes.launcher
    port = json.loads((processes.place / "relay-1" / "config.json").read_text())["listen"]["port"]
    kill(relay)
    unbroken.struck()
    note("relay_killed_recovery_seconds", unbroken.recovered(PATIENCE_SECONDS))
    assert processes.relay.pid != relay.pid
    assert launcher.is_running()
    assert port in {c.laddr.port for c in processes.relay.net_connections("tcp") if c.status == "LISTEN"}
    # The room came back too, with the same owner.
    people[0].eventually("the open room", people[0].state, lambda state: state["room"] == "open")
    state = people[0].state()
    assert state["role"] == "owner"
    assert state["controlHolder"] == state["participant"]
    in_control(people)


@pytest.mark.timeout(180)
def test_the_coordinator_dies_and_the_stream_goes_on(
    stage: Stage, processes: Processes, people: list[Viewer], note: Callable[[str, Any], None]
) -> None:
    relay = processes.relay
    unbroken = Unbroken(people)
    kill_service(stage, people[0], "coordinator")
    unbroken.struck()
    note("coordinator_away", watch(people, windows=2))
    stage.do(stage.stack.restart("coordinator", PATIENCE_SECONDS), PATIENCE_SECONDS + 5)
    unbroken.recovered(PATIENCE_SECONDS)
    owner = people[0]
    session = owner.eventually(
        "the session in the interface",
        lambda: owner.api_get(f"/api/v1/sessions/{processes.session_id}"),
        lambda answer: answer["state"] == "streaming",
        seconds=PATIENCE_SECONDS,
    )
    assert session["role"] == "owner"
    assert processes.relay.pid == relay.pid
    # The page needs the coordinator for this.
    assert owner.invite_link("watcher").startswith(stage.url)
    in_control(people)


@pytest.mark.timeout(180)
def test_the_session_server_dies_and_its_successor_adopts_the_session(
    stage: Stage, processes: Processes, people: list[Viewer], note: Callable[[str, Any], None]
) -> None:
    owner = people[0]
    relay, launcher = processes.relay, processes.launcher
    unbroken = Unbroken(people)
    connections = [person.page.evaluate("() => pixelstreamProbe.connections().length") for person in people]
    kill_service(stage, owner, "session server")
    unbroken.struck()
    note("session_server_away", watch(people, windows=1))
    stage.do(stage.stack.restart("session server", PATIENCE_SECONDS), PATIENCE_SECONDS + 5)
    note("session_server_back", watch(people, windows=2))
    # Nobody had to connect again, and what runs is what ran.
    assert connections == [person.page.evaluate("() => pixelstreamProbe.connections().length") for person in people]
    assert processes.relay.pid == relay.pid
    assert relay.is_running()
    assert launcher.is_running()
    in_control(people)


@pytest.mark.timeout(120)
def test_the_owner_ends_what_has_survived_it_all(processes: Processes, people: list[Viewer]) -> None:
    owner = people[0]
    children = [processes.relay, processes.launcher, processes.streamer]
    owner.api_delete(f"/api/v1/sessions/{processes.session_id}")
    owner.seen("ended-reason").wait_for(timeout=60_000)
    owner.eventually(
        "the end of its processes",
        lambda: [p.pid for p in children if p.is_running()],
        lambda pids: not pids,
        seconds=60,
    )
    answer = owner.eventually(
        "the end in the interface",
        lambda: owner.api_get(f"/api/v1/sessions/{processes.session_id}"),
        lambda session: session["state"] == "ended",
        seconds=60,
    )
    assert answer["reason"] == "owner_ended"
