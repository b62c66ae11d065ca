"""Children on Windows: kept by ``windows_keeper.py``, watched by a thread each that waits for their handles.

All that the system does lies behind ``windows_kernel.Kernel``; what is decided here runs, and is tested, anywhere.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .base import EXIT_FILE, MARK_VARIABLE, ChildExit, ChildIdentity, ChildSpec, ProcessError, Usage
from .names import own_interpreter
from .windows_kernel import Kernel, break_event_name, job_name, own_kernel

logger = logging.getLogger(__name__)
_START_SECONDS = 15.0
# Between the program's end and its keeper's note of it.
_NOTE_SECONDS = 5.0
_LOOK_SECONDS = 0.02
_KILLED_CODE = 1
_ERROR_ACCESS_DENIED = 5
_CREATE_BREAKAWAY_FROM_JOB = 0x01000000
_DETACHED_PROCESS = 0x00000008
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[3])
_KEEPER = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from runtime.session_server.process.windows_keeper import main; sys.exit(main())"
)
StartKeeper = Callable[[bytes, str], bytes]
T = TypeVar("T")


def _read_exit(directory: str) -> ChildExit | None:
    try:
        return msgspec.json.decode(Path(directory, EXIT_FILE).read_bytes(), type=ChildExit)
    except (OSError, msgspec.DecodeError):
        return None


class WindowsChild:
    """See :class:`base.Child`."""

    def __init__(self, kernel: Kernel, identity: ChildIdentity) -> None:
        self._kernel, self._identity = kernel, identity
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[ChildExit] = self._loop.create_future()
        self._gone = asyncio.Event()
        self._closed = kernel.create_event("")
        self._lock = threading.Lock()
        self._watching = True
        self._program = _open_same(kernel, identity.pid, identity.started)
        self._keeper = _open_same(kernel, identity.keeper_pid, identity.keeper_started)
        threading.Thread(target=self._wait, name=f"watch {identity.pid}", daemon=True).start()

    @property
    def identity(self) -> ChildIdentity:
        return self._identity

    @property
    def exited(self) -> asyncio.Future[ChildExit]:
        return self._exited

    def _wait(self) -> None:
        """In a thread: the program's end, the keeper's note of it, the keeper's end. Closing ends the thread early."""
        closing = False
        try:
            if self._program is not None:
                closing = self._kernel.wait_any([self._closed, self._program], None) == 0
            if not closing:
                self._tell(self._settle, self._note())
            if self._keeper is not None and not closing:
                closing = self._kernel.wait_any([self._closed, self._keeper], None) == 0
            if not closing:
                self._tell(self._on_keeper_end)
        finally:
            with self._lock:
                self._watching = False
                for handle in (self._program, self._keeper, self._closed):
                    if handle is not None:
                        self._kernel.close(handle)

    def _note(self) -> ChildExit | None:
        deadline = time.monotonic() + _NOTE_SECONDS
        while (found := _read_exit(self._identity.directory)) is None and time.monotonic() < deadline:
            if self._keeper is None or self._kernel.exit_code(self._keeper) is not None:
                return _read_exit(self._identity.directory)
            time.sleep(_LOOK_SECONDS)
        return found

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            logger.debug("the loop ended before its child %s", self._identity.mark)

    def _on_keeper_end(self) -> None:
        self._gone.set()
        self._settle(_read_exit(self._identity.directory))

    def _settle(self, found: ChildExit | None) -> None:
        if not self._exited.done():
            self._exited.set_result(found or ChildExit(code=None, at_ms=time.time_ns() // 1_000_000))

    async def ask(self) -> None:
        """WM_CLOSE to the windows of the tree; a program without windows gets Ctrl-Break."""
        await asyncio.to_thread(self._ask)

    def _ask(self) -> None:
        pids = self._with_job(self._kernel.job_pids)
        if pids and not self._kernel.close_windows(pids):
            self._send_break()

    async def terminate(self) -> None:
        await asyncio.to_thread(self._send_break)

    def _send_break(self) -> None:
        """The keeper sends it: whoever sends must enter the program's console, and this process may need its own."""
        event = self._kernel.open_event(break_event_name(self._identity.mark, self._identity.keeper_pid))
        if event is not None:
            self._kernel.set_event(event)
            self._kernel.close(event)

    async def kill(self) -> None:
        await asyncio.to_thread(self._kill)

    def _kill(self) -> None:
        self._with_job(lambda job: self._kernel.end_job(job, _KILLED_CODE))
        if self._with_job(self._kernel.job_pids) is not None:
            return
        # The job's name is not seen from another logon session (an administrator's, say). Its keeper holds it.
        keeper = _open_same(self._kernel, self._identity.keeper_pid, self._identity.keeper_started)
        if keeper is not None:
            self._kernel.end_process(keeper, _KILLED_CODE)
            self._kernel.close(keeper)

    async def wait_gone(self, deadline_seconds: float) -> bool:
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def usage(self) -> Usage | None:
        return None if self._gone.is_set() else self._with_job(self._measure)

    def _measure(self, job: int) -> Usage:
        pids = self._kernel.job_pids(job)
        return Usage(
            cpu_seconds=self._kernel.job_cpu_seconds(job),
            memory_bytes=sum(self._kernel.memory_bytes(pid) for pid in pids),
            processes=len(pids),
        )

    def _with_job(self, use: Callable[[int], T]) -> T | None:
        job = self._kernel.open_job(job_name(self._identity.mark, self._identity.keeper_pid))
        if job is None:
            return None
        try:
            return use(job)
        finally:
            self._kernel.close(job)

    def close(self) -> None:
        with self._lock:
            if self._watching:
                self._kernel.set_event(self._closed)


def _open_same(kernel: Kernel, pid: int, started: str) -> int | None:
    """A handle to the process meant; None when it has ended, or its number is somebody else's by now."""
    process = kernel.open_process(pid)
    if process is None:
        return None
    if kernel.started(process) != started:
        kernel.close(process)
        return None
    return process


class WindowsProcessHost:
    """See :class:`base.ProcessHost`. Both arguments are for tests."""

    def __init__(self, kernel: Kernel | None = None, start_keeper: StartKeeper | None = None) -> None:
        self._kernel = kernel or own_kernel()
        self._start_keeper = start_keeper or _start_keeper

    def boot_id(self) -> str:
        return self._kernel.boot_id()

    async def start(self, spec: ChildSpec) -> WindowsChild:
        request = {
            "arguments": list(spec.arguments),
            "environment": {**spec.environment, MARK_VARIABLE: spec.mark},
            "working_directory": str(spec.working_directory),
            "directory": str(spec.directory),
            "log_file_bytes": spec.log_file_bytes,
            "log_files": spec.log_files,
        }
        try:
            raw = await asyncio.to_thread(self._ask_keeper, spec, json.dumps(request).encode())
            answer: dict[str, Any] = json.loads(raw)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reason = f"{spec.arguments[0]} did not start: its keeper gave no answer ({error})"
            raise ProcessError(reason) from None
        if "error" in answer:
            raise ProcessError(f"{spec.arguments[0]} did not start: {answer['error']}")
        return WindowsChild(self._kernel, msgspec.convert(answer, ChildIdentity))

    def _ask_keeper(self, spec: ChildSpec, request: bytes) -> bytes:
        Path(spec.directory, EXIT_FILE).unlink(missing_ok=True)
        return self._start_keeper(request, spec.mark)

    async def adopt(self, identity: ChildIdentity) -> WindowsChild:
        return WindowsChild(self._kernel, identity)

    async def kill_marked(self, prefix: str, spare: Iterable[str]) -> list[str]:
        return await asyncio.to_thread(self._kill_marked, prefix, frozenset(spare))

    def _kill_marked(self, prefix: str, spare: frozenset[str]) -> list[str]:
        killed: set[str] = set()
        for _ in range(10):
            found = [one for one in self._kernel.marked() if one.mark.startswith(prefix) and one.mark not in spare]
            found = [one for one in found if one.pid != os.getpid()]
            if not found:
                break
            for pid, started, mark in found:
                process = _open_same(self._kernel, pid, started)
                if process is None:
                    continue
                # A keeper takes its tree with it: it holds the job's last handle.
                self._kernel.end_process(process, _KILLED_CODE)
                self._kernel.wait_any([process], 1.0)
                self._kernel.close(process)
                killed.add(mark)
        return sorted(killed)


def _start_keeper(request: bytes, mark: str) -> bytes:
    """Start a keeper and return its answer; raises ``OSError`` or ``subprocess.TimeoutExpired``.

    It must outlive this process: it has no console, and leaves the job that the Task Scheduler puts a logon task in.
    """
    # A virtual environment's python.exe is a launcher that waits; the keeper needs nothing of the environment.
    interpreter = own_interpreter(getattr(sys, "_base_executable", sys.executable))
    command = [interpreter, "-I", "-S", "-c", _KEEPER, _PACKAGE_ROOT]
    environment = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP", "PATH") if name in os.environ}
    environment[MARK_VARIABLE] = mark
    for flags in (_DETACHED_PROCESS | _CREATE_BREAKAWAY_FROM_JOB, _DETACHED_PROCESS):
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                creationflags=flags if sys.platform == "win32" else 0,
            )
            break
        except OSError as error:
            # A job that lets nothing leave; its owner may then end the keeper with it.
            if flags & _CREATE_BREAKAWAY_FROM_JOB == 0 or getattr(error, "winerror", 0) != _ERROR_ACCESS_DENIED:
                raise
    assert popen.stdin is not None
    assert popen.stdout is not None
    timer = threading.Timer(_START_SECONDS, popen.kill)
    timer.start()
    try:
        with popen.stdin as stdin, popen.stdout as stdout:
            stdin.write(request)
            stdin.close()
            answer = stdout.readline()
    finally:
        timer.cancel()
    if not answer:
        popen.kill()
        raise OSError(f"none within {_START_SECONDS:.0f} s")
    # It goes on without us; subprocess must neither warn about it nor wait for it.
    popen.returncode = 0
    return answer
