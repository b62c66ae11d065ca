"""The quality menu of Epic's unmodified page: with a simulcast streamer it chooses the layer that this page is sent."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from runtime.demo.stack import DemoOptions

from .stage import Stage
from .stock_page import open_stock_page
from .viewer import SUPPORT, Viewer

TITLE = "browser"
# Name, divisor of width and height, bits per second at most: far enough apart to tell whose octets a page was sent.
LAYERS = [["high", 1, 1_500_000], ["middle", 2, 250_000], ["low", 4, 60_000]]
# By the menu's names: the layer, and the width of its picture.
CHOICES = {"High": ("high", 960), "Medium": ("middle", 480), "Low": ("low", 240)}
PICTURES = 50
ATTEMPTS = 5
TOLERANCE = 1.5
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, stock_page: str) -> Iterator[Stage]:
    """A demo with a title that does not stream by itself: the test's browser does."""
    directory = tmp_path_factory.mktemp("layers")
    program = directory / "titles" / "idle"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep infinity\n")
    program.chmod(0o755)

    def registry(content: dict[str, Any]) -> None:
        (host,) = content["session_servers"]
        host["titles"][TITLE] = {"executable": str(program), "build": "sample"}
        content["titles"].append({"name": TITLE, "launch": {"arguments": [], "width": 960, "height": 540}})

    options = DemoOptions(
        directory=directory / "demo",
        registry=registry,
        coordinator={"allowed_origins": [stock_page.rstrip("/")]},
        session_server={"title_roots": [str(program.parent)]},
    )
    with Stage(options) as running:
        yield running


def _stream(page: Page, stage: Stage, session_id: str) -> None:
    """Become the session's streamer: a browser that sends three layers."""
    sessions = stage.stack.directory / "host" / "sessions"
    (ready,) = (sessions / session_id).glob("relay-*/ready.json")
    secret = json.loads((ready.parent / "config.json").read_text())["streamer_secret"]
    port = json.loads(ready.read_text())["private_port"]
    page.add_script_tag(path=SUPPORT / "media_page.js")
    page.evaluate("([url, layers]) => stream(url, 'VP8', layers)", [f"ws://127.0.0.1:{port}/streamer/{secret}", LAYERS])


def _is_up(stage: Stage, session_id: str) -> bool:
    place: Path = stage.stack.directory / "host" / "sessions" / session_id
    return any(place.glob("relay-*/ready.json"))


def _octets_sent(streamer: Viewer) -> dict[str, int]:
    """What the streamer has sent of each layer, without headers and padding (webrtc-stats)."""
    found: dict[str, int] = streamer.page.evaluate("""async () => {
        const layers = {};
        (await connection.getStats()).forEach((s) => {
            if (s.type === 'outbound-rtp' && s.rid) layers[s.rid] = s.bytesSent;
        });
        return layers;
    }""")
    return found


def _shares(stock: Viewer, streamer: Viewer) -> dict[str, float]:
    """Of each layer: the octets that the page received in the time in which the streamer sent one of it.

    Layers of one time are compared, because what an encoder spends on a picture depends on the machine's load.
    """
    sent_before, before = _octets_sent(streamer), stock.video_stats()
    after = stock.eventually(
        "more pictures",
        stock.video_stats,
        lambda now: now["framesReceived"] >= before["framesReceived"] + PICTURES,
        seconds=PATIENCE_SECONDS,
    )
    received = after["bytesReceived"] - before["bytesReceived"]
    return {rid: received / (octets - sent_before[rid]) for rid, octets in _octets_sent(streamer).items()}


def _nearest(shares: dict[str, float]) -> str:
    return min(shares, key=lambda rid: abs(math.log(shares[rid])))


@pytest.mark.timeout(300)
def test_the_stock_page_chooses_a_layer(
    stage: Stage, browsers: tuple[Browser, Browser], stock_page: str, screens: Path
) -> None:
    owner, streamer = Viewer(browsers[0], stage.url, "owner"), Viewer(browsers[1], stage.url, "streamer")
    owner.open_catalogue()
    session_id = owner.start(TITLE)
    stock: Viewer | None = None
    try:
        owner.eventually("a relay", lambda: _is_up(stage, session_id), seconds=PATIENCE_SECONDS)
        streamer.page.goto(f"{stock_page}no-page-of-its-own")
        _stream(streamer.page, stage, session_id)
        owner.eventually("a picture in our player", owner.frames_decoded, seconds=PATIENCE_SECONDS)
        stock = open_stock_page(browsers[0], stock_page, owner, session_id)

        def width() -> int:
            return int((stock.inbound()["video"] or {}).get("frameWidth", 0))

        best = CHOICES["High"][1]
        stock.eventually("the best layer", width, lambda seen: seen == best, seconds=PATIENCE_SECONDS)
        stock.page.locator("#settingsBtn").click()
        menu = stock.page.locator("#PreferredQuality select")
        for choice in ("Low", "Medium", "High"):
            menu.select_option(choice)
            layer, its_width = CHOICES[choice]
            stock.eventually(choice, width, lambda seen, w=its_width: seen == w, seconds=PATIENCE_SECONDS)
            # More than what was chosen never comes; less may for a while, if the page takes its link for a bad one.
            shares: list[dict[str, float]] = []
            while not shares or _nearest(shares[-1]) != layer:
                assert len(shares) < ATTEMPTS, (choice, shares)
                shares.append(_shares(stock, streamer))
                assert shares[-1][layer] < TOLERANCE, (choice, shares)
            # The choice is that page's own.
            owner.eventually("the best layer", owner.video_stats, lambda seen: seen["frameWidth"] == best)
            stock.screenshot(screens / f"stock-page-{choice.lower()}.png")
        assert not stock.errors
    finally:
        if stock is not None:
            stock.close()
        streamer.close()
        owner.api_delete(f"/api/v1/sessions/{session_id}")
        owner.close()
