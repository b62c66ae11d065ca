"""The sample title with no relay in between: the floor that the relay's share of a delay is measured from."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser

from runtime.demo.processes import free_port

from .viewer import ScenarioError, Viewer

_START_SECONDS = 30.0
_SETTLE_MS = 2000


@contextmanager
def streamer() -> Iterator[str]:
    """The address of a page that a streamer of its own serves, with the options of the demo's first title."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "runtime", "streamer", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}/"
            deadline = time.monotonic() + _START_SECONDS
            while not _answers(url):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise ScenarioError(f"the direct streamer serves no page (exit code {process.poll()})")
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def delays(viewer: Viewer, frames: int, clicks: int) -> dict[str, float]:
    """Milliseconds from drawn to presented, and from a click to the picture that shows it."""
    viewer.wait_for_picture(60)
    viewer.page.wait_for_timeout(_SETTLE_MS)
    latencies = viewer.page.evaluate(f"() => pixelstreamProbe.latencies({frames})")
    control = [delay for _ in range(clicks) if (delay := viewer.control_latency()) is not None]
    if not control:
        raise ScenarioError(f"{viewer.name}: no click could be timed to the picture")
    return {
        "picture_latency_p50_ms": statistics.median(latencies),
        "picture_latency_p95_ms": statistics.quantiles(latencies, n=20)[-1],
        "control_latency_p50_ms": statistics.median(control),
    }


def measure(browser: Browser, frames: int, clicks: int) -> dict[str, float]:
    """``direct_*`` of :func:`delays`."""
    with streamer() as url:
        viewer = Viewer(browser, url, "direct", video="video")
        try:
            viewer.page.goto(url)
            return {f"direct_{name}": value for name, value in delays(viewer, frames, clicks).items()}
        finally:
            viewer.close()
