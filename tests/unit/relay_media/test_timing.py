"""Fine timers where the machine's monotonic clock is coarse, as on Windows."""

from __future__ import annotations

import asyncio
import ctypes
import re
import sys
import time
from pathlib import Path

import pytest

from runtime.relay import rtc
from runtime.relay.rtc.timing import MediaLoop, short_waits

STEP_SECONDS = 0.0156


def test_timers_do_not_run_early_where_the_monotonic_clock_is_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    def coarse() -> float:
        return time.perf_counter() // STEP_SECONDS * STEP_SECONDS

    monkeypatch.setattr(time, "monotonic", coarse)

    async def waits() -> list[float]:
        loop = asyncio.get_running_loop()
        found = []
        for _ in range(10):
            done = loop.create_future()
            begun = time.perf_counter()
            loop.call_later(0.005, done.set_result, None)
            await done
            found.append(time.perf_counter() - begun)
        return found

    with asyncio.Runner(loop_factory=MediaLoop) as runner:
        assert min(runner.run(waits())) >= 0.0049


def test_media_code_reads_no_coarse_clock() -> None:
    folder = Path(rtc.__file__).parent
    readers = [
        path.name for path in folder.glob("*.py") if re.search(r"time\.monotonic\(|loop\(\)\.time\(", path.read_text())
    ]
    assert readers == [], "use time.perf_counter: see timing.py"


def test_windows_is_asked_for_short_waits_and_released(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []

    class Multimedia:
        def __init__(self, name: str) -> None:
            assert name == "winmm"

        def timeBeginPeriod(self, milliseconds: int) -> int:
            calls.append(("begin", milliseconds))
            return 0

        def timeEndPeriod(self, milliseconds: int) -> int:
            calls.append(("end", milliseconds))
            return 0

    with short_waits():
        assert calls == []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", Multimedia, raising=False)

    def fail_inside() -> None:
        with short_waits():
            assert calls == [("begin", 1)]
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert calls == [("begin", 1), ("end", 1)]
