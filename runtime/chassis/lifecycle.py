"""Run one service: start parts in order, stop them in reverse, obey signals, lose no background failure."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from . import systemd

logger = logging.getLogger(__name__)


class Part(Protocol):
    """Something with a beginning and an end. Constructors do no IO."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class Background:
    """Named tasks that live as long as their owner; a crash is logged and ends nothing else."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("background task %s failed", task.get_name(), exc_info=error)

    async def close(self, deadline_seconds: float = 5.0) -> None:
        """Cancel all and wait for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=deadline_seconds)
            for task in late:
                logger.error("background task %s did not stop", task.get_name())


async def periodic(interval_seconds: float, work: Callable[[], Awaitable[None]], what: str) -> None:
    """Call ``work`` every interval until cancelled; a failure is logged and the next call still happens."""
    while True:
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("%s failed; trying again in %.1f s", what, interval_seconds)
        await asyncio.sleep(interval_seconds)


async def run_parts(parts: list[Part], stop: asyncio.Event, *, stop_deadline_seconds: float = 20.0) -> None:
    """Start in order, wait for ``stop``, close in reverse. A failing start closes what was started.

    systemd is told when all parts are up, while the loop is alive, and when the end begins.
    """
    started: list[Part] = []
    watchdog = Background()
    try:
        for part in parts:
            await part.start()
            started.append(part)
        systemd.notify("READY=1")
        watchdog.spawn("watchdog", systemd.keep_watchdog_fed())
        await stop.wait()
    finally:
        systemd.notify("STOPPING=1")
        await watchdog.close()
        for part in reversed(started):
            try:
                async with asyncio.timeout(stop_deadline_seconds):
                    await part.close()
            except Exception:
                logger.exception("closing %s failed", type(part).__name__)


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM, SIGINT (and Ctrl-Break on Windows) set ``stop``."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        # Windows loops have no add_signal_handler; the plain handler runs in the main thread between bytecodes.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
