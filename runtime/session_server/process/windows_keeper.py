"""The keeper of one child on Windows: holds the Job Object of its tree, notes its end. See ``base.py``.

The last handle to the Job Object is the keeper's, so whatever ends the keeper ends the tree. The program starts
suspended and runs only once it is in the job: nothing it starts can be outside. Started by ``windows.py`` as
``keeper.py`` is on Linux.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from runtime.chassis.files import replace_patiently

from .names import CHILD_FILE, EXIT_FILE, LEFTOVER_SECONDS, MARK_VARIABLE, OUTPUT_FILE
from .rotated_log import RotatedLog
from .windows_kernel import Kernel, break_event_name, job_name, own_kernel

_LOOK_SECONDS = 0.05
KILLED_CODE = 1


def write_json(path: str, value: dict[str, Any]) -> None:
    """Replace ``path`` in one step, on the disk when this returns."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    replace_patiently(temporary, path)


class WindowsKeeper:
    """One tree, from the start of its program until nothing of it is left."""

    def __init__(self, kernel: Kernel, spec: dict[str, Any], own_pid: int, own_started: str) -> None:
        self._kernel, self._spec = kernel, spec
        self._own_pid, self._own_started = own_pid, own_started
        self._mark: str = spec["environment"][MARK_VARIABLE]
        self._job = 0
        self._break = 0
        self._process = 0
        self._pid = 0

    def start(self, output: int) -> dict[str, Any]:
        """Run the program with its output going to ``output``; returns the child's identity. Raises ``OSError``."""
        kernel, spec = self._kernel, self._spec
        self._job = kernel.create_job(job_name(self._mark, self._own_pid))
        self._break = kernel.create_event(break_event_name(self._mark, self._own_pid))
        launched = kernel.launch_suspended(spec["arguments"], spec["environment"], spec["working_directory"], output)
        self._process, self._pid = launched.process, launched.pid
        try:
            kernel.assign_to_job(self._job, launched.process)
            started = kernel.started(launched.process)
            identity = {
                "mark": self._mark,
                "directory": spec["directory"],
                "pid": launched.pid,
                "started": started,
                "keeper_pid": self._own_pid,
                "keeper_started": self._own_started,
            }
            write_json(os.path.join(spec["directory"], CHILD_FILE), identity)
            kernel.resume(launched.thread)
        except OSError:
            kernel.end_process(launched.process, KILLED_CODE)
            raise
        finally:
            kernel.close(launched.thread)
        return identity

    def run(self) -> None:
        """Wait for the program's end, note it, end what it left behind."""
        kernel = self._kernel
        while kernel.wait_any([self._process, self._break], None) != 0:
            kernel.send_ctrl_break(self._pid)
        code = kernel.exit_code(self._process)
        note = {"code": code, "at_ms": time.time_ns() // 1_000_000}
        write_json(os.path.join(self._spec["directory"], EXIT_FILE), note)
        self._end_leftovers()
        for handle in (self._process, self._break, self._job):
            kernel.close(handle)

    def _end_leftovers(self) -> None:
        kernel = self._kernel
        left = kernel.job_pids(self._job)
        if not left:
            return
        kernel.close_windows(left)
        kernel.send_ctrl_break(self._pid)
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while kernel.job_pids(self._job) and time.monotonic() < deadline:
            kernel.wait_any([self._break], _LOOK_SECONDS)
        kernel.end_job(self._job, KILLED_CODE)


def copy_output(read: Callable[[], bytes], log: RotatedLog) -> None:
    """Drain the program's output until nothing of the tree holds the pipe any longer."""
    while data := read():
        log.write(data)
    log.close()


def main() -> int:
    """Exit codes: 0 the tree is gone, 1 the program could not be started."""
    # Bytes, not text: the console's code page has no part in this.
    spec = json.loads(sys.stdin.buffer.read())
    kernel = own_kernel()
    own = kernel.open_process(os.getpid())
    if own is None:
        raise OSError("this process cannot be opened")
    keeper = WindowsKeeper(kernel, spec, os.getpid(), kernel.started(own))
    kernel.close(own)
    read_end, write_end = os.pipe()
    try:
        identity = keeper.start(write_end)
    except OSError as error:
        reason = {"error": f"{spec['arguments'][0]}: {error.strerror or error}"}
        sys.stdout.buffer.write(json.dumps(reason).encode() + b"\n")
        sys.stdout.buffer.flush()
        return 1
    os.close(write_end)
    sys.stdout.buffer.write(json.dumps(identity).encode() + b"\n")
    sys.stdout.buffer.flush()
    # The session server's pipe must not stay open, and a folder one runs in cannot be removed on Windows.
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.chdir(os.environ.get("SYSTEMROOT", "C:\\"))
    log = RotatedLog(os.path.join(spec["directory"], OUTPUT_FILE), spec["log_file_bytes"], spec["log_files"])
    copier = threading.Thread(target=copy_output, args=(lambda: os.read(read_end, 65536), log), daemon=True)
    copier.start()
    keeper.run()
    copier.join(LEFTOVER_SECONDS)
    return 0
