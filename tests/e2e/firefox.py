"""The distribution's own Firefox, driven by WebDriver BiDi: Playwright speaks only to a Firefox of its own making."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

from .viewer import SUPPORT, ScenarioError

_START_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
_MARKER = (
    "(() => { const v = pixelstreamProbe.video(); return v?.videoWidth ? pixelstreamMarker.readVideo(v) : null; })()"
)
_PREFERENCES = {
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "media.gmp-manager.updateEnabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
}


def firefox_path() -> str | None:
    return shutil.which("firefox-esr") or shutil.which("firefox")


class Firefox:
    """One running browser. Pages are made by :meth:`page`."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer; events in between are not listened to."""
        number = next(self._numbers)
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        async with asyncio.timeout(_ANSWER_SECONDS):
            while (text := await self._socket.read_message()) is not None:
                answer = json.loads(text)
                if answer.get("id") != number:
                    continue
                if answer["type"] == "error":
                    raise ScenarioError(f"{method}: {answer['error']}: {answer['message']}")
                return dict(answer["result"])
        raise ScenarioError(f"{method}: Firefox is gone")

    async def page(self, url: str, *, video: str | None = None) -> FirefoxPage:
        context = (await self.command("browsingContext.create", type="tab"))["context"]
        scripts = [(SUPPORT / name).read_text() for name in ("marker.js", "probe.js")]
        if video is not None:
            scripts.append(f"globalThis.pixelstreamVideo = {json.dumps(video)};")
        for script in scripts:
            wrapped = f"() => {{ {script} }}"
            await self.command("script.addPreloadScript", functionDeclaration=wrapped, contexts=[context])
        await self.command("browsingContext.navigate", context=context, url=url, wait="complete")
        return FirefoxPage(self, context)


class FirefoxPage:
    """A tab, as far as the tests need it."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox, self._context = firefox, context

    async def run(self, expression: str) -> Any:
        """The JSON-able value of an expression; promises are waited for."""
        answer = await self._firefox.command(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self._context},
            awaitPromise=True,
        )
        if answer["type"] != "success":
            raise ScenarioError(f"{expression[:80]}: {answer['exceptionDetails']['text']}")
        result = answer["result"]
        return json.loads(result["value"]) if result["type"] == "string" else None

    async def close(self) -> None:
        await self._firefox.command("browsingContext.close", context=self._context)

    async def eventually(
        self, what: str, expression: str, good: Callable[[Any], Any] = bool, *, seconds: float = 60.0
    ) -> Any:
        deadline = time.monotonic() + seconds
        while not good(seen := await self.run(expression)):
            if time.monotonic() > deadline:
                raise ScenarioError(f"Firefox: {what}: not within {seconds:g} s; last seen: {seen!r}")
            await asyncio.sleep(0.05)
        return seen

    async def marker(self, good: Callable[[Any], Any] = bool, what: str = "a readable frame") -> Any:
        """What the sample title wrote into the picture, once it is ``good``."""
        return await self.eventually(what, _MARKER, lambda reading: reading and good(reading))

    async def click(self, x: float, y: float) -> None:
        """A press at page coordinates, from the browser's own input."""
        moves: list[dict[str, Any]] = [
            {"type": "pointerMove", "x": round(x), "y": round(y)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": moves}
        await self._firefox.command("input.performActions", context=self._context, actions=[mouse])

    async def click_lands(self, x: float, y: float) -> None:
        """Click at a place of the picture until the picture shows it there."""
        box = await self.run(
            "(() => { const v = pixelstreamProbe.video(), r = v.getBoundingClientRect();"
            " return [r.x, r.y, r.width, r.height, v.videoWidth, v.videoHeight]; })()"
        )
        left, top, width, height, wide, high = box
        scale = min(width / wide, height / high)
        at = left + (width - wide * scale) / 2 + x * wide * scale, top + (height - high * scale) / 2 + y * high * scale

        def landed(reading: Any) -> bool:
            return math.dist((reading["clickX"] / 65536, reading["clickY"] / 65536), (x, y)) < 0.02

        for _ in range(10):
            await self.click(*at)
            try:
                await self.eventually("the click", _MARKER, lambda r: r and landed(r), seconds=4)
            except ScenarioError:
                continue
            return
        raise ScenarioError(f"Firefox: no click at {x:.2f},{y:.2f} reached the picture")


@asynccontextmanager
async def running_firefox(profile: Path) -> AsyncIterator[Firefox]:
    """A headless Firefox with a profile of its own; nothing of it is left afterwards."""
    path = firefox_path()
    if path is None:
        raise ScenarioError("No Firefox is installed: as root, apt install firefox-esr.")
    profile.mkdir(parents=True)
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in _PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines) + "\n")
    with (profile.parent / "firefox.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            path, "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(profile),
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        socket = await websocket_connect(f"ws://127.0.0.1:{await _port(profile, process)}/session")
        firefox = Firefox(socket)
        await firefox.command("session.new", capabilities={})
        try:
            yield firefox
        finally:
            socket.close()
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _ANSWER_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _port(profile: Path, process: asyncio.subprocess.Process) -> int:
    told = profile / "WebDriverBiDiServer.json"
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return int(json.loads(told.read_text())["ws_port"])
        except (OSError, ValueError, KeyError):
            if process.returncode is not None or time.monotonic() > deadline:
                raise ScenarioError(f"Firefox did not start: {(profile.parent / 'firefox.log').read_text()}") from None
            await asyncio.sleep(0.1)
