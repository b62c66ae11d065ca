"""``python -m tests.e2e.check --url URL``: the scenario on something that runs; one JSON line, exit 0 if it held.

After the scenario the same streamer is measured without a relay, so that the line has both figures side by side.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from playwright.sync_api import Browser, Error, sync_playwright

from . import direct
from .scenario import Scenario
from .viewer import ScenarioError, launch

FRAMES, CLICKS = 40, 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--title", default="sample")
    parser.add_argument("--screens", type=Path, help="folder for screenshots")
    parser.add_argument("--place", type=Path, help="the demo's directory, to measure its processes")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        try:
            browsers = launch(playwright), launch(playwright)
        except (ScenarioError, Error) as error:
            print(json.dumps({"held": False, "error": str(error)}))
            return 1
        try:
            figures, error = _run(browsers, arguments)
        finally:
            for browser in browsers:
                browser.close()
    print(json.dumps({"held": error is None, **({} if error is None else {"error": error}), **figures}))
    return 0 if error is None else 1


def _run(browsers: tuple[Browser, Browser], arguments: argparse.Namespace) -> tuple[dict[str, float], str | None]:
    """The figures as far as it came, and what did not hold."""
    screens: Path | None = arguments.screens
    scenario = Scenario(browsers, arguments.url, arguments.title, screens=screens, place=arguments.place)
    try:
        scenario.run()
    except (ScenarioError, Error) as error:
        if screens:
            scenario.owner.screenshot(screens / "failed-owner.png")
            scenario.guest.screenshot(screens / "failed-guest.png")
        return scenario.figures.as_json(), str(error)
    finally:
        scenario.close()
    figures = scenario.figures.as_json()
    try:
        figures |= {name: round(value, 3) for name, value in direct.measure(browsers[0], FRAMES, CLICKS).items()}
    except (ScenarioError, Error) as error:
        return figures, str(error)
    return figures, None


if __name__ == "__main__":
    sys.exit(main())
