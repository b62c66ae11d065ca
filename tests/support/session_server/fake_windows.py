"""A Windows machine in memory: processes, jobs, events, windows and consoles as ``windows_kernel.Kernel`` has them.

Programs are scripts of this test machine: what they do with Ctrl-Break and WM_CLOSE is decided by the test. Rules
that matter are kept: a job ends its processes with its last handle, a name lives as long as a handle, numbers are
used again.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.session_server.process.names import MARK_VARIABLE
from runtime.session_server.process.windows_keeper import WindowsKeeper
from runtime.session_server.process.windows_kernel import Launched, Marked

NO_MATCH = OSError(22, "The handle is invalid.")


@dataclass
class FakeProcess:
    pid: int
    started: str
    environment: dict[str, str]
    arguments: tuple[str, ...] = ()
    suspended: bool = False
    code: int | None = None
    console_group: int = 0
    windows: int = 0
    obeys_break: bool = True
    obeys_close: bool = True
    breaks: int = 0


@dataclass
class FakeJob:
    name: str
    pids: list[int] = field(default_factory=list)


@dataclass
class FakeEvent:
    name: str
    signalled: bool = False


class FakeWindows:
    """The whole machine; ``FakeKernel`` is one process's view of it."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.processes: dict[int, FakeProcess] = {}
        self.handles: dict[int, FakeProcess | FakeJob | FakeEvent] = {}
        self.boot = "133000000000000000"
        self.refuse_job = False
        self.missing_programs: set[str] = set()
        self.keepers: list[threading.Thread] = []
        self._next = 100
        self._time = 0

    def number(self) -> int:
        self._next += 4
        return self._next

    def spawn(self, environment: Mapping[str, str], arguments: Sequence[str] = (), pid: int = 0) -> FakeProcess:
        self._time += 1
        process = FakeProcess(pid or self.number(), str(self._time), dict(environment), tuple(arguments))
        self.processes[process.pid] = process
        return process

    def child_of(self, parent: FakeProcess) -> FakeProcess:
        """What the program starts itself: in its job, with its environment and console."""
        with self.condition:
            child = self.spawn(parent.environment)
            child.console_group = parent.console_group
            for job in self.jobs():
                if parent.pid in job.pids:
                    job.pids.append(child.pid)
            return child

    def jobs(self) -> list[FakeJob]:
        found: dict[int, FakeJob] = {}
        for thing in self.handles.values():
            if isinstance(thing, FakeJob):
                found[id(thing)] = thing
        return list(found.values())

    def end(self, process: FakeProcess, code: int) -> None:
        with self.condition:
            if process.code is None:
                process.code = code
            self.condition.notify_all()

    def start_keeper(self, request: bytes, mark: str) -> bytes:
        """What ``windows._start_keeper`` does, with the keeper as a thread of this test."""
        with self.condition:
            own = self.spawn({MARK_VARIABLE: mark})
        kernel = FakeKernel(self, own.pid)
        keeper = WindowsKeeper(kernel, json.loads(request), own.pid, own.started)
        try:
            identity = keeper.start(1)
        except OSError as error:
            self.end(own, 1)
            return json.dumps({"error": str(error.strerror)}).encode()
        thread = threading.Thread(target=self._keep, args=(keeper, own, kernel), daemon=True)
        thread.start()
        self.keepers.append(thread)
        return json.dumps(identity).encode()

    def _keep(self, keeper: WindowsKeeper, own: FakeProcess, kernel: FakeKernel) -> None:
        try:
            keeper.run()
        except KeeperKilled:
            pass
        finally:
            kernel.close_all()
            self.end(own, 0)

    def kill_keeper(self, pid: int) -> None:
        """As TerminateProcess would: its handles close, so its job ends."""
        with self.condition:
            self.processes[pid].code = 1
            self.condition.notify_all()


class KeeperKilled(BaseException):
    """Ends the thread that stands for a keeper process."""


class FakeKernel:
    """See ``windows_kernel.Kernel``. ``owner`` is the pid of the keeper whose view this is; 0 for the session
    server's.
    """

    def __init__(self, machine: FakeWindows, owner: int = 0) -> None:
        self.machine = machine
        self._owner = owner
        self.own: set[int] = set()
        # False for a process of another logon session, which does not see names of this one's.
        self.sees_jobs = True

    def _handle(self, thing: FakeProcess | FakeJob | FakeEvent) -> int:
        handle = self.machine.number()
        self.machine.handles[handle] = thing
        self.own.add(handle)
        return handle

    def _get(self, handle: int, kind: type[Any]) -> Any:
        thing = self.machine.handles.get(handle)
        if handle not in self.own or not isinstance(thing, kind):
            raise NO_MATCH
        return thing

    def create_job(self, name: str) -> int:
        with self.machine.condition:
            return self._handle(FakeJob(name))

    def open_job(self, name: str) -> int | None:
        with self.machine.condition:
            found = next((job for job in self.machine.jobs() if job.name == name and self.sees_jobs), None)
            return None if found is None else self._handle(found)

    def assign_to_job(self, job: int, process: int) -> None:
        with self.machine.condition:
            if self.machine.refuse_job:
                raise OSError(5, "Access is denied.")
            found = self._get(process, FakeProcess)
            assert found.suspended, "a program that runs already may have started others outside of the job"
            self._get(job, FakeJob).pids.append(found.pid)

    def end_job(self, job: int, code: int) -> None:
        with self.machine.condition:
            self._end_members(self._get(job, FakeJob), code)

    def _end_members(self, job: FakeJob, code: int) -> None:
        for pid in job.pids:
            process = self.machine.processes[pid]
            process.code = code if process.code is None else process.code
        self.machine.condition.notify_all()

    def job_pids(self, job: int) -> list[int]:
        with self.machine.condition:
            return [pid for pid in self._get(job, FakeJob).pids if self.machine.processes[pid].code is None]

    def job_cpu_seconds(self, job: int) -> float:
        return 1.5 * len(self._get(job, FakeJob).pids)

    def launch_suspended(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: str, output: int
    ) -> Launched:
        with self.machine.condition:
            if arguments[0] in self.machine.missing_programs:
                raise OSError(2, "The system cannot find the file specified.")
            process = self.machine.spawn(environment, arguments)
            process.suspended, process.console_group = True, process.pid
            return Launched(self._handle(process), self._handle(process), process.pid)

    def resume(self, thread: int) -> None:
        with self.machine.condition:
            self._get(thread, FakeProcess).suspended = False
            self.machine.condition.notify_all()

    def open_process(self, pid: int) -> int | None:
        with self.machine.condition:
            process = self.machine.processes.get(pid)
            return None if process is None or process.code is not None else self._handle(process)

    def started(self, process: int) -> str:
        return str(self._get(process, FakeProcess).started)

    def exit_code(self, process: int) -> int | None:
        code: int | None = self._get(process, FakeProcess).code
        return code

    def end_process(self, process: int, code: int) -> None:
        self.machine.end(self._get(process, FakeProcess), code)

    def memory_bytes(self, pid: int) -> int:
        return 1000 if self.machine.processes[pid].code is None else 0

    def create_event(self, name: str) -> int:
        with self.machine.condition:
            return self._handle(FakeEvent(name))

    def open_event(self, name: str) -> int | None:
        with self.machine.condition:
            events = [thing for thing in self.machine.handles.values() if isinstance(thing, FakeEvent)]
            found = next((event for event in events if event.name == name), None)
            return None if found is None else self._handle(found)

    def set_event(self, event: int) -> None:
        with self.machine.condition:
            self._get(event, FakeEvent).signalled = True
            self.machine.condition.notify_all()

    def wait_any(self, handles: Sequence[int], seconds: float | None) -> int | None:
        things = [self._get(handle, object) for handle in handles]
        deadline = None if seconds is None else time.monotonic() + seconds
        with self.machine.condition:
            while True:
                if self._owner and self.machine.processes[self._owner].code is not None:
                    raise KeeperKilled
                for index, thing in enumerate(things):
                    if isinstance(thing, FakeProcess) and thing.code is not None:
                        return index
                    if isinstance(thing, FakeEvent) and thing.signalled:
                        thing.signalled = False
                        return index
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self.machine.condition.wait(left)

    def send_ctrl_break(self, pid: int) -> bool:
        with self.machine.condition:
            group = [one for one in self.machine.processes.values() if one.console_group == pid and one.code is None]
            for process in group:
                process.breaks += 1
                if process.obeys_break:
                    process.code = 0xC000013A  # STATUS_CONTROL_C_EXIT
            self.machine.condition.notify_all()
            return bool(group)

    def close_windows(self, pids: Collection[int]) -> int:
        with self.machine.condition:
            owners = [self.machine.processes[pid] for pid in pids if self.machine.processes[pid].windows]
            for process in owners:
                if process.obeys_close:
                    process.code = 0
            self.machine.condition.notify_all()
            return sum(process.windows for process in owners)

    def close(self, handle: int) -> None:
        with self.machine.condition:
            thing = self._get(handle, object)
            self.own.discard(handle)
            del self.machine.handles[handle]
            if isinstance(thing, FakeJob) and not any(other is thing for other in self.machine.handles.values()):
                self._end_members(thing, 1)

    def close_all(self) -> None:
        for handle in list(self.own):
            self.close(handle)

    def boot_id(self) -> str:
        return self.machine.boot

    def marked(self) -> list[Marked]:
        with self.machine.condition:
            return [
                Marked(process.pid, process.started, process.environment[MARK_VARIABLE])
                for process in self.machine.processes.values()
                if process.code is None and MARK_VARIABLE in process.environment
            ]
