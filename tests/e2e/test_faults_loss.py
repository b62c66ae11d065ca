"""A viewer 50 ms away behind a link that loses packets, with our player and with Epic's stock page.

Both stream and control, and both survive that the title and then the relay die, at every loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright

from .faults import TITLE, Processes, Unbroken, clicks_land, kill, options, record, watch
from .netns import Network
from .stage import Stage
from .stock_page import open_stock_page, served_stock_page
from .viewer import Viewer

ROUND_TRIP_MS = 50
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def stock_page(network: Network) -> Iterator[str]:
    with served_stock_page(network.host) as address:
        yield address


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, network: Network, stock_page: str) -> Iterator[Stage]:
    shape = options(
        tmp_path_factory.mktemp("faults"),
        address=network.host,
        coordinator={"allowed_origins": [stock_page.rstrip("/")]},
    )
    with Stage(shape) as running:
        yield running
    assert running.stack.leftovers() == ([], [])


@pytest.fixture(scope="module")
def far_browser(playwright: Playwright, network: Network, stage: Stage) -> Iterator[Browser]:
    browser = network.launch(playwright, stage.url)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def people(far_browser: Browser, stage: Stage, stock_page: str) -> Iterator[list[Viewer]]:
    """Somebody far away who has started a session, in our player and in Epic's."""
    owner = Viewer(far_browser, stage.url, "ours")
    owner.open_catalogue()
    session_id = owner.start(TITLE)
    owner.wait_for_picture(PATIENCE_SECONDS)
    stock = open_stock_page(far_browser, stock_page, owner, session_id, muted=False)
    stock.wait_for_picture(PATIENCE_SECONDS)
    yield [owner, stock]
    for person in (stock, owner):
        person.close()


def _control(people: list[Viewer], x: float) -> dict[str, int]:
    """Both in turn; how many clicks it took each."""
    took = {}
    for person, y in zip(people, (0.35, 0.6), strict=True):
        took[person.name] = clicks_land(person, x, y, PATIENCE_SECONDS)
        assert not person.errors
    return took


@pytest.mark.timeout(240)
@pytest.mark.parametrize("loss", [0.0, 0.02, 0.1], ids=["0%", "2%", "10%"])
def test_both_pages_stream_control_and_survive(
    network: Network, stage: Stage, people: list[Viewer], loss: float, pytestconfig: pytest.Config
) -> None:
    network.quality(round_trip_ms=ROUND_TRIP_MS, loss=loss)
    processes, unbroken = Processes(stage, people[0]), Unbroken(people)
    first = {person.name: person.wait_for_picture()["frame"] for person in people}
    figures: dict[str, Any] = watch(people)
    for person in people:
        assert person.wait_for_picture()["frame"] > first[person.name]
        assert figures[person.name]["audio_packetsReceived"] > 0
        assert figures[person.name]["audio_totalAudioEnergy"] > 0
    figures["clicks"] = _control(people, 0.2)
    for what in ("title", "relay"):
        kill(processes.streamer if what == "title" else processes.relay)
        unbroken.struck()
        figures[f"{what}_killed_recovery_seconds"] = unbroken.recovered(PATIENCE_SECONDS)
    figures["clicks_afterwards"] = _control(people, 0.5)
    record(pytestconfig.rootpath, f"loss_{loss:.0%}_rtt_{ROUND_TRIP_MS}ms", figures)


@pytest.mark.timeout(240)
def test_a_page_loads_and_joins_over_a_bad_link(network: Network, people: list[Viewer]) -> None:
    before = {person.name: person.wait_for_picture()["frame"] for person in people}
    network.quality(round_trip_ms=ROUND_TRIP_MS, loss=0.1)
    for person in people:
        person.page.reload()
    for person in people:
        assert person.wait_for_picture(PATIENCE_SECONDS)["frame"] > before[person.name]
        assert not person.errors
    network.quality()
