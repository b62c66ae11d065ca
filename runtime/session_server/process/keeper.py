"""The keeper of one child on Linux: parent and reaper of a program's whole process tree. See ``base.py``.

Started as ``python -I -S -c ...`` by ``posix.py``; reads one JSON object from standard input, answers one JSON object
on standard output, then lives as long as the tree. One keeper stays near 10 MB: only small modules are imported.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import sys
import time
from typing import Any, NoReturn

from . import linux
from .names import CHILD_FILE, EXIT_FILE, LEFTOVER_SECONDS, MARK_VARIABLE, OUTPUT_FILE
from .rotated_log import RotatedLog

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)
_libc = ctypes.CDLL(None, use_errno=True)


def write_json(path: str, value: dict[str, Any]) -> None:
    """Replace ``path`` in one step, on the disk when this returns."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def spawn(spec: dict[str, Any], output: int) -> int:
    """Fork and run the program in a session of its own; raise ``OSError`` when it cannot be executed."""
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(spec, output, report_write, keeper)
    os.close(report_write)
    with os.fdopen(report_read, "rb") as report:
        failure = report.read()
    if failure:
        os.waitpid(pid, 0)
        number, _, where = failure.decode().partition(" ")
        raise OSError(int(number), os.strerror(int(number)), where)
    return pid


def _become(spec: dict[str, Any], output: int, report: int, keeper: int) -> NoReturn:
    where = spec["working_directory"]
    try:
        os.setsid()
        # If the keeper is killed, the program must not run on unobserved.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (*_IGNORED, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(where)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        where = spec["arguments"][0]
        os.execve(where, spec["arguments"], spec["environment"])  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(report, f"{error.errno or errno.EIO} {where}".encode())
    os._exit(127)


class Keeper:
    """Watches one tree until nothing of it is left."""

    def __init__(self, spec: dict[str, Any], pid: int, output: int, wakeup: int) -> None:
        self._pid = pid
        self._output = output
        self._wakeup = wakeup
        self._exit_path = os.path.join(spec["directory"], EXIT_FILE)
        self._log = RotatedLog(os.path.join(spec["directory"], OUTPUT_FILE), spec["log_file_bytes"], spec["log_files"])
        self._ending = False
        # At a shutdown of the machine, which must not wait for us to be killed.
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, number: int, frame: object) -> None:
        self._ending = True

    def run(self) -> None:
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        poller.register(self._output, select.POLLIN)
        kill_after: float | None = None
        while self._reap():
            if self._ending and kill_after is None:
                kill_after = time.monotonic() + LEFTOVER_SECONDS
                for process in linux.descendants(os.getpid()):
                    linux.send(process, signal.SIGTERM)
            if kill_after is not None and time.monotonic() >= kill_after:
                linux.kill_tree(os.getpid(), None)
            timeout_ms = None if kill_after is None else max(250, int((kill_after - time.monotonic()) * 1000))
            for handle, _ in poller.poll(timeout_ms):
                if handle == self._wakeup:
                    os.read(self._wakeup, 4096)
                elif not self._copy():
                    poller.unregister(self._output)
        while self._copy():
            pass

    def _copy(self) -> bool:
        """One piece of output into the log; False when there is none now or never will be."""
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return False
        if data:
            self._log.write(data)
        return bool(data)

    def _reap(self) -> bool:
        """Collect ended processes; False when none is left. As subreaper we inherit every orphan, so that is exact."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._pid:
                self._ending = True
                code = os.waitstatus_to_exitcode(status)
                write_json(self._exit_path, {"code": code, "at_ms": time.time_ns() // 1_000_000})


def main() -> int:
    """Exit codes: 0 the tree is gone, 1 the program could not be started."""
    spec = json.load(sys.stdin)
    for number in (*_IGNORED, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")
    wakeup, wakeup_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    output, output_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(output_write, True)
    try:
        pid = spawn(spec, output_write)
    except OSError as error:
        print(json.dumps({"error": f"{error.filename}: {error.strerror}"}), flush=True)
        return 1
    os.close(output_write)
    identity = {
        "mark": os.environ[MARK_VARIABLE],
        "directory": spec["directory"],
        "pid": pid,
        # A program that ended at once is a zombie of ours until reaped, so its line is still there.
        "started": f"{linux.boot_id()}/{linux.read_process(pid).ticks}",  # type: ignore[union-attr]
        "keeper_pid": os.getpid(),
        "keeper_started": linux.started_text(os.getpid()),
    }
    write_json(os.path.join(spec["directory"], CHILD_FILE), identity)
    print(json.dumps(identity), flush=True)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    # The directory the program runs in must stay removable, and the keeper has no use for one.
    os.chdir("/")
    Keeper(spec, pid, output, wakeup).run()
    return 0
