"""Any process of a session dies and comes back: both players go on without being loaded again."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser

from runtime.demo.stack import DemoOptions

from .faults import TITLE, Unbroken, record, small_title, watch
from .stage import Stage
from .stock_page import open_stock_page, served_stock_page
from .viewer import Viewer

PATIENCE_SECONDS = 60.0
# What a launcher of a title does: the program that streams is not the process that the session server started.
_LAUNCHER = """#!/bin/sh
trap 'exit 0' TERM
while true; do
  {python} -m runtime streamer "$@"
done
"""


@pytest.fixture(scope="module")
def stock_page() -> Iterator[str]:
    with served_stock_page() as address:
        yield address


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, stock_page: str) -> Iterator[Stage]:
    place = tmp_path_factory.mktemp("titles")
    launcher = place / "launcher"
    launcher.write_text(_LAUNCHER.format(python=sys.executable))
    launcher.chmod(0o755)
    options = DemoOptions(
        directory=tmp_path_factory.mktemp("demo"),
        registry=partial(small_title, executable=str(launcher)),
        coordinator={"allowed_origins": [stock_page.rstrip("/")]},
        session_server={"title_roots": [str(place)]},
    )
    with Stage(options) as running:
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


def session_of(owner: Viewer) -> str:
    return owner.page.url.split("/session/")[1].split("?")[0]


def place_of(stage: Stage, owner: Viewer) -> Path:
    return stage.stack.directory / "host" / "sessions" / session_of(owner)


def relay_of(stage: Stage, owner: Viewer) -> psutil.Process:
    """The newest relay of the session."""
    starts = place_of(stage, owner).glob("relay-*/child.json")
    newest = max(starts, key=lambda path: int(path.parent.name.removeprefix("relay-")))
    return psutil.Process(json.loads(newest.read_text())["pid"])


def launcher_of(stage: Stage, owner: Viewer) -> psutil.Process:
    return psutil.Process(json.loads((place_of(stage, owner) / "title" / "child.json").read_text())["pid"])


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def kill_service(stage: Stage, owner: Viewer, name: str) -> None:
    """Kill a service of the stack; returns when it is gone, still to be started again."""
    process = stage.stack.processes[name]
    os.kill(process.pid, signal.SIGKILL)
    owner.eventually(f"the death of the {name}", lambda: process.exit_code is not None)


def in_control(people: list[Viewer]) -> None:
    """Both pages' clicks arrive, at places of which none was used before."""
    for number, person in enumerate(people):
        x = 0.2 + (time.monotonic() * 7 % 1) * 0.5
        person.click_lands(x, 0.3 + 0.25 * number, seconds=PATIENCE_SECONDS)
        assert not person.errors


@pytest.mark.timeout(180)
def test_the_title_dies_and_its_launcher_starts_it_again(
    stage: Stage, people: list[Viewer], note: Callable[[str, Any], None]
) -> None:
    unbroken = Unbroken(people)
    (streamer,) = launcher_of(stage, people[0]).children()
    kill(streamer)
    unbroken.struck()
    note("title_killed_recovery_seconds", unbroken.recovered(PATIENCE_SECONDS))
    in_control(people)


@pytest.mark.timeout(180)
def test_the_relay_dies_and_is_started_again_on_its_port(
    stage: Stage, people: list[Viewer], note: Callable[[str, Any], None]
) -> None:
    unbroken = Unbroken(people)
    relay, launcher = relay_of(stage, people[0]), launcher_of(stage, people[0])
    port = json.loads((place_of(stage, people[0]) / "relay-1" / "config.json").read_text())["listen"]["port"]
    kill(relay)
    unbroken.struck()
    note("relay_killed_recovery_seconds", unbroken.recovered(PATIENCE_SECONDS))
    assert relay_of(stage, people[0]).pid != relay.pid
    assert launcher.is_running()
    assert port in {c.laddr.port for c in relay_of(stage, people[0]).net_connections("tcp") if c.status == "LISTEN"}
    # The room came back too, with the same owner.
    people[0].eventually("the open room", people[0].state, lambda state: state["room"] == "open")
    state = people[0].state()
    assert state["role"] == "owner"
    assert state["controlHolder"] == state["participant"]
    in_control(people)


@pytest.mark.timeout(180)
def test_the_coordinator_dies_and_the_stream_goes_on(
    stage: Stage, people: list[Viewer], note: Callable[[str, Any], None]
) -> None:
    relay = relay_of(stage, people[0])
    unbroken = Unbroken(people)
    kill_service(stage, people[0], "coordinator")
    unbroken.struck()
    note("coordinator_away", watch(people, windows=2))
    stage.do(stage.stack.restart("coordinator", PATIENCE_SECONDS), PATIENCE_SECONDS + 5)
    unbroken.recovered(PATIENCE_SECONDS)
    owner = people[0]
    session = owner.eventually(
        "the session in the interface",
        lambda: owner.api_get(f"/api/v1/sessions/{session_of(owner)}"),
        lambda answer: answer["state"] == "streaming",
        seconds=PATIENCE_SECONDS,
    )
    assert session["role"] == "owner"
    assert relay_of(stage, owner).pid == relay.pid
    # The page needs the coordinator for this.
    assert owner.invite_link("watcher").startswith(stage.url)
    in_control(people)


@pytest.mark.timeout(180)
def test_the_session_server_dies_and_its_successor_adopts_the_session(
    stage: Stage, people: list[Viewer], note: Callable[[str, Any], None]
) -> None:
    owner = people[0]
    relay, launcher = relay_of(stage, owner), launcher_of(stage, owner)
    unbroken = Unbroken(people)
    connections = [person.page.evaluate("() => pixelstreamProbe.connections().length") for person in people]
    kill_service(stage, owner, "session server")
    unbroken.struck()
    note("session_server_away", watch(people, windows=1))
    stage.do(stage.stack.restart("session server", PATIENCE_SECONDS), PATIENCE_SECONDS + 5)
    note("session_server_back", watch(people, windows=2))
    # Nobody had to connect again, and what runs is what ran.
    assert connections == [person.page.evaluate("() => pixelstreamProbe.connections().length") for person in people]
    assert relay_of(stage, owner).pid == relay.pid
    assert relay.is_running()
    assert launcher.is_running()
    in_control(people)


@pytest.mark.timeout(120)
def test_the_owner_ends_what_has_survived_it_all(stage: Stage, people: list[Viewer]) -> None:
    owner = people[0]
    children = [relay_of(stage, owner), launcher_of(stage, owner), *launcher_of(stage, owner).children()]
    owner.api_delete(f"/api/v1/sessions/{session_of(owner)}")
    owner.seen("ended-reason").wait_for(timeout=60_000)
    owner.eventually(
        "the end of its processes",
        lambda: [p.pid for p in children if p.is_running()],
        lambda pids: not pids,
        seconds=60,
    )
    answer = owner.eventually(
        "the end in the interface",
        lambda: owner.api_get(f"/api/v1/sessions/{session_of(owner)}"),
        lambda session: session["state"] == "ended",
        seconds=60,
    )
    assert answer["reason"] == "owner_ended"
