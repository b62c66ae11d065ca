"""One person's browser, as the scenarios speak of it. Playwright's sync interface, the distribution's Chromium."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

T = TypeVar("T")
SUPPORT = Path(__file__).resolve().parents[1] / "support"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Two windows share two cores here; a hidden one must not be slowed.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    # Voice tests use a microphone that beeps.
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


class ScenarioError(AssertionError):
    """What was expected did not happen in time; the text says what was seen instead."""


def chromium_path() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def launch(playwright: Playwright, *, throttled_autoplay: bool = True) -> Browser:
    """A headless Chromium. ``throttled_autoplay`` False lets sound play before any click."""
    path = chromium_path()
    if path is None:
        raise ScenarioError("No Chromium is installed: as root, apt install chromium.")
    extra = [] if throttled_autoplay else ["--autoplay-policy=no-user-gesture-required"]
    return playwright.chromium.launch(executable_path=path, args=[*CHROMIUM_ARGUMENTS, *extra])


def eventually(
    page: Page, what: str, look: Callable[[], T], good: Callable[[T], bool] = bool, *, seconds: float = 15.0
) -> T:
    """``look`` until ``good``; raise :class:`ScenarioError` with the last thing seen."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if good(seen):
            return seen
        if time.monotonic() > deadline:
            raise ScenarioError(f"{what}: not within {seconds:g} s; last seen: {seen!r}")
        page.wait_for_timeout(50)


class Viewer:
    """A page with its own cookies; ``name`` is how the scenario calls the person."""

    def __init__(self, browser: Browser, base_url: str, name: str, *, video: str | None = None, **context: Any) -> None:
        """``video`` selects the picture on pages that are not ours; ``context`` goes to Playwright's new context."""
        self.name = name
        self.base_url = base_url.rstrip("/")
        options: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"}
        self.context: BrowserContext = browser.new_context(**{**options, **context})
        for script in ("marker.js", "probe.js"):
            self.context.add_init_script(path=SUPPORT / script)
        if video is not None:
            self.context.add_init_script(f"globalThis.pixelstreamVideo = {json.dumps(video)};")
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.set_default_timeout(15_000)

    def close(self) -> None:
        self.context.close()

    def seen(self, testid: str) -> Any:
        return self.page.get_by_test_id(testid)

    def eventually(
        self, what: str, look: Callable[[], T], good: Callable[[T], bool] = bool, *, seconds: float = 15.0
    ) -> T:
        return eventually(self.page, f"{self.name}: {what}", look, good, seconds=seconds)

    # The catalogue and the start

    def open_catalogue(self) -> None:
        self.page.goto(self.base_url + "/")
        self.seen("titles").wait_for()

    def start(self, title: str) -> str:
        """Click the title's start button; answers the session's id once its page is there."""
        self.seen(f"title-card-{title}").get_by_test_id("start-button").click()
        self.page.wait_for_url("**/session/*")
        return self.page.url.split("/session/")[1].split("?")[0].split("#")[0]

    # The picture

    def state(self) -> dict[str, Any]:
        """``window.pixelstream``: what the page knows of itself, for tests."""
        return self.page.evaluate("() => JSON.parse(JSON.stringify(window.pixelstream ?? {}))")

    def frames_decoded(self) -> int:
        return int(
            self.page.evaluate("() => pixelstreamProbe.video()?.getVideoPlaybackQuality?.().totalVideoFrames ?? 0")
        )

    def marker(self) -> dict[str, Any] | None:
        """What the sample title wrote into the frame on screen, and when it was read (epoch ms)."""
        return self.page.evaluate(
            """() => {
              const video = pixelstreamProbe.video();
              if (!video || !video.videoWidth) return null;
              const reading = window.pixelstreamMarker.readVideo(video);
              return reading && {...reading, readMs: Date.now()};
            }"""
        )

    def wait_for_picture(self, seconds: float = 40.0) -> dict[str, Any]:
        return self.eventually("a readable frame", self.marker, seconds=seconds) or {}

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Page coordinates of a place in the picture given as fractions, letterboxing considered."""
        look = """() => {
          const video = pixelstreamProbe.video();
          const r = video.getBoundingClientRect();
          return {x: r.x, y: r.y, w: r.width, h: r.height, vw: video.videoWidth, vh: video.videoHeight};
        }"""
        # Between two connections a page has a video without a picture.
        box = self.eventually("a picture", lambda: self.page.evaluate(look), lambda seen: seen["vw"] > 0, seconds=4)
        scale = min(box["w"] / box["vw"], box["h"] / box["vh"])
        width, height = box["vw"] * scale, box["vh"] * scale
        return (
            box["x"] + (box["w"] - width) / 2 + x * width,
            box["y"] + (box["h"] - height) / 2 + y * height,
        )

    def click_picture(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.point(x, y))

    def click_lands(self, x: float, y: float, *, seconds: float = 10.0) -> dict[str, Any]:
        """Click and wait until the picture shows the press at that spot."""
        before = self.marker() or {}
        self.click_picture(x, y)

        def landed(reading: dict[str, Any] | None) -> bool:
            if not reading or reading["inputs"] == before.get("inputs"):
                return False
            return math.dist((reading["clickX"] / 65536, reading["clickY"] / 65536), (x, y)) < 0.02

        return self.eventually(f"a click at {x:.2f},{y:.2f} in the picture", self.marker, landed, seconds=seconds) or {}

    def click_is_drawn(self, x: float, y: float) -> None:
        """Click and wait until the pixels around that spot are others: the ring and the cross of the sample title."""
        look = "([x, y]) => pixelstreamProbe.spot(x, y)"
        before = self.page.evaluate(look, [x, y])
        self.click_picture(x, y)

        def changed() -> float:
            pairs = zip(before, self.page.evaluate(look, [x, y]), strict=True)
            return sum(abs(old - new) > 40 for old, new in pairs) / len(before)

        self.eventually(f"other pixels at {x:.2f},{y:.2f}", changed, lambda part: part > 0.02)

    def control_latency(self) -> float | None:
        """Milliseconds from a press in the page to the frame that shows it; None when none did within 3 s."""
        waiting = self.page.evaluate_handle("() => ({promise: pixelstreamProbe.untilInput(3000)})")
        self.click_picture(0.5, 0.4)
        delay = self.page.evaluate("(waiting) => waiting.promise", waiting)
        self.page.wait_for_timeout(100)
        return None if delay is None else float(delay)

    def unmute(self) -> None:
        button = self.seen("tap-for-sound")
        if button.is_visible():
            button.click()

    def inbound(self) -> dict[str, Any]:
        """The browser's own ``inbound-rtp`` statistics, ``{"video": ..., "audio": ...}``."""
        return self.page.evaluate("() => pixelstreamProbe.inbound()")

    def video_stats(self) -> dict[str, Any]:
        return self.eventually("video statistics", lambda: self.inbound()["video"]) or {}

    def probe(self) -> dict[str, Any]:
        """Epoch milliseconds: ``firstFrameMs``, ``startedMs`` (the last click that began a start or a join), ``dtlsMs``
        (from when on media could come)."""
        return self.page.evaluate("() => pixelstreamProbe.state")

    @contextmanager
    def recording(self) -> Iterator[dict[str, Any]]:
        """Collect the presses and key counts that the picture shows meanwhile; filled in at the end."""
        stop = self.page.evaluate_handle("() => pixelstreamProbe.record()")
        seen: dict[str, Any] = {}
        yield seen
        seen.update(self.page.evaluate("(stop) => stop()", stop))

    def api_get(self, path: str) -> Any:
        answer = self.context.request.get(self.base_url + path)
        if not answer.ok:
            raise ScenarioError(f"GET {path}: {answer.status} {answer.text()[:300]}")
        return answer.json()

    def _write(self, method: str, path: str, body: Any) -> Any:
        token = self.api_get("/api/v1/me")["csrf_token"]
        answer = self.context.request.fetch(
            self.base_url + path, method=method, data=body, headers={"X-CSRF-Token": token, "Origin": self.base_url}
        )
        if not answer.ok:
            raise ScenarioError(f"{method} {path}: {answer.status} {answer.text()[:300]}")
        return answer.json() if answer.text() else None

    def api_post(self, path: str, body: Any) -> Any:
        return self._write("POST", path, body)

    def api_delete(self, path: str) -> Any:
        return self._write("DELETE", path, None)

    # People

    def participants(self) -> int:
        return self.seen("people-list").locator("[data-testid^=participant-]").count()

    def press_tool(self, tool: str) -> None:
        """A toolbar button; the bar rests until the pointer moves."""
        self.page.mouse.move(640, 12)
        self.page.mouse.move(640, 8)
        self.seen(f"{tool}-button").click()

    def open_people(self) -> None:
        if not self.seen("people-list").is_visible():
            self.press_tool("people")
            self.seen("people-list").wait_for()

    def open_chat(self) -> None:
        if not self.seen("chat-input").is_visible():
            self.press_tool("chat")
            self.seen("chat-input").wait_for()

    def close_panel(self) -> None:
        button = self.seen("close-panel")
        if button.count() and button.first.is_visible():
            button.first.click()

    def invite_link(self, role: str) -> str:
        """Make an invitation by the dialog and answer its link."""
        self.press_tool("invite")
        self.seen(f"invite-role-{role}").check(force=True)
        self.seen("create-invite").click()
        field = self.seen("invite-link")
        field.wait_for()
        link = str(field.input_value())
        self.page.keyboard.press("Escape")
        return link

    def enter(self, name: str | None = None) -> None:
        """Through the invitation's page into the session."""
        self.seen("join-page").wait_for()
        if name:
            self.seen("join-name").fill(name)
        self.seen("join-button").click()
        self.page.wait_for_url("**/session/*")

    def ask_for_control(self) -> None:
        self.close_panel()
        self.page.mouse.move(640, 8)
        self.seen("ask-control").click()

    def grant_control(self) -> None:
        self.seen("grant-control").first.click()

    def has_control(self) -> bool:
        return self.seen("player").get_attribute("data-control") == "you"

    def say(self, text: str) -> None:
        self.open_chat()
        self.seen("chat-input").fill(text)
        self.seen("chat-input").press("Enter")

    def chat_log(self) -> str:
        self.open_chat()
        return str(self.seen("chat-log").inner_text())

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path))


@contextmanager
def viewers(browser: Browser, base_url: str, *names: str, **context: Any) -> Iterator[list[Viewer]]:
    """One page per name, closed at the end."""
    people = [Viewer(browser, base_url, name, **context) for name in names]
    try:
        yield people
    finally:
        for person in people:
            person.close()
