"""Children on Linux: kept by ``keeper.py``, watched through pidfd_open(2), which works for adopted processes too."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from . import linux
from .base import EXIT_FILE, MARK_VARIABLE, ChildExit, ChildIdentity, ChildSpec, ProcessError, Usage

logger = logging.getLogger(__name__)
_START_SECONDS = 10.0
# Between the program's end and its keeper's note of it.
_NOTE_SECONDS = 5.0
_recent = linux.RecentTable(max_age_seconds=0.5)
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[3])
_KEEPER = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from runtime.session_server.process.keeper import main; sys.exit(main())"
)


def _read_exit(directory: str) -> ChildExit | None:
    try:
        return msgspec.json.decode(Path(directory, EXIT_FILE).read_bytes(), type=ChildExit)
    except (OSError, msgspec.DecodeError):
        return None


class _Watch:
    """Calls back once when a process ends; at once when it is not (any longer) the one meant."""

    def __init__(self, pid: int, started: str, ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        try:
            self._handle = os.pidfd_open(pid)
        except OSError:
            self._handle = -1
        if self._handle < 0 or linux.started_text(pid) != started:
            self.close()
            self._loop.call_soon(ended)
            return
        self._loop.add_reader(self._handle, self._fire)

    def _fire(self) -> None:
        self.close()
        self._ended()

    def signal(self, number: int) -> None:
        if self._handle >= 0:
            try:
                signal.pidfd_send_signal(self._handle, number)
            except ProcessLookupError:
                logger.debug("signal %d came too late", number)

    def close(self) -> None:
        if self._handle >= 0:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1


class PosixChild:
    """See :class:`base.Child`. ``popen`` is the keeper when this process started it and so must reap it."""

    def __init__(self, identity: ChildIdentity, popen: subprocess.Popen[bytes] | None = None) -> None:
        self._identity = identity
        self._popen = popen
        self._exited: asyncio.Future[ChildExit] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self._note: asyncio.Task[None] | None = None
        self._program = _Watch(identity.pid, identity.started, self._on_program_end)
        self._keeper = _Watch(identity.keeper_pid, identity.keeper_started, self._on_keeper_end)

    @property
    def identity(self) -> ChildIdentity:
        return self._identity

    @property
    def exited(self) -> asyncio.Future[ChildExit]:
        return self._exited

    def _on_program_end(self) -> None:
        self._note = asyncio.get_running_loop().create_task(self._take_note())

    async def _take_note(self) -> None:
        deadline = time.monotonic() + _NOTE_SECONDS
        while (found := _read_exit(self._identity.directory)) is None:
            if self._gone.is_set() or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.01)
        self._settle(found)

    def _on_keeper_end(self) -> None:
        if self._popen is not None:
            self._popen.wait()  # it has ended: this reaps it and cannot block
        self._gone.set()
        if linux.started_text(self._identity.pid) == self._identity.started:
            logger.error("the keeper of %s was killed; its program is ended too", self._identity.mark)
        # Without its keeper nothing would ever note the program's end.
        self._settle(_read_exit(self._identity.directory))

    def _settle(self, found: ChildExit | None) -> None:
        if not self._exited.done():
            self._exited.set_result(found or ChildExit(code=None, at_ms=time.time_ns() // 1_000_000))

    async def ask(self) -> None:
        self._program.signal(signal.SIGTERM)

    async def terminate(self) -> None:
        await asyncio.to_thread(self._terminate)

    def _terminate(self) -> None:
        if not self._gone.is_set():
            for process in linux.descendants(self._identity.keeper_pid):
                linux.send(process, signal.SIGTERM)

    async def kill(self) -> None:
        keeper = self._identity.keeper_pid
        root = 0 if self._gone.is_set() else keeper
        await asyncio.to_thread(linux.kill_tree, root, self._identity.mark, () if root == 0 else (keeper,))

    async def wait_gone(self, deadline_seconds: float) -> bool:
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def usage(self) -> Usage | None:
        if self._gone.is_set():
            return None
        below = _recent.descendants(self._identity.keeper_pid)
        return Usage(
            cpu_seconds=sum(process.cpu_seconds for process in below),
            memory_bytes=sum(process.memory_bytes for process in below),
            processes=len(below),
        )

    def close(self) -> None:
        self._program.close()
        self._keeper.close()
        if self._note is not None:
            self._note.cancel()
        if self._popen is not None and self._popen.returncode is None:
            # It goes on without us; tell subprocess not to warn about, or wait for, a child we leave on purpose.
            self._popen.returncode = 0


class PosixProcessHost:
    """See :class:`base.ProcessHost`."""

    def boot_id(self) -> str:
        return linux.boot_id()

    async def start(self, spec: ChildSpec) -> PosixChild:
        identity, popen = await asyncio.to_thread(_start_keeper, spec)
        return PosixChild(identity, popen)

    async def adopt(self, identity: ChildIdentity) -> PosixChild:
        return PosixChild(identity)

    async def kill_marked(self, prefix: str, spare: Iterable[str]) -> list[str]:
        return await asyncio.to_thread(_kill_marked, prefix, frozenset(spare))


def _start_keeper(spec: ChildSpec) -> tuple[ChildIdentity, subprocess.Popen[bytes]]:
    request = {
        "arguments": list(spec.arguments),
        "environment": {**spec.environment, MARK_VARIABLE: spec.mark},
        "working_directory": str(spec.working_directory),
        "directory": str(spec.directory),
        "log_file_bytes": spec.log_file_bytes,
        "log_files": spec.log_files,
    }
    Path(spec.directory, EXIT_FILE).unlink(missing_ok=True)
    try:
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _KEEPER, _PACKAGE_ROOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={MARK_VARIABLE: spec.mark},
            start_new_session=True,
        )
    except OSError as error:
        raise ProcessError(f"the keeper cannot be started: {error.strerror}") from None
    try:
        answer = _exchange(popen, json.dumps(request).encode())
    except (OSError, ValueError) as error:
        popen.kill()
        popen.wait()
        raise ProcessError(f"{spec.arguments[0]} did not start: its keeper gave no answer ({error})") from None
    if "error" in answer:
        popen.wait()
        raise ProcessError(f"{spec.arguments[0]} did not start: {answer['error']}")
    return msgspec.convert(answer, ChildIdentity), popen


def _exchange(popen: subprocess.Popen[bytes], request: bytes) -> dict[str, Any]:
    """Send the request, read the one-line answer; raise ``OSError`` or ``ValueError``."""
    assert popen.stdin is not None
    assert popen.stdout is not None
    with popen.stdin as stdin, popen.stdout as stdout:
        stdin.write(request)
        stdin.close()
        deadline = time.monotonic() + _START_SECONDS
        answer = b""
        while not answer.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise TimeoutError(f"none within {_START_SECONDS:.0f} s")
            piece = os.read(stdout.fileno(), 65536)
            if not piece:
                raise ValueError("it ended")
            answer += piece
    found: dict[str, Any] = json.loads(answer)
    return found


def _kill_marked(prefix: str, spare: frozenset[str]) -> list[str]:
    killed: set[str] = set()
    for _ in range(10):
        found = [
            (process, mark)
            for process in linux.processes()
            if process.state not in "ZX"
            and (mark := linux.read_mark(process.pid)) is not None
            and mark.startswith(prefix)
            and mark not in spare
            and process.pid != os.getpid()
        ]
        if not found:
            break
        # Keepers die with the rest here: whoever calls this wants no note of an end, only the end.
        for process, _mark in found:
            linux.send(process, signal.SIGSTOP)
        for process, mark in found:
            if linux.send(process, signal.SIGKILL):
                killed.add(mark)
    return sorted(killed)
