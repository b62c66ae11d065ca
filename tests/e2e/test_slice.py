"""The whole path of the product, end to end, with two people in two browsers."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser

from runtime.demo.stack import DemoOptions

from .scenario import Scenario
from .stage import Stage


@pytest.mark.timeout(420)
def test_two_people_share_a_session_from_catalogue_to_idle_end(
    tmp_path: Path, browsers: tuple[Browser, Browser], screens: Path
) -> None:
    options = DemoOptions(directory=tmp_path / "demo", idle_seconds=25, idle_warning_seconds=10)
    with Stage(options) as stage:
        scenario = Scenario(browsers, stage.url, "sample", screens=screens)
        try:
            figures = scenario.run()
        finally:
            scenario.close()
        # The session's processes are gone while the services still run.
        lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
        place = str(stage.stack.directory)
        assert not [line for line in lines if place in line and ("relay" in line.split() or "streamer" in line.split())]
    assert figures.first_frame_cold_ms > 0
    processes, ports = stage.stack.leftovers()
    assert not processes
    assert not ports
