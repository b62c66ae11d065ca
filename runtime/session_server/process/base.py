"""What the session server needs from an operating system's processes.

One child is one program of a session (its relay, its title) together with everything that program starts. It must
outlive the session server, so the session server is not its real parent: a small *keeper* process is. The keeper

- owns the tree (Linux: as child subreaper, prctl(2); Windows: by a Job Object that dies with it),
- drains the program's output into rotated log files, so that a full pipe never blocks the title,
- writes ``exit.json`` when the program ends, so that its exit code is known even if no session server ran then,
- then ends whatever the program left behind, and ends itself.

The keeper's files lie in ``ChildSpec.directory``; their names are in ``names.py``. Adapters: ``posix.py`` and
``windows.py``; ``host.py`` chooses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .names import CHILD_FILE, EXIT_FILE, LEFTOVER_SECONDS, MARK_VARIABLE, OUTPUT_FILE

__all__ = [
    "CHILD_FILE",
    "EXIT_FILE",
    "LEFTOVER_SECONDS",
    "MARK_VARIABLE",
    "OUTPUT_FILE",
    "Child",
    "ChildExit",
    "ChildIdentity",
    "ChildSpec",
    "ProcessError",
    "ProcessHost",
    "Usage",
]


class ProcessError(Exception):
    """A program could not be started; the text says why, fit for an operator."""


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """One program to run. ``environment`` is complete (nothing is inherited); the adapter adds the mark to it."""

    mark: str
    arguments: tuple[str, ...]  # the first is the program, an absolute path
    environment: Mapping[str, str]
    working_directory: Path
    directory: Path  # of the keeper's files; exists, is ours alone, and is used by no other child
    log_file_bytes: int
    log_files: int


@dataclass(frozen=True, kw_only=True)
class ChildIdentity:
    """Finds the same child again; stored in the journal.

    ``started`` texts are compared for equality only (Linux: boot id and start ticks of proc(5); Windows: creation
    FILETIME): a reused process number never has the same one.
    """

    mark: str
    directory: str
    pid: int
    started: str
    keeper_pid: int
    keeper_started: str


@dataclass(frozen=True, kw_only=True)
class ChildExit:
    """How the program ended (content of ``exit.json``).

    ``code`` is negative for a signal, as in ``subprocess``; None when the keeper was killed and nobody can know.
    """

    code: int | None
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Of the whole tree, without the keeper."""

    cpu_seconds: float
    memory_bytes: int
    processes: int


class Child(Protocol):
    """A running or ended child. Every method is safe after its end."""

    @property
    def identity(self) -> ChildIdentity: ...

    @property
    def exited(self) -> asyncio.Future[ChildExit]:
        """Done when the program itself has ended; the tree may still be ending. Shield it when waiting."""
        ...

    async def ask(self) -> None:
        """Ask the program to end as its user would (SIGTERM; WM_CLOSE)."""
        ...

    async def terminate(self) -> None:
        """Tell every process of the tree to end (SIGTERM; Ctrl-Break)."""
        ...

    async def kill(self) -> None:
        """End every process of the tree at once, including ones that moved to sessions or groups of their own."""
        ...

    async def wait_gone(self, deadline_seconds: float) -> bool:
        """Whether the whole tree, keeper included, was gone before the deadline."""
        ...

    def usage(self) -> Usage | None:
        """None when nothing runs. Blocks for milliseconds: call it in a thread."""
        ...

    def close(self) -> None:
        """Stop watching; the child is left alone."""
        ...


class ProcessHost(Protocol):
    """Starts and finds children on this machine."""

    def boot_id(self) -> str:
        """Changes when the machine is started again, and only then."""
        ...

    async def start(self, spec: ChildSpec) -> Child:
        """Run a program; raise :class:`ProcessError`."""
        ...

    async def adopt(self, identity: ChildIdentity) -> Child:
        """The child of an earlier session server: running, or already ended with what ``exit.json`` says."""
        ...

    async def kill_marked(self, prefix: str, spare: Iterable[str]) -> list[str]:
        """Kill every process (keepers too) whose mark begins with ``prefix``, except those with a mark in ``spare``.

        Returns the marks of what was killed. Processes without our mark are never touched.
        """
        ...
