"""Time for media: an event loop and waits that are fine enough to pace packets by.

Before Python 3.13, ``time.monotonic`` on Windows counts in steps of 15.6 ms, and so do timers of an event loop that
is built on it. So this package reads ``time.perf_counter``, which is the same clock on Linux and a fine one there.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class MediaLoop(asyncio.SelectorEventLoop):
    """A selector loop, because the proactor loop of Windows has no ``add_reader``, with fine timers."""

    def __init__(self) -> None:
        super().__init__()
        # By how much the base class lets timers run early: one step of its clock.
        self._clock_resolution = time.get_clock_info("perf_counter").resolution

    def time(self) -> float:
        return time.perf_counter()


@contextmanager
def short_waits() -> Iterator[None]:
    """Inside, waits of this process end within a millisecond; Windows would round them up to its 15.6 ms."""
    if sys.platform != "win32":
        yield
        return
    import ctypes

    multimedia = ctypes.WinDLL("winmm")
    multimedia.timeBeginPeriod(1)
    try:
        yield
    finally:
        multimedia.timeEndPeriod(1)
