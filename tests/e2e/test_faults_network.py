"""A viewer's own network goes away for a while, or is exchanged for another one: the page comes back by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright

from runtime.demo.stack import DemoOptions

from .faults import TITLE, Unbroken, clicks_land, record, small_title
from .netns import Network
from .stage import Stage
from .stock_page import open_stock_page, served_stock_page
from .viewer import Viewer

PATIENCE_SECONDS = 75.0
AWAY_MS = 5000


@pytest.fixture(scope="module")
def people(
    tmp_path_factory: pytest.TempPathFactory, playwright: Playwright, network: Network
) -> Iterator[list[Viewer]]:
    """The owner in our player and in Epic's, in a browser behind the link."""
    with served_stock_page(network.host) as stock_page:
        options = DemoOptions(
            directory=tmp_path_factory.mktemp("demo"),
            address=network.host,
            registry=small_title,
            coordinator={"allowed_origins": [stock_page.rstrip("/")]},
        )
        with Stage(options) as stage:
            browser = network.launch(playwright, stage.url)
            try:
                yield _two_players(browser, stage, stock_page)
            finally:
                browser.close()
        assert stage.stack.leftovers() == ([], [])


def _two_players(browser: Browser, stage: Stage, stock_page: str) -> list[Viewer]:
    owner = Viewer(browser, stage.url, "ours")
    owner.open_catalogue()
    session_id = owner.start(TITLE)
    owner.wait_for_picture(60)
    stock = open_stock_page(browser, stock_page, owner, session_id)
    stock.wait_for_picture(60)
    return [owner, stock]


@pytest.fixture
def note(pytestconfig: pytest.Config) -> Callable[[str, Any], None]:
    return partial(record, pytestconfig.rootpath)


def _are_well(people: list[Viewer], x: float) -> None:
    for person, y in zip(people, (0.35, 0.6), strict=True):
        clicks_land(person, x, y, PATIENCE_SECONDS)
        assert not person.errors


@pytest.mark.timeout(240)
def test_a_silent_link_keeps_every_connection(
    network: Network, people: list[Viewer], note: Callable[[str, Any], None]
) -> None:
    """Nobody notices anything but silence, as in a tunnel: the same connections go on."""
    unbroken = Unbroken(people)
    connections = [person.page.evaluate("() => pixelstreamProbe.connections().length") for person in people]
    network.quality(loss=1.0)
    people[0].page.wait_for_timeout(AWAY_MS)
    network.quality()
    unbroken.struck()
    note("silent_5s_recovery_seconds", unbroken.recovered(PATIENCE_SECONDS))
    assert connections == [person.page.evaluate("() => pixelstreamProbe.connections().length") for person in people]
    _are_well(people, 0.3)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("moved", [False, True], ids=["same address", "another address"])
def test_the_network_goes_and_comes_back(
    network: Network, people: list[Viewer], note: Callable[[str, Any], None], moved: bool
) -> None:
    """The interface goes down and the browser's system says so: sockets break on both sides."""
    unbroken = Unbroken(people)
    before = people[0].state()
    network.cut()
    people[0].page.wait_for_timeout(AWAY_MS)
    network.heal(moved=moved)
    unbroken.struck()
    note(f"cut_5s_{'moved_' if moved else ''}recovery_seconds", unbroken.recovered(PATIENCE_SECONDS))
    after = people[0].eventually("the open room", people[0].state, lambda state: state["room"] == "open", seconds=30)
    assert (after["participant"], after["role"]) == (before["participant"], "owner")
    _are_well(people, 0.5 if moved else 0.4)
