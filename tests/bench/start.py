"""``make bench NAME=start``: from click to picture, what the relay adds to a picture's way, and how soon it stops.

H.264 1280x720 at 30 frames per second, headless Chromium, software decoding. The direct run is the floor: same
streamer, same browser, no relay. Both take turns, and of each the quietest round counts, the one with the smallest
median: whatever else this machine does only adds. Prints one JSON object last.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from runtime.demo.stack import DemoOptions
from tests.e2e import direct, footprint
from tests.e2e.faults import Processes
from tests.e2e.stage import Stage
from tests.e2e.viewer import Viewer, launch

ROUNDS = 5
FRAMES = 90
CLICKS = 8
STOPS, WATCHERS, STOP_SECONDS = 3, 2, 10.0
WARM_TITLE = "sample-vp8"


def _keep_one_warm(content: dict[str, Any]) -> None:
    for title in content["titles"]:
        if title["name"] == WARM_TITLE:
            title["warm"] = 1


def _wait_until_warm(stage: Stage, viewer: Viewer) -> None:
    """Until the pool has a session that is ready and nobody's."""
    url = f"{stage.url}/api/v1/admin/titles/{WARM_TITLE}"

    def ready() -> int:
        return int(viewer.context.request.get(url, headers=stage.stack.admin.headers).json()["warm"]["ready"])

    viewer.eventually("a warm session", ready, seconds=60)


def _click_to_frame(viewer: Viewer) -> float:
    viewer.wait_for_picture(60)
    # The picture can be read a moment before the browser tells when it was presented.
    state = viewer.eventually("the first frame's time", viewer.probe, lambda seen: seen["firstFrameMs"] is not None)
    return float(state["firstFrameMs"] - state["startedMs"])


def _guest(browser: Browser, stage: Stage, link: str) -> Viewer:
    guest = Viewer(browser, stage.url, "guest")
    guest.page.goto(link)
    guest.enter()
    return guest


def _join(browser: Browser, stage: Stage, link: str) -> tuple[float, float]:
    """Milliseconds to the first presented frame: from the click, and from the browser's DTLS being up."""
    guest = _guest(browser, stage, link)
    try:
        from_click, state = _click_to_frame(guest), guest.probe()
        return from_click, float(state["firstFrameMs"] - state["dtlsMs"])
    finally:
        guest.close()


def _joins(browser: Browser, stage: Stage, link: str) -> dict[str, float]:
    from_click, from_dtls = zip(*(_join(browser, stage, link) for _ in range(ROUNDS)), strict=True)
    return {
        "first_frame_join_ms_p50": statistics.median(from_click),
        "joiner_dtls_to_first_frame_ms": statistics.median(from_dtls),
        "joiner_dtls_to_first_frame_ms_max": max(from_dtls),
    }


def _stop(browser: Browser, stage: Stage) -> float:
    """Milliseconds from SIGTERM to the end of a relay's process, with its owner and watchers connected."""
    owner, session_id, _ = _start(browser, stage, "sample")
    link = owner.invite_link("watcher")
    guests = [_guest(browser, stage, link) for _ in range(WATCHERS)]
    try:
        for guest in guests:
            guest.wait_for_picture(60)
        relay = Processes(stage, owner).relay
        ended = os.pidfd_open(relay.pid)
        try:
            began = time.perf_counter()
            relay.terminate()
            if not select.select([ended], [], [], STOP_SECONDS)[0]:
                raise TimeoutError(f"the relay still runs {STOP_SECONDS:g} s after SIGTERM")
            return 1000 * (time.perf_counter() - began)
        finally:
            os.close(ended)
    finally:
        for guest in guests:
            guest.close()
        _end(owner, session_id)


def _start(browser: Browser, stage: Stage, title: str) -> tuple[Viewer, str, float]:
    viewer = Viewer(browser, stage.url, "owner")
    viewer.open_catalogue()
    if title == WARM_TITLE:
        _wait_until_warm(stage, viewer)
    session_id = viewer.start(title)
    return viewer, session_id, _click_to_frame(viewer)


def _end(viewer: Viewer, session_id: str) -> None:
    viewer.api_delete(f"/api/v1/sessions/{session_id}")
    viewer.eventually(
        "the end", lambda: viewer.api_get(f"/api/v1/sessions/{session_id}"), lambda session: session["state"] == "ended"
    )
    viewer.close()


def _cold(browser: Browser, stage: Stage) -> dict[str, float]:
    """Starts one after another, each measured beside a direct streamer; the last session is also charged and joined."""
    figures: dict[str, float] = {}
    starts, relayed, direct_rounds = [], [], []
    for turn in range(ROUNDS):
        direct_rounds.append(direct.measure(browser, FRAMES, CLICKS))
        viewer, session_id, milliseconds = _start(browser, stage, "sample")
        starts.append(milliseconds)
        first = footprint.look(stage.stack.directory)
        relayed.append({f"relay_{key}": value for key, value in direct.delays(viewer, FRAMES, CLICKS).items()})
        if turn == ROUNDS - 1:
            figures |= footprint.between(first, footprint.look(stage.stack.directory))
            figures |= _joins(browser, stage, viewer.invite_link("watcher"))
        _end(viewer, session_id)
    figures["first_frame_cold_ms_p50"] = statistics.median(starts)
    return figures | _quietest(direct_rounds) | _quietest(relayed)


def _quietest(rounds: list[dict[str, float]]) -> dict[str, float]:
    return min(rounds, key=lambda figures: next(v for k, v in figures.items() if k.endswith("picture_latency_p50_ms")))


def _warm(browser: Browser, stage: Stage) -> dict[str, float]:
    starts = []
    for _ in range(ROUNDS):
        viewer, session_id, milliseconds = _start(browser, stage, WARM_TITLE)
        starts.append(milliseconds)
        _end(viewer, session_id)
    return {"first_frame_warm_ms_p50": statistics.median(starts)}


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        figures: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as place:
            # A demo each, so that starting a warm session does not disturb what is measured.
            with Stage(DemoOptions(directory=Path(place) / "cold")) as stage:
                figures |= _cold(browser, stage)
                figures["relay_stop_ms"] = max(_stop(browser, stage) for _ in range(STOPS))
            with Stage(DemoOptions(directory=Path(place) / "warm", registry=_keep_one_warm)) as stage:
                figures |= _warm(browser, stage)
        browser.close()
    for what in ("picture", "control"):
        name = f"{what}_latency_p50_ms"
        figures[f"relay_added_{name}"] = figures[f"relay_{name}"] - figures[f"direct_{name}"]
    print(json.dumps({key: round(value, 3) for key, value in sorted(figures.items())}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
