"""axe-core on whatever a page shows now. Nothing serious may be found on any page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = Path(__file__).resolve().parents[2] / "runtime/web/node_modules/axe-core/axe.min.js"
GRAVE = ("serious", "critical")

# What fades in has no contrast yet: whatever comes to an end is waited for.
_RUN = """async () => {
  const passing = document.getAnimations().filter(({ effect }) => effect.getComputedTiming().endTime < 10_000);
  await Promise.all(passing.map(({ finished }) => finished.catch(() => undefined)));
  const found = await axe.run(document, { resultTypes: ['violations'] });
  return found.violations.map(({ id, impact, help, nodes }) => ({
    id, impact, help, where: nodes.slice(0, 5).map((node) => node.target.join(' ')),
  }));
}"""


def findings(page: Page) -> list[dict[str, Any]]:
    """What axe calls serious or critical; each with rule, sentence and the first places."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    return [found for found in page.evaluate(_RUN) if found["impact"] in GRAVE]


def assert_accessible(page: Page, what: str) -> None:
    grave = findings(page)
    assert not grave, f"{what}: {grave}"


def assert_fits(page: Page, what: str) -> None:
    """Nothing makes the page wider than the window; tables and rows of tabs may scroll within themselves."""
    wide = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1], f"{what}: {wide[0]} px wide in a window of {wide[1]} px"
