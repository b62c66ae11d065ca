"""WebKit as Debian has it: WebKitGTK, driven by its own WebDriver in a window that nobody sees (Xvfb)."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.demo.processes import free_port

from .viewer import ScenarioError

_START_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
_END_SECONDS = 10.0
# What the WebDriver standard calls an element.
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def missing() -> str | None:
    """Why WebKit cannot be used here; None when it can."""
    wanted = {"WebKitWebDriver": "webkit2gtk-driver", "Xvfb": "xvfb"}
    absent = [package for program, package in wanted.items() if shutil.which(program) is None]
    return f"WebKit is not installed (as root: apt install {' '.join(absent)})" if absent else None


class WebKit:
    """One window of one browser with a profile of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = ""

    def command(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One WebDriver command of this session and its value."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_SECONDS)
        try:
            payload = json.dumps(body or {}) if method == "POST" else None
            connection.request(method, f"{self._session}{path}", payload, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        if answer.status != 200:
            raise ScenarioError(f"{method} {path}: {value['error']}: {value['message']}")
        return value

    def begin(self) -> None:
        answer = self.command("POST", "/session", {"capabilities": {"alwaysMatch": {}}})
        self._session = f"/session/{answer['sessionId']}"

    def end(self) -> None:
        if self._session:
            self.command("DELETE", "")

    def goto(self, url: str) -> None:
        self.command("POST", "/url", {"url": url})

    def run(self, script: str, *values: Any) -> Any:
        """The value of a function body, whose ``arguments`` are ``values``; a promise is waited for."""
        return self.command("POST", "/execute/sync", {"script": script, "args": list(values)})

    def resize(self, width: int, height: int) -> tuple[int, int]:
        """Make the page (not its window) so big, as far as the window goes; how big it is then."""
        for _ in range(2):
            inner = self.run("return [innerWidth, innerHeight]")
            rect = self.command("GET", "/window/rect")
            wanted = {
                "width": rect["width"] + width - inner[0],
                "height": rect["height"] + height - inner[1],
            }
            self.command("POST", "/window/rect", wanted)
        got = self.run("return [innerWidth, innerHeight]")
        return got[0], got[1]

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # WebKit takes it with the next frame, and a page that stands still draws none.
        self.run(
            "let count = 0; const {style} = document.documentElement;"
            "window.redrawing = setInterval(() => { style.opacity = count++ % 2 ? '0.999' : ''; }, 50)"
        )
        path.write_bytes(base64.b64decode(self.command("GET", "/screenshot")))
        self.run("clearInterval(window.redrawing); document.documentElement.style.opacity = ''")

    def eventually(self, what: str, look: Callable[[], Any], seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise ScenarioError(f"WebKit: {what}: not within {seconds:g} s; the page says: {self.text()[:500]!r}")
            time.sleep(0.05)
        return seen

    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def wait(self, testid: str, seconds: float = 30.0) -> str:
        """Until the element is on show; its selector."""
        selector = f"[data-testid='{testid}']"
        shown = "const e = document.querySelector(arguments[0]); return e !== null && e.getClientRects().length > 0"
        self.eventually(testid, lambda: self.run(shown, selector), seconds)
        return selector

    def element(self, selector: str) -> str:
        found = self.command("POST", "/element", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])

    def click(self, selector: str) -> None:
        """As a person does: with a real press, on what was scrolled to where nothing sticky covers it."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        self.command("POST", f"/element/{self.element(selector)}/click")

    def write(self, selector: str, text: str) -> None:
        self.command("POST", f"/element/{self.element(selector)}/value", {"text": text})

    def choose(self, selector: str, value: str) -> None:
        """An entry of a list, by its value."""
        self.click(f"{selector} option[value='{value}']")

    def press(self, key: str) -> None:
        """A key, where the focus is; the WebDriver standard says which code each has."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.command("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def settle(self) -> None:
        """Until what moves to an end has done so: what fades in has no contrast yet."""
        self.run(
            "const passing = document.getAnimations().filter(({effect}) => effect.getComputedTiming().endTime < 10000);"
            "return Promise.all(passing.map(({finished}) => finished.then(() => null, () => null)))"
        )


@contextmanager
def running_webkit(directory: Path, *, width: int = 1280, height: int = 900) -> Iterator[WebKit]:
    """A browser in a screen of its own; nothing of it is left afterwards. ``directory`` takes its profile and logs."""
    with _screen(directory, width, height) as display, _driver(directory, display) as port:
        webkit = WebKit(port)
        try:
            webkit.begin()
            yield webkit
        finally:
            webkit.end()


@contextmanager
def _screen(directory: Path, width: int, height: int) -> Iterator[str]:
    """A display that only exists in memory; its name."""
    reads, writes = os.pipe()
    size = f"{width}x{height}x24"
    command = ["Xvfb", "-displayfd", str(writes), "-screen", "0", size, "-nolisten", "tcp", "-noreset"]
    try:
        with (
            (directory / "xvfb.log").open("wb") as log,
            _ended(subprocess.Popen(command, stdout=log, stderr=log, pass_fds=(writes,))),
        ):
            os.close(writes)
            writes = -1
            # Nothing comes when it ends at once.
            number = os.read(reads, 16).decode().strip()
            if not number:
                raise ScenarioError(f"Xvfb did not start: {(directory / 'xvfb.log').read_text()}")
            yield f":{number}"
    finally:
        os.close(reads)
        if writes >= 0:
            os.close(writes)


@contextmanager
def _driver(directory: Path, display: str) -> Iterator[int]:
    """WebKit's WebDriver on the loopback; its port."""
    port, home = free_port("127.0.0.1"), directory / "home"
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "DISPLAY": display,
        "GDK_BACKEND": "x11",
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "LANG": "C.UTF-8",
        # There is neither a graphics card nor, in containers, a way to make a sandbox.
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "WEBKIT_DISABLE_DMABUF_RENDERER": "1",
        "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
    }
    command = ["WebKitWebDriver", "--host=127.0.0.1", f"--port={port}"]
    log = directory / "webkit.log"
    with (
        log.open("wb") as output,
        _ended(subprocess.Popen(command, env=environment, stdout=output, stderr=output)) as process,
    ):
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ScenarioError(f"WebKitWebDriver did not start: {log.read_text()}")
            time.sleep(0.05)
        yield port


def _is_ready(port: int) -> bool:
    try:
        return bool(WebKit(port).command("GET", "/status")["ready"])
    except (OSError, http.client.HTTPException):
        return False


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which is gone afterwards."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
