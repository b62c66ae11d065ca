"""Alerts and dashboard speak of metrics that the services really have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .running import PROJECT

METRIC = re.compile(r"\bpixelstream_[a-z_]+\b")
DECLARED = re.compile(r"""["'](pixelstream_[a-z_]+)["']""")


def declared() -> set[str]:
    """Names that the runtime declares, with the suffixes that Prometheus' client adds."""
    text = "\n".join(
        path.read_text() for path in (PROJECT / "runtime").rglob("*.py") if "node_modules" not in path.parts
    )
    names = set(DECLARED.findall(text))
    return names | {name + suffix for name in names for suffix in ("_total", "_bucket", "_count", "_sum")}


def test_dashboard_and_alerts_use_metrics_that_exist() -> None:
    known = declared()
    assert "pixelstream_sessions" in known
    role = PROJECT / "roles/observability"
    for path in (role / "templates/pixelstream-alerts.yml.j2", role / "files/pixelstream-dashboard.json"):
        used = set(METRIC.findall(path.read_text()))
        assert used
        assert used <= known, f"{path.name}: {sorted(used - known)}"


def test_the_dashboard_is_complete() -> None:
    dashboard: dict[str, Any] = json.loads(
        Path(PROJECT / "roles/observability/files/pixelstream-dashboard.json").read_text()
    )
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(identifiers) == len(set(identifiers))
    for panel in dashboard["panels"]:
        assert panel["targets"]
        assert all(target["datasource"]["uid"] == "pixelstream" for target in panel["targets"])
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
