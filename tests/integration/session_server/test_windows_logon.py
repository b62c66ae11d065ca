"""The logon task's entry point as a real process: files instead of signals, rotated files instead of a console."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.session_server.coordinator import HOST_KEY, FakeCoordinator

START_SECONDS = 30.0


class LogonTask:
    """Files and command of one logon task."""

    def __init__(self, folder: Path, coordinator_url: str) -> None:
        self.ready, self.stop = folder / "ready.json", folder / "logon.stop"
        self.log = folder / "session-server.log"
        self._config = folder / "Größe und session-server.json"
        self._process: asyncio.subprocess.Process | None = None
        settings = {
            "host": "gpu1",
            "coordinator_url": coordinator_url,
            "host_key": HOST_KEY,
            "data_directory": str(folder / "data"),
            "listen": {"address": "127.0.0.1", "port": 0},
            "ready_file": str(self.ready),
        }
        self._config.write_text(json.dumps(settings), "utf-8")

    async def start(self, *options: str) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "runtime.session_server.windows_logon", "--config", str(self._config)),
            *("--log", str(self.log), "--stop-file", str(self.stop), *options),
        )
        return self._process

    async def until_ready(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(START_SECONDS):
            while not self.ready.exists():
                assert self._process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@pytest.fixture
async def task(tmp_path: Path, coordinator: FakeCoordinator) -> AsyncIterator[LogonTask]:
    task = LogonTask(tmp_path, coordinator.url)
    yield task
    await task.end()


async def test_it_runs_until_the_stop_file_appears(task: LogonTask) -> None:
    process = await task.start()
    await task.until_ready()
    task.stop.touch()
    async with asyncio.timeout(START_SECONDS):
        assert await process.wait() == 0
    assert "control interface on" in task.log.read_text()


async def test_it_does_not_start_while_the_stop_file_is_there(task: LogonTask) -> None:
    task.stop.touch()
    process = await task.start()
    async with asyncio.timeout(START_SECONDS):
        assert await process.wait() == 0
    assert not task.ready.exists()
    assert not task.log.exists()


async def test_the_log_is_bounded_and_has_what_fails(task: LogonTask, tmp_path: Path) -> None:
    (tmp_path / "Größe und session-server.json").write_text('{"host": "gpu1", "surprise": "ü"}')
    for _ in range(6):
        process = await task.start("--log-bytes", "200", "--log-files", "2")
        async with asyncio.timeout(START_SECONDS):
            assert await process.wait() == 2
    logs = sorted(path.name for path in tmp_path.glob("session-server.log*"))
    assert logs in (["session-server.log", "session-server.log.1"], ["session-server.log.1"])
    assert "surprise" in (tmp_path / "session-server.log.1").read_text("utf-8")
