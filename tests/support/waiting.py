"""Waiting until something is true, by looking again and again: for state of other processes, files and browsers."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_SECONDS = 0.02


async def until(condition: Callable[[], T | Awaitable[T]], what: str = "", seconds: float = 20.0) -> T:
    """The first true value of ``condition``, plain or async; fail saying ``what`` did not happen after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        value: T = await found if inspect.isawaitable(found) else found
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or inspect.getsource(condition).strip()}")
        await asyncio.sleep(PAUSE_SECONDS)
