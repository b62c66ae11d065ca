"""What Windows must be able to do for children, as an interface: ``win32.py`` calls the system, tests have a machine
of their own.

Handles are plain integers that must be closed. Texts are UTF-16 on the way to Windows, so any name works.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol


class Launched(NamedTuple):
    """A program that exists but does not run yet."""

    process: int
    thread: int
    pid: int


class Marked(NamedTuple):
    """A process that carries one of our marks in its environment."""

    pid: int
    started: str
    mark: str


class Kernel(Protocol):
    """Every method may raise ``OSError`` with the system's own text."""

    def create_job(self, name: str) -> int:
        """A Job Object whose processes end with its last handle (JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE)."""
        ...

    def open_job(self, name: str) -> int | None:
        """None when there is none of that name: a name lives as long as a handle to it."""
        ...

    def assign_to_job(self, job: int, process: int) -> None: ...

    def end_job(self, job: int, code: int) -> None:
        """End all its processes at once."""
        ...

    def job_pids(self, job: int) -> list[int]: ...

    def job_cpu_seconds(self, job: int) -> float:
        """Of all its processes, ended ones too."""
        ...

    def launch_suspended(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: str, output: int
    ) -> Launched:
        """Start a program with a hidden console and a process group of its own, its output going to file ``output``."""
        ...

    def resume(self, thread: int) -> None: ...

    def open_process(self, pid: int) -> int | None:
        """None when there is none of that number, or it may not be touched."""
        ...

    def started(self, process: int) -> str:
        """Creation time as FILETIME (100 ns since 1601); with the number it names a process for good."""
        ...

    def exit_code(self, process: int) -> int | None:
        """None while it runs."""
        ...

    def end_process(self, process: int, code: int) -> None: ...

    def memory_bytes(self, pid: int) -> int:
        """0 when it is gone."""
        ...

    def create_event(self, name: str) -> int:
        """An event that is taken by whoever waits for it (auto-reset). An empty name is nobody else's business."""
        ...

    def open_event(self, name: str) -> int | None: ...

    def set_event(self, event: int) -> None: ...

    def wait_any(self, handles: Sequence[int], seconds: float | None) -> int | None:
        """Index of the first handle that is signalled (an ended process, a set event); None after ``seconds``."""
        ...

    def send_ctrl_break(self, pid: int) -> bool:
        """Ctrl-Break to the process group of ``pid``, in its own console. The caller must have no console itself."""
        ...

    def close_windows(self, pids: Collection[int]) -> int:
        """Post WM_CLOSE to the top-level windows of the processes; returns how many there were."""
        ...

    def close(self, handle: int) -> None: ...

    def boot_id(self) -> str:
        """Changes with every start of the machine; steps of the clock do not change it."""
        ...

    def marked(self) -> list[Marked]:
        """All processes that carry a mark and may be read by this account."""
        ...


def own_kernel() -> Kernel:
    """This machine's; raises ``OSError`` where there is none."""
    if sys.platform == "win32":
        from .win32 import Win32Kernel

        return Win32Kernel()
    raise OSError("There is no Windows kernel here.")


def job_name(mark: str, keeper_pid: int) -> str:
    """Name of the Job Object of one child. ``Local``: keeper and session server share a logon session."""
    return f"Local\\pixelstream-{mark}-{keeper_pid}"


def break_event_name(mark: str, keeper_pid: int) -> str:
    """Name of the event by which the keeper is told to send Ctrl-Break."""
    return f"Local\\pixelstream-{mark}-{keeper_pid}-break"


def quote(argument: str) -> str:
    """One argument as ``CommandLineToArgvW`` reads it back (Microsoft: Parsing C command-line arguments)."""
    if argument and not any(char in argument for char in ' \t\n\v"'):
        return argument
    quoted, backslashes = '"', 0
    for char in argument:
        if char == "\\":
            backslashes += 1
            continue
        # Before a quotation mark each backslash counts twice, and one more makes the mark itself plain.
        quoted += "\\" * (backslashes * 2 + 1 if char == '"' else backslashes) + char
        backslashes = 0
    return quoted + "\\" * (backslashes * 2) + '"'


def command_line(arguments: Sequence[str]) -> str:
    return " ".join(quote(argument) for argument in arguments)


def environment_block(environment: Mapping[str, str]) -> str:
    """Sorted by name without regard to case, as CreateProcessW wants it, each entry and the whole ended by NUL."""
    for name, value in environment.items():
        if not name or "=" in name[1:] or "\0" in name + value:
            raise ValueError(f"environment variable {name!r} cannot be passed on")
    entries = sorted(environment.items(), key=lambda item: item[0].upper())
    return "".join(f"{name}={value}\0" for name, value in entries) + "\0"
