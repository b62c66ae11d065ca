"""A viewer's laptop sleeps: every process of the browser stands still until the others have given the person up.

A browser that is stopped answers no ping, no consent check and no command, and is told nothing of it: afterwards it
goes on in the middle of what it did, as on a machine that wakes up.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Playwright, expect

from runtime.demo.stack import DemoOptions
from tests.security.people import Person

from .faults import TITLE, Unbroken, clicks_land, record, small_title, watch
from .stage import Stage
from .viewer import Viewer, launch

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

# Pings go out every 10 s and must be answered within 10 s, consent lasts 30 s; and the machine may be busy.
GIVEN_UP_SECONDS = 90.0
PATIENCE_SECONDS = 75.0
FORGETFUL, IMPATIENT = "forgetful", "impatient"
_STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)


def _titles(content: dict[str, Any]) -> None:
    """The small title, also with a host that forgets people at once, and with one that soon finds nobody active."""
    small_title(content)
    small = content["titles"][-1]
    builds = content["session_servers"][0]["titles"]
    more = {
        FORGETFUL: {"reconnect_grace_seconds": 1},
        IMPATIENT: {"idle_seconds": 30, "idle_warning_seconds": 10},
    }
    for name, limits in more.items():
        content["titles"].append({**copy.deepcopy(small), "name": name, "limits": {**small["limits"], **limits}})
        builds[name] = builds[TITLE]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(DemoOptions(directory=tmp_path_factory.mktemp("demo"), registry=_titles)) as running:
        yield running
    assert running.stack.leftovers() == ([], [])


class Laptop:
    """A browser of its own whose processes can all be stopped at once, as by closing the lid."""

    def __init__(self, playwright: Playwright) -> None:
        before = set(psutil.Process().children(recursive=True))
        self.browser: Browser = launch(playwright)
        new = set(psutil.Process().children(recursive=True)) - before
        # The one that Playwright started; the others are its own.
        (self._first,) = [process for process in new if process.parent() in before]

    def _processes(self) -> list[psutil.Process]:
        return [self._first, *self._first.children(recursive=True)]

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Nothing of the browser runs inside, so nothing may be asked of its pages."""
        try:
            # Again until none runs: what has just been started was in no list yet.
            while awake := [process for process in self._processes() if process.status() not in _STOPPED]:
                for process in awake:
                    process.suspend()
            yield
            assert all(process.status() in _STOPPED for process in self._processes())
        finally:
            for process in self._processes():
                process.resume()


@pytest.fixture(scope="module")
def laptop(playwright: Playwright) -> Iterator[Laptop]:
    machine = Laptop(playwright)
    yield machine
    machine.browser.close()


@dataclass
class Pair:
    """The owner of a session, on the laptop, and a guest who stays awake elsewhere."""

    owner: Viewer
    guest: Viewer
    session: str
    before: dict[str, Any]
    sleeper: Unbroken
    awake: Unbroken
    connections: int


_CONNECTIONS = "() => pixelstreamProbe.connections().length"


def _pair(laptop: Laptop, elsewhere: Browser, stage: Stage, title: str) -> Pair:
    owner = Viewer(laptop.browser, stage.url, f"owner of {title}")
    guest = Viewer(elsewhere, stage.url, f"guest of {title}")
    owner.open_catalogue()
    session = owner.start(title)
    owner.wait_for_picture(60)
    owner.open_people()
    owner.seen("rename-input").fill("Ann")
    owner.seen("rename-input").press("Enter")
    expect(owner.seen("people-list")).to_contain_text("Ann")
    owner.close_panel()
    guest.page.goto(owner.invite_link("watcher"))
    guest.enter("Bob")
    guest.wait_for_picture(60)
    guest.open_people()
    guest.eventually("two people", guest.participants, lambda n: n == 2)
    owner.close_panel()
    owner.click_lands(0.3, 0.4)
    connections = guest.page.evaluate(_CONNECTIONS)
    return Pair(owner, guest, session, owner.state(), Unbroken([owner]), Unbroken([guest]), connections)


@dataclass
class Night:
    """Three owners on one laptop, after it has slept."""

    pairs: dict[str, Pair]
    late: Viewer
    ended: str


@pytest.fixture(scope="module")
def night(stage: Stage, laptop: Laptop, browsers: tuple[Browser, Browser]) -> Iterator[Night]:
    pairs = {title: _pair(laptop, browsers[0], stage, title) for title in (TITLE, FORGETFUL)}
    late = Viewer(laptop.browser, stage.url, f"owner of {IMPATIENT}")
    late.open_catalogue()
    ended = late.start(IMPATIENT)
    late.wait_for_picture(60)
    # The owners' own requests would be made by the browser that sleeps.
    admin = Person(stage.url, headers=stage.stack.admin.headers)
    guests = [pair.guest for pair in pairs.values()]
    with laptop.asleep():
        for guest in guests:
            guest.eventually("one person left", guest.participants, lambda n: n == 1, seconds=GIVEN_UP_SECONDS)
            expect(guest.seen("people-list")).not_to_contain_text("Ann")
        # For those who are awake the picture goes on.
        watch(guests, windows=2)
        guests[0].eventually(
            "the end of the session in which nobody was active",
            lambda: admin.get(f"/api/v1/sessions/{ended}").json["state"],
            lambda state: state == "ended",
            seconds=GIVEN_UP_SECONDS,
        )
        for pair in pairs.values():
            pair.sleeper.struck()
            pair.awake.struck()
    yield Night(pairs, late, ended)
    for person in (late, *(person for pair in pairs.values() for person in (pair.owner, pair.guest))):
        person.close()


@pytest.mark.parametrize("title", [TITLE, FORGETFUL], ids=["within the grace time", "beyond it"])
def test_who_sleeps_comes_back_by_themselves(night: Night, pytestconfig: pytest.Config, title: str) -> None:
    pair = night.pairs[title]
    owner, guest = pair.owner, pair.guest
    record(pytestconfig.rootpath, f"sleep_{title}_recovery_seconds", pair.sleeper.recovered(PATIENCE_SECONDS))
    owner.eventually("the open room", owner.state, lambda state: state["room"] == "open", seconds=30)
    owner.eventually("control", owner.has_control, seconds=30)
    after = owner.state()
    assert (after["participant"], after["role"]) == (pair.before["participant"], "owner")
    guest.eventually("two people again", guest.participants, lambda n: n == 2, seconds=30)
    expect(guest.seen("people-list")).to_contain_text("Ann")
    clicks_land(owner, 0.6, 0.6, PATIENCE_SECONDS)
    pair.awake.recovered(PATIENCE_SECONDS)
    assert guest.page.evaluate(_CONNECTIONS) == pair.connections, "the other viewer had to connect anew"
    assert not owner.errors
    assert not guest.errors


def test_who_sleeps_beyond_the_end_is_told_why_and_what_now(night: Night) -> None:
    late = night.late
    reason = late.seen("ended-reason")
    reason.wait_for(timeout=PATIENCE_SECONDS * 1000)
    expect(reason).to_have_attribute("data-reason", "idle")
    late.seen("start-again").click()
    late.page.wait_for_url(lambda url: "/session/" in url and night.ended not in url)
    late.wait_for_picture(60)
    assert not late.errors
