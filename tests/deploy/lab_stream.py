"""Two browsers in one session of a deployed lab, optionally while something happens to it.

    python -m tests.deploy.lab_stream --name play.lab.test --address 10.213.88.11 [--title sample] \
        [-- COMMAND ... [--then COMMAND ...]...]

The owner starts the title from the catalogue, a guest joins by link, both see the same picture move, the owner's click
lands in it. With a COMMAND (an update, say) the two go on watching until it ends, and requests are made meanwhile; with
several, through one after the other. Prints one JSON line; exit 0 when everything held. Times are told, never judged.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Error, Playwright, sync_playwright

from tests.e2e.viewer import CHROMIUM_ARGUMENTS, ScenarioError, Viewer, chromium_path

COMMAND_SECONDS = 570.0
REQUEST_INTERVAL_SECONDS = 0.05
# Gaps between presented frames, recorded in the page.
RECORD_GAPS = """() => {
  const video = pixelstreamProbe.video();
  const seen = globalThis.labGaps = {frames: 0, longestMs: 0, elements: 1};
  let last = performance.now();
  const look = (now) => {
    seen.frames += 1;
    seen.longestMs = Math.max(seen.longestMs, now - last);
    last = now;
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}"""


@dataclass
class Load:
    """Requests to the coordinator, one after the other. A refusal is an answer; silence or 5xx is not."""

    address: str
    name: str
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(REQUEST_INTERVAL_SECONDS):
            # Without a token a POST is refused with 403: it reaches a coordinator and changes nothing.
            method, path = (("GET", "/api/v1/titles"), ("POST", "/api/v1/sessions"))[self.requests % 2]
            self.requests += 1
            try:
                status = self._ask(method, path)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{method} {path}: {error!r}")
                continue
            if status >= 500:
                self.failures.append(f"{method} {path}: {status}")

    def _ask(self, method: str, path: str) -> int:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the certificate is another test's matter
        with (
            socket.create_connection((self.address, 443), timeout=15) as plain,
            context.wrap_socket(plain, server_hostname=self.name) as secure,
        ):
            connection = http.client.HTTPConnection(self.name, timeout=15)
            connection.sock = secure
            body = b"{}" if method == "POST" else None
            connection.request(method, path, body=body, headers={"Connection": "close"})
            answer = connection.getresponse()
            answer.read()
            return answer.status


def launch(playwright: Playwright, name: str, address: str) -> Browser:
    """A Chromium for which ``name`` is at ``address``."""
    path = chromium_path()
    if path is None:
        raise ScenarioError("No Chromium is installed: as root, apt install chromium.")
    return playwright.chromium.launch(
        executable_path=path, args=[*CHROMIUM_ARGUMENTS, f"--host-resolver-rules=MAP {name} {address}"]
    )


def call(person: Viewer, method: str, path: str, headers: dict[str, str] | None = None) -> Any:
    """Ask the API from the page itself: only the browser knows the lab's names."""
    status, text = person.page.evaluate(
        """async ([path, options]) => { const r = await fetch(path, options); return [r.status, await r.text()]; }""",
        [path, {"method": method, "headers": headers or {}}],
    )
    if status >= 400:
        raise ScenarioError(f"{method} {path}: {status} {text[:200]}")
    return json.loads(text) if text else None


class Session:
    """Owner and guest of one session."""

    def __init__(self, browser: Browser, name: str, address: str, title: str) -> None:
        self.name, self.address, self.title = name, address, title
        self.owner = Viewer(browser, f"https://{name}", "owner", ignore_https_errors=True)
        self.guest = Viewer(browser, f"https://{name}", "guest", ignore_https_errors=True)
        self.id = ""
        self.connections: dict[str, list[str]] = {}
        for person in (self.owner, self.guest):
            # Machines in containers, two browsers and a title share this one's processors.
            person.page.set_default_timeout(60_000)

    def begin(self) -> None:
        """Both in, both see the picture, the owner's click shows in both."""
        self.owner.open_catalogue()
        self.id = self.owner.start(self.title)
        self.owner.wait_for_picture(90)
        self.owner.click_lands(0.31, 0.42)
        self.guest.page.goto(self.owner.invite_link("watcher"))
        self.guest.enter()
        self.guest.wait_for_picture(60)
        self.owner.click_lands(0.62, 0.57)
        self.guest.eventually(
            "the owner's click",
            self.guest.marker,
            lambda seen: bool(seen) and abs(seen["clickX"] / 65536 - 0.62) < 0.02,
        )

    def record(self) -> None:
        for person in (self.owner, self.guest):
            person.page.evaluate(RECORD_GAPS)
            self.connections[person.name] = person.page.evaluate("() => pixelstreamProbe.connections()")

    def still_good(self) -> dict[str, Any]:
        """Raise unless both still see new frames over the connection they had; answer what was recorded."""
        figures = {}
        for person in (self.owner, self.guest):
            frame = person.wait_for_picture()["frame"]
            person.eventually(
                "the picture to move", person.marker, lambda seen, old=frame: bool(seen) and seen["frame"] > old
            )
            gaps = person.page.evaluate("() => globalThis.labGaps")
            states = person.page.evaluate("() => pixelstreamProbe.connections()")
            if states != self.connections[person.name]:
                raise ScenarioError(f"{person.name}: the stream was set up again: {states}")
            figures[person.name] = {"frames": gaps["frames"], "longest_gap_ms": round(gaps["longestMs"])}
        session = call(self.owner, "GET", f"/api/v1/sessions/{self.id}")
        if session["state"] != "streaming":
            raise ScenarioError(f"the session is {session['state']}: {session.get('reason_text')}")
        self.owner.click_lands(0.44, 0.33)
        return figures

    def end(self) -> None:
        self._delete()
        self.owner.seen("ended-reason").wait_for()

    def _delete(self) -> None:
        token = call(self.owner, "GET", "/api/v1/me")["csrf_token"]
        call(self.owner, "DELETE", f"/api/v1/sessions/{self.id}", {"X-CSRF-Token": token})
        self.id = ""

    def close(self) -> None:
        """Leave nothing behind, whatever happened: the next run needs the slot."""
        if self.id:
            with contextlib.suppress(ScenarioError, Error):
                self._delete()
        self.owner.close()
        self.guest.close()


def watch_while(session: Session, command: list[str], load: Load) -> int:
    """Run ``command`` while both watch and requests are made; answer its exit code. Its output becomes our errors."""
    # By way of a file: Ansible refuses the non-blocking streams that the browser's driver leaves us with.
    output = tempfile.TemporaryFile()  # noqa: SIM115
    load.start()
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + COMMAND_SECONDS
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise ScenarioError(f"{command[0]} did not end within {COMMAND_SECONDS:g} s")
            session.owner.page.wait_for_timeout(200)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(10)
        load.stop()
        output.seek(0)
        print(output.read().decode(errors="replace"), file=sys.stderr)
        output.close()
    return process.returncode


def watched(session: Session, command: list[str], expected_exit: int) -> dict[str, Any]:
    """Figures of one command during which both watched; raises unless both, the requests and the exit code held."""
    session.record()
    load, started = Load(session.address, session.name), time.monotonic()
    code = watch_while(session, command, load)
    seconds = round(time.monotonic() - started, 1)
    figures = {"seconds": seconds, "exit": code, "requests": load.requests, "failed_requests": len(load.failures)}
    what = " ".join(command[-4:])
    if load.failures:
        raise ScenarioError(f"{what}: {len(load.failures)} of {load.requests} requests failed: {load.failures[:3]}")
    if code != expected_exit:
        raise ScenarioError(f"{what} ended with {code}, not {expected_exit}")
    return figures | session.still_good()


def run(options: argparse.Namespace, commands: list[list[str]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = launch(playwright, options.name, options.address)
        session = Session(browser, options.name, options.address, options.title)
        try:
            session.begin()
            result["session"] = session.id
            exits = (
                [int(code) for code in options.expect_exits.split(",")] if options.expect_exits else [0] * len(commands)
            )
            result["commands"] = [watched(session, *pair) for pair in zip(commands, exits, strict=True)]
            session.record()
            result |= session.still_good()
            session.end()
        finally:
            session.close()
            browser.close()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--title", default="sample")
    parser.add_argument("--expect-exits", default="", help="what each command must answer, by commas; 0 unless said")
    own, _, rest = " ".join(sys.argv[1:]).partition(" -- ")
    options = parser.parse_args(own.split())
    try:
        result = run(options, [command.split() for command in rest.split(" --then ") if command])
    except (ScenarioError, Error) as error:
        print(json.dumps({"held": False, "error": str(error)}))
        return 1
    print(json.dumps({"held": True, **result}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
