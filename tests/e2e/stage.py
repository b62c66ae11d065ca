"""A running demo for synchronous tests: the stack's own event loop lives in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from runtime.demo.stack import DemoOptions, DemoStack

T = TypeVar("T")
START_SECONDS, STOP_SECONDS = 120.0, 90.0


class Stage:
    """``with Stage(options) as stage``: database, coordinator and session server run inside."""

    def __init__(self, options: DemoOptions) -> None:
        self.stack = DemoStack(options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage", daemon=True)

    @property
    def url(self) -> str:
        return self.stack.url

    def do(self, work: Coroutine[Any, Any, T], seconds: float = 60.0) -> T:
        """Run ``work`` on the stack's loop and wait for it."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.do(self.stack.__aenter__(), START_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.do(self.stack.__aexit__(None, None, None), STOP_SECONDS)
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
