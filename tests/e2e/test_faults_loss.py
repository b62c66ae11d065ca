"""A viewer 50 ms away behind a link that loses packets: our player and Epic's stock page stream and control."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Playwright

from runtime.demo.stack import DemoOptions

from .faults import TITLE, record, small_title, watch
from .netns import Network, missing
from .stage import Stage
from .stock_page import open_stock_page, served_stock_page
from .viewer import Viewer

ROUND_TRIP_MS = 50


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    if reason := missing():
        pytest.skip(reason)
    with Network(tmp_path_factory.mktemp("network")) as made:
        yield made


@pytest.fixture(scope="module")
def stock_page(network: Network) -> Iterator[str]:
    with served_stock_page(network.host) as address:
        yield address


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, network: Network, stock_page: str) -> Iterator[Stage]:
    options = DemoOptions(
        directory=tmp_path_factory.mktemp("demo"),
        address=network.host,
        registry=small_title,
        coordinator={"allowed_origins": [stock_page.rstrip("/")]},
    )
    with Stage(options) as running:
        yield running
    assert running.stack.leftovers() == ([], [])


@pytest.fixture(scope="module")
def far_browser(playwright: Playwright, network: Network, stage: Stage) -> Iterator[Browser]:
    browser = network.launch(playwright, stage.url)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def owner(far_browser: Browser, stage: Stage) -> Iterator[Viewer]:
    """Somebody far away who has started a session."""
    viewer = Viewer(far_browser, stage.url, "ours")
    viewer.open_catalogue()
    viewer.start(TITLE)
    viewer.wait_for_picture(60)
    yield viewer
    viewer.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("loss", [0.0, 0.02, 0.1], ids=["0%", "2%", "10%"])
def test_both_pages_stream_and_control(
    far_browser: Browser,
    network: Network,
    owner: Viewer,
    stock_page: str,
    loss: float,
    pytestconfig: pytest.Config,
) -> None:
    network.quality(round_trip_ms=ROUND_TRIP_MS, loss=loss)
    session_id = owner.page.url.split("/session/")[1].split("?")[0]
    owner.page.reload()
    stock = open_stock_page(far_browser, stock_page, owner, session_id, muted=False)
    try:
        people = [owner, stock]
        first = {person.name: person.wait_for_picture(60)["frame"] for person in people}
        figures = watch(people)
        for person in people:
            assert person.wait_for_picture()["frame"] > first[person.name]
            assert figures[person.name]["audio_packetsReceived"] > 0
            assert figures[person.name]["audio_totalAudioEnergy"] > 0
        owner.click_lands(0.31, 0.42, seconds=30)
        stock.click_lands(0.62, 0.57, seconds=30)
        assert not owner.errors
        assert not stock.errors
    finally:
        stock.close()
        network.quality()
    record(pytestconfig.rootpath, f"loss_{loss:.0%}_rtt_{ROUND_TRIP_MS}ms", figures)
