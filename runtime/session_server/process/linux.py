"""Processes as Linux shows them in proc(5), and signals that cannot hit a reused process number.

Imports almost nothing, because every keeper loads it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator
from typing import NamedTuple

from .names import MARK_VARIABLE

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_MARK_PREFIX = MARK_VARIABLE.encode() + b"="


class Process(NamedTuple):
    """One line of the process table. ``ticks`` is the start time since boot; with the pid it names a process."""

    pid: int
    parent: int
    state: str
    ticks: int
    cpu_seconds: float
    memory_bytes: int


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def read_process(pid: int) -> Process | None:
    """None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    # The name in parentheses may itself hold spaces and parentheses; fields count from after the last one.
    fields = text[text.rindex(")") + 2 :].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        state=fields[0],
        ticks=int(fields[19]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        memory_bytes=int(fields[21]) * _PAGE_BYTES,
    )


def started_text(pid: int) -> str | None:
    """What :class:`ChildIdentity` calls ``started``; None when the process is gone or a zombie."""
    found = read_process(pid)
    return None if found is None or found.state in "ZX" else f"{boot_id()}/{found.ticks}"


def processes() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdecimal() and (found := read_process(int(name))) is not None:
            yield found


def _below(table: dict[int, list[Process]], root: int) -> list[Process]:
    found: list[Process] = []
    waiting = [root]
    while waiting:
        below = table.get(waiting.pop(), [])
        found += below
        waiting += [process.pid for process in below]
    return found


def _by_parent() -> dict[int, list[Process]]:
    table: dict[int, list[Process]] = {}
    for process in processes():
        table.setdefault(process.parent, []).append(process)
    return table


def descendants(root: int) -> list[Process]:
    """Everything below ``root``, living or zombie, without ``root``."""
    return _below(_by_parent(), root)


class RecentTable:
    """The process table, read again only when it is old: a heartbeat asks about every session of the host."""

    def __init__(self, max_age_seconds: float) -> None:
        self._max_age_seconds = max_age_seconds
        self._read_at = float("-inf")
        self._table: dict[int, list[Process]] = {}

    def descendants(self, root: int) -> list[Process]:
        """As they were at most ``max_age_seconds`` ago: for figures, not for signals."""
        now = time.monotonic()
        if now - self._read_at > self._max_age_seconds:
            self._table, self._read_at = _by_parent(), now
        return _below(self._table, root)


def read_mark(pid: int) -> str | None:
    """The mark in the environment the process was started with; None without one, or when it may not be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return None
    for entry in entries:
        if entry.startswith(_MARK_PREFIX):
            return entry[len(_MARK_PREFIX) :].decode("utf-8", "replace")
    return None


def send(process: Process, number: int) -> bool:
    """Signal exactly this process; False when it is gone or not ours."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        # The handle is of whoever has the number now; only an equal start time makes it the one we saw.
        now = read_process(process.pid)
        if now is None or now.ticks != process.ticks:
            return False
        signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def kill_tree(root: int, mark: str | None, spare: Collection[int] = ()) -> int:
    """Kill everything below ``root`` and everything that carries ``mark``; returns how many were killed.

    Each round first stops what it finds, so that nothing can start a new process unseen between looking and killing.
    """
    killed = 0
    for _ in range(10):
        found = {process.pid: process for process in descendants(root)} if root else {}
        if mark is not None:
            found |= {process.pid: process for process in processes() if read_mark(process.pid) == mark}
        living = [p for p in found.values() if p.state not in "ZX" and p.pid not in spare and p.pid != os.getpid()]
        if not living:
            break
        for process in living:
            send(process, signal.SIGSTOP)
        for process in living:
            killed += send(process, signal.SIGKILL)
    return killed
