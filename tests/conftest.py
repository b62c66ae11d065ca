"""Rules for every test: no leaked task, no leaked process, no unexpected error in the logs."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Processes that live as long as the whole run (a browser, a stack) put their pid here.
LONG_LIVED: set[int] = set()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "expects_errors: the test provokes error lines in the log on purpose")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.usefixtures("no_leaked_tasks"))
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
async def no_leaked_tasks() -> AsyncIterator[None]:
    """Fail when a test leaves a task running on its loop."""
    before = asyncio.all_tasks()
    yield
    deadline = time.monotonic() + 2
    while leaked := {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}:
        if time.monotonic() > deadline:
            pytest.fail(f"left running: {[task.get_name() + ' ' + str(task.get_coro()) for task in leaked]}")
        await asyncio.sleep(0.01)


def _is_playwrights_own(record: logging.LogRecord) -> bool:
    """A page that closes leaves Playwright's task for a request that was just intercepted pending; asyncio says so
    whenever the collector finds it, in whichever test that is."""
    return record.name == "asyncio" and "/playwright/_impl/" in record.getMessage()


@pytest.fixture(autouse=True)
def no_unexpected_errors(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail when our code or asyncio logged an error that the test did not announce."""
    yield
    if request.node.get_closest_marker("expects_errors"):
        return
    found = [
        f"{record.name}: {record.getMessage()}"
        for phase in ("setup", "call")
        for record in caplog.get_records(phase)
        if record.levelno >= logging.ERROR
        and record.name.split(".")[0] in {"runtime", "asyncio", "tornado"}
        and not _is_playwrights_own(record)
    ]
    assert not found, f"unexpected errors in the log: {found}"


def _children() -> set[int]:
    """Living children that are nobody's long-lived ones: a browser starts and ends processes as it likes."""
    alive = set()
    for child in psutil.Process().children(recursive=True):
        try:
            family = {child.pid, *(parent.pid for parent in child.parents())}
            if child.status() != psutil.STATUS_ZOMBIE and not family & LONG_LIVED:
                alive.add(child.pid)
        except psutil.NoSuchProcess:
            continue
    return alive


@pytest.fixture(scope="module", autouse=True)
def no_leaked_processes() -> Iterator[None]:
    """Fail when a module leaves a child process behind."""
    before = _children()
    yield
    deadline = time.monotonic() + 5
    while leaked := _children() - before - LONG_LIVED:
        if time.monotonic() > deadline:
            named = []
            for pid in leaked:
                try:
                    named.append(f"{pid} {' '.join(psutil.Process(pid).cmdline())[:200]}")
                except psutil.NoSuchProcess:
                    continue
            pytest.fail(f"left running: {named}")
        psutil.wait_procs([psutil.Process(pid) for pid in leaked if psutil.pid_exists(pid)], timeout=0.1)
