"""Browsers for the whole run, a fresh demo for each module."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from runtime.demo.stack import DemoOptions
from tests.conftest import LONG_LIVED

from .netns import Network, missing
from .stage import Stage
from .stock_page import served_stock_page
from .viewer import Viewer, chromium_path, launch

Enter = Callable[..., Viewer]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if chromium_path() is not None:
        return
    for item in items:
        if "tests/e2e" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason="no Chromium is installed (as root: apt install chromium)"))


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """For these tests alone: while it lives its event loop counts as running, and no asynchronous test can."""
    with sync_playwright() as running:
        yield running


def _spare(browser_pids_before: set[int]) -> None:
    """Browsers outlive the modules that use them, so they are not leaks of the first one."""
    LONG_LIVED.update(child.pid for child in psutil.Process().children(recursive=True))
    LONG_LIVED.difference_update(browser_pids_before)


@pytest.fixture(scope="package")
def browsers(playwright: Playwright) -> Iterator[tuple[Browser, Browser]]:
    """Two separate browser processes: two people."""
    before = {child.pid for child in psutil.Process().children(recursive=True)} - LONG_LIVED
    pair = launch(playwright), launch(playwright)
    _spare(before)
    yield pair
    for browser in pair:
        browser.close()


@pytest.fixture
def browser(browsers: tuple[Browser, Browser]) -> Browser:
    return browsers[0]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A demo that nothing ends by itself within a test's time."""
    with Stage(DemoOptions(directory=tmp_path_factory.mktemp("demo"))) as running:
        yield running
    processes, ports = running.stack.leftovers()
    assert not processes, f"left running: {processes}"
    assert not ports, f"left open: {ports}"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network of the module's own, whose link tests may spoil."""
    if reason := missing():
        pytest.skip(reason)
    with Network(tmp_path_factory.mktemp("network")) as made:
        yield made
    namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert made.name not in namespaces


@pytest.fixture(scope="module")
def stock_page() -> Iterator[str]:
    """Address of Epic's page, served from a foreign origin as an integrator would."""
    with served_stock_page() as address:
        yield address


@pytest.fixture
def enter(browser: Browser, stage: Stage) -> Iterator[Enter]:
    """Makes viewers; at the end their sessions are ended, so that the next test finds free places."""
    people: list[Viewer] = []

    def arrive(name: str, **context: Any) -> Viewer:
        person = Viewer(browser, stage.url, name, **context)
        people.append(person)
        return person

    yield arrive
    for person in people:
        errors = person.errors
        _end_own_sessions(person)
        person.close()
        assert not errors, f"{person.name}: {errors}"


def _end_own_sessions(person: Viewer) -> None:
    token = person.api_get("/api/v1/me")["csrf_token"]
    for session in person.api_get("/api/v1/sessions?mine=true&state=live")["items"]:
        person.context.request.delete(
            f"{person.base_url}/api/v1/sessions/{session['id']}", headers={"X-CSRF-Token": token}
        )


@pytest.fixture
def screens(request: pytest.FixtureRequest) -> Path:
    """Where a test may leave screenshots for people to look at (not in the repository)."""
    place = Path(request.config.rootpath) / ".build" / "screens"
    place.mkdir(parents=True, exist_ok=True)
    return place
