"""Another engine: the distribution's Firefox with our player and with Epic's stock page."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runtime.demo.stack import DemoOptions
from tests.security.people import Person

from .firefox import FirefoxPage, firefox_path, running_firefox
from .stage import Stage

# Firefox fetches its H.264 decoder from its makers at run time; VP8 it has.
TITLE = "sample-vp8"
_LONGEST_SECONDS = 220.0
_CONTROL = "document.querySelector('[data-testid=player]')?.dataset.control"

pytestmark = pytest.mark.skipif(firefox_path() is None, reason="no Firefox is installed (apt install firefox-esr)")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, stock_page: str) -> Iterator[Stage]:
    options = DemoOptions(
        directory=tmp_path_factory.mktemp("demo"), coordinator={"allowed_origins": [stock_page.rstrip("/")]}
    )
    with Stage(options) as running:
        yield running
    assert running.stack.leftovers() == ([], [])


async def _plays(page: FirefoxPage) -> None:
    """The picture moves on and sound comes in."""
    first = await page.marker()
    await page.marker(lambda reading: reading["frame"] > first["frame"] + 30, "advancing frames")
    statistics: dict[str, Any] = await page.eventually(
        "sound", "pixelstreamProbe.inbound()", lambda seen: seen["audio"]
    )
    assert statistics["audio"]["packetsReceived"] > 0


@pytest.mark.timeout(240)
def test_firefox_plays_and_controls_in_both_pages(stage: Stage, stock_page: str, tmp_path: Path) -> None:
    # In a thread, because Playwright's event loop is at home in this one.
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(asyncio.run, _both_pages(stage, stock_page, tmp_path)).result(_LONGEST_SECONDS)
    assert ended == 202


async def _both_pages(stage: Stage, stock_page: str, tmp_path: Path) -> int:
    """The status with which the session's end was accepted, after both pages have played and controlled it."""
    owner = Person(stage.url)
    session_id = owner.start(TITLE)
    ticket = owner.join(session_id, name="Stock")
    async with running_firefox(tmp_path / "profile") as firefox:
        # The one who started the session comes back in this browser.
        cookie = {"type": "string", "value": owner.cookies["viewer"]}
        where = {"name": "viewer", "value": cookie, "domain": "127.0.0.1", "path": "/"}
        await firefox.command("storage.setCookie", cookie=where)
        ours = await firefox.page(f"{stage.url}/session/{session_id}")
        await _plays(ours)
        await ours.eventually("control", _CONTROL, lambda control: control == "you")
        await ours.click_lands(0.31, 0.42)
        await ours.close()
        ss = urllib.parse.quote(f"{ticket['player_url']}?token={ticket['token']}", safe="")
        settings = "AutoConnect=true&AutoPlayVideo=true&StartVideoMuted=true&HoveringMouse=true"
        stock = await firefox.page(f"{stock_page}?ss={ss}&{settings}", video="video")
        await _plays(stock)
        await stock.click_lands(0.62, 0.57)
    return owner.ask("DELETE", f"/api/v1/sessions/{session_id}").status
