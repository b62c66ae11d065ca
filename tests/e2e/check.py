"""``python -m tests.e2e.check --url URL``: the scenario on something that runs; one JSON line, exit 0 if it held."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

from .scenario import Scenario
from .viewer import ScenarioError, launch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--title", default="sample")
    parser.add_argument("--screens", type=Path, help="folder for screenshots")
    parser.add_argument("--place", type=Path, help="the demo's directory, to measure its processes")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browsers = launch(playwright), launch(playwright)
        scenario = Scenario(browsers, arguments.url, arguments.title, screens=arguments.screens, place=arguments.place)
        try:
            figures = scenario.run()
        except (ScenarioError, Error) as error:
            if arguments.screens:
                scenario.owner.screenshot(arguments.screens / "failed-owner.png")
                scenario.guest.screenshot(arguments.screens / "failed-guest.png")
            print(json.dumps({"held": False, "error": str(error), **scenario.figures.as_json()}))
            return 1
        finally:
            scenario.close()
            for browser in browsers:
                browser.close()
    print(json.dumps({"held": True, **figures.as_json()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
