"""systemd hears about a service through a real datagram socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.chassis import systemd
from runtime.chassis.lifecycle import run_parts


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield receiver


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert systemd.notify("READY=1") is False


def test_a_missing_socket_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert systemd.notify("READY=1") is False


@pytest.mark.parametrize(
    ("microseconds", "pid", "expected"),
    [("60000000", None, 30.0), ("", None, None), ("0", None, None), ("x", None, None), ("60000000", "1", None)],
)
def test_watchdog_interval(
    microseconds: str, pid: str | None, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", pid)
    assert systemd.watchdog_interval_seconds() == expected


async def test_a_service_says_ready_alive_and_stopping(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    heard: list[bytes] = []

    class Listener:
        """The last part to start: it must come before READY, and must see the watchdog fed afterwards."""

        async def start(self) -> None:
            heard.append(b"started")

        async def close(self) -> None:
            heard.append(b"closed")

    stop = asyncio.Event()

    async def listen() -> None:
        while not stop.is_set():
            message = await asyncio.to_thread(manager.recv, 100)
            heard.append(message)
            if heard.count(b"WATCHDOG=1") == 2:
                stop.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(listen())
        tasks.create_task(run_parts([Listener()], stop))
    assert heard[:3] == [b"started", b"READY=1", b"WATCHDOG=1"]
    while True:
        message = manager.recv(100)
        if message != b"WATCHDOG=1":
            break
    assert message == b"STOPPING=1"
