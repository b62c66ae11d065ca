"""The demo's child processes: none outlives the demo, not even one that was killed."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from .errors import DemoError

_STOP_SECONDS = 30.0
_KILL_SECONDS = 5.0
_OTHER_PORT = "--port, make demo PORT="
_TAIL_LINES = 8
# Asks the kernel to end the program when the demo dies (prctl(2) PR_SET_PDEATHSIG, kept across exec), then becomes it.
_LIFELINE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def _with_lifeline(command: Sequence[str]) -> list[str]:
    """The whole command line for ``command``, which is what follows the Python interpreter."""
    words = [sys.executable, *command]
    if sys.platform != "linux":
        return words
    return [sys.executable, "-I", "-S", "-c", _LIFELINE, str(os.getpid()), *words]


def free_port(address: str) -> int:
    """A TCP port that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def is_port_free(address: str, port: int) -> bool:
    return why_port_is_unusable(address, port) is None


def why_port_is_unusable(address: str, port: int) -> str | None:
    """One sentence for the person, or None when we can listen there; port 0 asks about the address alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            return f"Port {port} is open to administrators only: choose one from 1024 on ({_OTHER_PORT}{port + 8000})."
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return f"{address} is not an address of this machine; name one that is (--address)."
            return (
                f"Port {port} is taken by another program: stop that one, or choose another port "
                f"({_OTHER_PORT}{port + 1})."
            )
    return None


class DemoProcess:
    """One service of the demo, with a log file of its own."""

    def __init__(self, name: str, command: Sequence[str], log: Path, working_directory: Path) -> None:
        """``command`` is what follows the Python interpreter."""
        self.name, self.log = name, log
        self._command = command
        self._working_directory = working_directory
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        return None if self._popen is None else self._popen.poll()

    def start(self) -> None:
        with self.log.open("ab") as output:
            # A session of its own: Ctrl-C reaches the demo alone, which ends the services in order.
            self._popen = subprocess.Popen(
                _with_lifeline(self._command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._working_directory,
                start_new_session=True,
            )

    async def until(self, ready: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until ``ready``; raise :class:`DemoError` with the log's last lines if it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while not await ready():
            if (code := self.exit_code) is not None:
                raise DemoError(f"The {self.name} ended with code {code}. {self._last_words()}")
            if time.monotonic() > deadline:
                raise DemoError(f"The {self.name} did not answer within {seconds:g} s. {self._last_words()}")
            await asyncio.sleep(0.05)

    def _last_words(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"The end of {self.log}:", *(f"  {line}" for line in lines)])

    async def stop(self) -> bool:
        """Ask it to end, then kill it; whether it ended by itself."""
        if self._popen is None or self._popen.poll() is not None:
            return True
        self._popen.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._popen.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            await asyncio.to_thread(self._popen.wait)
            return False
        return True


def kill_tree(pid: int) -> None:
    """Kill a process and all it started, even what left its group as browsers do, and wait until they are gone."""
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    # The first is waited for by whoever started it.
    psutil.wait_procs(family[1:], timeout=_KILL_SECONDS)


async def run_to_end(what: str, command: Sequence[str], working_directory: Path, seconds: float) -> str:
    """Run one command of this installation; its standard output. Raise :class:`DemoError` unless it exits with 0.

    It is killed when it takes longer than ``seconds``, and when the caller is cancelled.
    """
    process = await asyncio.create_subprocess_exec(
        *_with_lifeline(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=working_directory,
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    except TimeoutError:
        raise DemoError(f"{what} did not end within {seconds:g} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        words = errors.decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
        raise DemoError("\n".join([f"{what} failed:", *(f"  {line}" for line in words)]))
    return output.decode(errors="replace")
