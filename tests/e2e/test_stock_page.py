"""Epic's stock player page, built from Epic's packages without a change, plays and controls a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from runtime.demo.stack import DemoOptions

from .stage import Stage
from .stock_page import open_stock_page
from .viewer import Viewer


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, stock_page: str) -> Iterator[Stage]:
    """A demo whose operator has put the page's origin on the list."""
    options = DemoOptions(
        directory=tmp_path_factory.mktemp("demo"), coordinator={"allowed_origins": [stock_page.rstrip("/")]}
    )
    with Stage(options) as running:
        yield running


@pytest.fixture
def watched(stage: Stage, browser: Browser) -> Iterator[tuple[Viewer, str]]:
    """An owner in our own player, and the session's id."""
    owner = Viewer(browser, stage.url, "owner")
    owner.open_catalogue()
    session_id = owner.start("sample")
    owner.wait_for_picture(60)
    yield owner, session_id
    owner.api_delete(f"/api/v1/sessions/{session_id}")
    owner.close()


@pytest.mark.parametrize("page_offers", [False, True], ids=["relay offers", "page offers"])
def test_the_stock_page_plays_and_controls(
    browser: Browser, watched: tuple[Viewer, str], stock_page: str, screens: Path, page_offers: bool
) -> None:
    owner, session_id = watched
    stock = open_stock_page(browser, stock_page, owner, session_id, BrowserSendOffer=str(page_offers).lower())
    try:
        first = stock.wait_for_picture(30)
        stock.eventually("advancing frames", stock.marker, lambda r: bool(r) and r["frame"] > first["frame"] + 30)
        # The token is the owner's, who holds control, so this page controls too.
        stock.click_lands(0.4, 0.45)
        owner.eventually(
            "the stock page's click in the owner's picture",
            owner.marker,
            lambda r: bool(r) and abs(r["clickX"] / 65536 - 0.4) < 0.02,
        )
        stock.screenshot(screens / "stock-page.png")
        assert not stock.errors
    finally:
        stock.close()
