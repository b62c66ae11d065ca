"""The system calls of :class:`windows_kernel.Kernel`, by ctypes. Imported on Windows only; no decision is made here."""

from __future__ import annotations

import ctypes
import msvcrt
import sys
from collections.abc import Collection, Mapping, Sequence
from ctypes import wintypes

from .names import MARK_VARIABLE
from .windows_kernel import Launched, Marked, command_line, environment_block

assert sys.platform == "win32"

from . import win32_types as types  # noqa: E402 - only there on Windows


def _checked(result: int | None) -> int:
    """``result`` unless it is nothing, which is how most calls fail."""
    if not result:
        raise ctypes.WinError(ctypes.get_last_error())
    return result


def _opened(handle: int | None) -> int | None:
    """None when there is nothing to open; other failures are raised."""
    error = ctypes.get_last_error()
    nothing_there = (types.ERROR_FILE_NOT_FOUND, types.ERROR_ACCESS_DENIED, types.ERROR_INVALID_PARAMETER)
    if not handle and error not in nothing_there:
        raise ctypes.WinError(error)
    return handle or None


class Win32Kernel:
    """See :class:`windows_kernel.Kernel`."""

    def create_job(self, name: str) -> int:
        job = _checked(types.kernel32.CreateJobObjectW(None, name))
        limits = types.ExtendedLimits()
        limits.Basic.LimitFlags = types.KILL_ON_JOB_CLOSE
        pointer, size = ctypes.byref(limits), ctypes.sizeof(limits)
        _checked(types.kernel32.SetInformationJobObject(job, types.EXTENDED_LIMITS, pointer, size))
        return job

    def open_job(self, name: str) -> int | None:
        return _opened(types.kernel32.OpenJobObjectW(types.JOB_ACCESS, False, name))

    def assign_to_job(self, job: int, process: int) -> None:
        _checked(types.kernel32.AssignProcessToJobObject(job, process))

    def end_job(self, job: int, code: int) -> None:
        _checked(types.kernel32.TerminateJobObject(job, code))

    def job_pids(self, job: int) -> list[int]:
        room = 64
        while True:

            class _List(ctypes.Structure):
                _fields_ = (
                    ("NumberOfAssignedProcesses", wintypes.DWORD),
                    ("NumberOfProcessIdsInList", wintypes.DWORD),
                    ("ProcessIdList", types.SIZE_T * room),
                )

            found = _List()
            pointer, size = ctypes.byref(found), ctypes.sizeof(found)
            # Fails with ERROR_MORE_DATA when there is too little room, and then tells how many there are.
            types.kernel32.QueryInformationJobObject(job, types.PROCESS_ID_LIST, pointer, size, None)
            if found.NumberOfAssignedProcesses <= found.NumberOfProcessIdsInList:
                return list(found.ProcessIdList[: found.NumberOfProcessIdsInList])
            room = found.NumberOfAssignedProcesses * 2

    def job_cpu_seconds(self, job: int) -> float:
        found = types.Accounting()
        pointer, size = ctypes.byref(found), ctypes.sizeof(found)
        _checked(types.kernel32.QueryInformationJobObject(job, types.BASIC_ACCOUNTING, pointer, size, None))
        return float(found.TotalUserTime + found.TotalKernelTime) / 10_000_000

    def launch_suspended(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: str, output: int
    ) -> Launched:
        writer = msvcrt.get_osfhandle(output)
        with open("NUL", "rb") as nothing:
            reader = msvcrt.get_osfhandle(nothing.fileno())
            for handle in (reader, writer):
                flag = types.HANDLE_FLAG_INHERIT
                _checked(types.kernel32.SetHandleInformation(handle, flag, flag))
            return self._create(arguments, environment, directory, reader, writer)

    def _create(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: str, reader: int, writer: int
    ) -> Launched:
        # Only these two handles are inherited, whatever else this process holds.
        inherited = (wintypes.HANDLE * 2)(reader, writer)
        size = types.SIZE_T(0)
        types.kernel32.InitializeProcThreadAttributeList(None, 1, 0, ctypes.byref(size))
        attributes = ctypes.create_string_buffer(size.value)
        _checked(types.kernel32.InitializeProcThreadAttributeList(attributes, 1, 0, ctypes.byref(size)))
        try:
            _checked(
                types.kernel32.UpdateProcThreadAttribute(
                    attributes,
                    0,
                    types.PROC_THREAD_ATTRIBUTE_HANDLE_LIST,
                    ctypes.byref(inherited),
                    ctypes.sizeof(inherited),
                    None,
                    None,
                )
            )
            start = types.StartupInfoEx()
            start.StartupInfo.cb = ctypes.sizeof(start)
            start.StartupInfo.dwFlags = types.STARTF_USESTDHANDLES
            start.StartupInfo.hStdInput = reader
            start.StartupInfo.hStdOutput = start.StartupInfo.hStdError = writer
            start.lpAttributeList = ctypes.addressof(attributes)
            made = types.ProcessInformation()
            line = ctypes.create_unicode_buffer(command_line(arguments))
            block = ctypes.create_unicode_buffer(environment_block(environment))
            flags = types.CREATE_SUSPENDED | types.CREATE_NEW_PROCESS_GROUP | types.CREATE_NO_WINDOW
            flags |= types.CREATE_UNICODE_ENVIRONMENT | types.EXTENDED_STARTUPINFO_PRESENT
            _checked(
                types.kernel32.CreateProcessW(
                    arguments[0],
                    line,
                    None,
                    None,
                    True,
                    flags,
                    block,
                    directory,
                    ctypes.byref(start),
                    ctypes.byref(made),
                )
            )
            return Launched(made.hProcess, made.hThread, made.dwProcessId)
        finally:
            types.kernel32.DeleteProcThreadAttributeList(attributes)

    def resume(self, thread: int) -> None:
        if types.kernel32.ResumeThread(thread) == 0xFFFFFFFF:
            raise ctypes.WinError(ctypes.get_last_error())

    def open_process(self, pid: int) -> int | None:
        return _opened(types.kernel32.OpenProcess(types.PROCESS_ACCESS, False, pid))

    def started(self, process: int) -> str:
        times = [ctypes.c_ulonglong() for _ in range(4)]
        _checked(types.kernel32.GetProcessTimes(process, *(ctypes.byref(time) for time in times)))
        return str(times[0].value)

    def exit_code(self, process: int) -> int | None:
        # STILL_ACTIVE (259) is also an exit code that a program may choose, so waiting tells what runs.
        if self.wait_any([process], 0.0) is None:
            return None
        code = wintypes.DWORD()
        _checked(types.kernel32.GetExitCodeProcess(process, ctypes.byref(code)))
        return code.value

    def end_process(self, process: int, code: int) -> None:
        # Refused for a process that is ending already, which is as good.
        if not types.kernel32.TerminateProcess(process, code) and self.exit_code(process) is None:
            raise ctypes.WinError(ctypes.get_last_error())

    def memory_bytes(self, pid: int) -> int:
        import psutil  # here, because keepers do not need it

        try:
            return int(psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            return 0

    def create_event(self, name: str) -> int:
        return _checked(types.kernel32.CreateEventW(None, False, False, name or None))

    def open_event(self, name: str) -> int | None:
        return _opened(types.kernel32.OpenEventW(types.EVENT_MODIFY_STATE, False, name))

    def set_event(self, event: int) -> None:
        _checked(types.kernel32.SetEvent(event))

    def wait_any(self, handles: Sequence[int], seconds: float | None) -> int | None:
        array = (wintypes.HANDLE * len(handles))(*handles)
        milliseconds = types.INFINITE if seconds is None else max(0, int(seconds * 1000))
        result: int = types.kernel32.WaitForMultipleObjects(len(handles), array, False, milliseconds)
        if result == types.WAIT_FAILED:
            raise ctypes.WinError(ctypes.get_last_error())
        return None if result == types.WAIT_TIMEOUT else result

    def send_ctrl_break(self, pid: int) -> bool:
        if not types.kernel32.AttachConsole(pid):
            return False  # no console: a program with windows only, or one that is gone
        try:
            return bool(types.kernel32.GenerateConsoleCtrlEvent(types.CTRL_BREAK_EVENT, pid))
        finally:
            types.kernel32.FreeConsole()

    def close_windows(self, pids: Collection[int]) -> int:
        asked = 0

        def look(window: int, _parameter: int) -> bool:
            nonlocal asked
            owner = wintypes.DWORD()
            types.user32.GetWindowThreadProcessId(window, ctypes.byref(owner))
            if owner.value in pids and types.user32.PostMessageW(window, types.WM_CLOSE, 0, 0):
                asked += 1
            return True

        types.user32.EnumWindows(types.ENUM_PROCEDURE(look), 0)
        return asked

    def close(self, handle: int) -> None:
        _checked(types.kernel32.CloseHandle(handle))

    def boot_id(self) -> str:
        found = types.TimeOfDay()
        pointer, size = ctypes.byref(found), ctypes.sizeof(found)
        status = types.ntdll.NtQuerySystemInformation(types.SYSTEM_TIME_OF_DAY, pointer, size, None)
        if status != 0:
            raise OSError(f"NtQuerySystemInformation: status {status & 0xFFFFFFFF:#x}")
        return str(found.BootTime - found.BootTimeBias)

    def marked(self) -> list[Marked]:
        import psutil

        found = []
        for process in psutil.process_iter():
            try:
                mark = process.environ().get(MARK_VARIABLE)
            except (psutil.Error, OSError):
                continue
            handle = self.open_process(process.pid) if mark else None
            if mark and handle is not None:
                found.append(Marked(process.pid, self.started(handle), mark))
                self.close(handle)
        return found
