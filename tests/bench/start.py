"""``make bench NAME=start``: from click to picture, and what the relay adds to a picture's way.

One demo and one direct streamer on this machine, H.264 1280x720 at 30 frames per second, headless Chromium, software
decoding. The direct run is the floor: same streamer, same browser, no relay. Prints one JSON object last.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from runtime.demo.stack import DemoOptions
from tests.e2e import footprint
from tests.e2e.stage import Stage
from tests.e2e.viewer import Viewer, launch

ROUNDS = 5
FRAMES = 120
CLICKS = 10


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _direct_streamer() -> Iterator[str]:
    """The sample title serving its own page: no relay, no room."""
    port = _free_port()
    command = [sys.executable, "-m", "runtime", "streamer", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
                    break
                except (urllib.error.URLError, OSError):
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def _picture(viewer: Viewer) -> dict[str, float]:
    """Quantiles of picture and control latency in milliseconds."""
    viewer.wait_for_picture(60)
    viewer.page.wait_for_timeout(2000)
    latencies = viewer.page.evaluate(f"() => pixelstreamProbe.latencies({FRAMES})")
    delays = [delay for _ in range(CLICKS) if (delay := viewer.control_latency()) is not None]
    return {
        "picture_ms_p50": statistics.median(latencies),
        "picture_ms_p95": statistics.quantiles(latencies, n=20)[-1],
        "control_ms_p50": statistics.median(delays) if delays else float("nan"),
    }


def _start(browser: Browser, stage: Stage) -> tuple[Viewer, str, float]:
    viewer = Viewer(browser, stage.url, "owner")
    viewer.open_catalogue()
    session_id = viewer.start("sample")
    viewer.wait_for_picture(60)
    state = viewer.probe()
    return viewer, session_id, state["firstFrameMs"] - state["startedMs"]


def _join(browser: Browser, stage: Stage, link: str) -> float:
    """Click on an invitation to first frame: the application is already up."""
    guest = Viewer(browser, stage.url, "guest")
    try:
        guest.page.goto(link)
        guest.enter()
        guest.wait_for_picture(60)
        state = guest.probe()
        return float(state["firstFrameMs"] - state["startedMs"])
    finally:
        guest.close()


def main() -> int:
    figures: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = launch(playwright)
        with _direct_streamer() as url:
            viewer = Viewer(browser, url, "direct", video="video")
            viewer.page.goto(url)
            figures |= {f"direct_{key}": value for key, value in _picture(viewer).items()}
            viewer.close()
        with tempfile.TemporaryDirectory() as directory, Stage(DemoOptions(directory=Path(directory))) as stage:
            cold = []
            for turn in range(ROUNDS):
                viewer, session_id, milliseconds = _start(browser, stage)
                cold.append(milliseconds)
                if turn == ROUNDS - 1:
                    first = footprint.look(stage.stack.directory)
                    figures |= {f"relay_{key}": value for key, value in _picture(viewer).items()}
                    figures |= footprint.between(first, footprint.look(stage.stack.directory))
                    link = viewer.invite_link("watcher")
                    figures["click_to_frame_joining_ms_p50"] = statistics.median(
                        _join(browser, stage, link) for _ in range(ROUNDS)
                    )
                viewer.api_delete(f"/api/v1/sessions/{session_id}")
                viewer.close()
            figures["click_to_frame_cold_ms_p50"] = statistics.median(cold)
        browser.close()
    figures["relay_added_picture_ms_p50"] = figures["relay_picture_ms_p50"] - figures["direct_picture_ms_p50"]
    figures["relay_added_control_ms_p50"] = figures["relay_control_ms_p50"] - figures["direct_control_ms_p50"]
    print(json.dumps({key: round(value, 3) for key, value in sorted(figures.items())}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
