"""A real browser connects to ``--listen``: what it decodes is what the marker says, and its input arrives."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from runtime.demo.processes import free_port
from tests.support.streamer_peer import StartStreamer
from tests.support.waiting import until

pytestmark = pytest.mark.browser
CHROMIUM = Path("/usr/bin/chromium")
MARKER_JS = Path(__file__).resolve().parents[2] / "support" / "marker.js"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
READ = "pixelstreamMarker.readVideo(document.querySelector('video'))"
RECEIVED = """async () => {
  let level = 0, frames = 0;
  for (const entry of (await window.peer.getStats()).values()) {
    if (entry.type !== "inbound-rtp") continue;
    if (entry.kind === "audio") level = entry.audioLevel ?? 0;
    if (entry.kind === "video") frames = entry.framesDecoded ?? 0;
  }
  return { level, frames };
}"""


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    if not CHROMIUM.exists():
        pytest.skip("there is no Chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield await browser.new_page(viewport={"width": 960, "height": 540})
        await browser.close()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


async def sees_and_hears(page: Page) -> bool:
    received: dict[str, float] = await page.evaluate(RECEIVED)
    return received["level"] > 0.005 and received["frames"] > 30


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_a_browser_sees_hears_and_controls(codec: str, start: StartStreamer, page: Page) -> None:
    port = free_port("127.0.0.1")
    await start("--listen", f"127.0.0.1:{port}", "--codec", codec, "--size", "960x540", url=None)
    await until(lambda: _answers(f"http://127.0.0.1:{port}/"), "the page is served")
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"http://127.0.0.1:{port}/")
    await page.add_script_tag(path=MARKER_JS)
    await page.wait_for_function("document.querySelector('video').videoWidth === 960")
    await page.evaluate("document.querySelector('video').muted = false")
    first: dict[str, Any] = await (await page.wait_for_function(READ)).json_value()
    await page.wait_for_function(f"{READ}?.frame > {first['frame'] + 30}")
    await page.mouse.click(240, 135)
    await page.keyboard.press("a")
    await page.wait_for_function(f"{READ}?.keys === 1")
    reading: dict[str, Any] = await page.evaluate(READ)
    assert abs(reading["clickX"] / 65536 - 0.25) < 0.002
    assert abs(reading["clickY"] / 65536 - 0.25) < 0.002
    # Not page.wait_for_function, which takes a promise for true.
    await until(lambda: sees_and_hears(page), "sound and a second of pictures")
    assert not errors
