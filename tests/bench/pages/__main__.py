"""``make bench NAME=pages``: how soon the catalogue is there on a slow network, and what Lighthouse says of it.

A demo on this machine without nginx, so nothing is compressed: what is measured here is the slower case. Every round
is a first visit with an empty cache. Prints one JSON object last.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from runtime.demo.stack import DemoOptions
from tests.e2e.stage import Stage
from tests.e2e.viewer import Viewer, launch

from .lighthouse import FORM_FACTORS, Lighthouse

# Bytes per second and milliseconds, as Chrome's DevTools take them: the delay comes before each answer.
NETWORKS = {
    # WebPageTest's "3G".
    "3g": {"downloadThroughput": 1_600_000 / 8, "uploadThroughput": 768_000 / 8, "latency": 300},
    # DevTools' "Fast 3G", since renamed "Slow 4G".
    "fast_3g": {"downloadThroughput": 1_440_000 / 8, "uploadThroughput": 675_000 / 8, "latency": 562.5},
}

_PAINTS = """() => new Promise((told) => {
  new PerformanceObserver((list) => told({
    first: performance.getEntriesByName('first-contentful-paint')[0].startTime,
    largest: list.getEntries().at(-1).startTime,
    scripts: performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('.js'))
      .reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0),
  })).observe({ type: 'largest-contentful-paint', buffered: true });
})"""


def first_visit(browser: Browser, url: str, network: dict[str, float]) -> dict[str, float]:
    """First paint, largest paint and the list of titles in milliseconds after the navigation began; bytes of script."""
    viewer = Viewer(browser, url, "first visit")
    devtools = viewer.context.new_cdp_session(viewer.page)
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", {"offline": False, **network})
    viewer.page.goto(url, wait_until="commit")
    viewer.page.wait_for_selector("[data-testid=titles]", timeout=60_000)
    titles = viewer.page.evaluate("() => performance.now()")
    viewer.page.wait_for_load_state("load")
    seen: dict[str, float] = viewer.page.evaluate(_PAINTS)
    viewer.close()
    return {"first_paint_ms": seen["first"], "titles_ms": titles, "largest_paint_ms": seen["largest"],
            "script_bytes": seen["scripts"]}  # fmt: skip


def on_slow_networks(browser: Browser, url: str, rounds: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, network in NETWORKS.items():
        visits = [first_visit(browser, url, network) for _ in range(rounds)]
        for key in visits[0]:
            figures[key if key == "script_bytes" else f"{name}_{key}_p50"] = statistics.median(v[key] for v in visits)
    return figures


def by_lighthouse(url: str, rounds: int) -> dict[str, Any]:
    """The median score of each category, 0..100, and what costs points."""
    lighthouse = Lighthouse()
    figures: dict[str, Any] = {"lighthouse_version": lighthouse.version}
    for form_factor in FORM_FACTORS:
        reports = [lighthouse.run(url, form_factor) for _ in range(rounds)]
        for category in reports[0].scores:
            figures[f"{form_factor}_{category}"] = statistics.median(report.scores[category] for report in reports)
        figures[f"{form_factor}_machine_index"] = statistics.median(report.machine_index for report in reports)
        figures[f"{form_factor}_findings"] = sorted({finding for report in reports for finding in report.findings})
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory, Stage(DemoOptions(directory=Path(directory))) as stage:
        with sync_playwright() as playwright:
            browser = launch(playwright)
            figures: dict[str, Any] = on_slow_networks(browser, stage.url, rounds)
            browser.close()
        figures |= by_lighthouse(stage.url, rounds)
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in sorted(figures.items())}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
