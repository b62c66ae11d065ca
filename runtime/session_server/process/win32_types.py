"""Structures, constants and prototypes of the Win32 calls in ``win32.py``. Imported on Windows only.

Sources: Microsoft, Win32 API (processthreadsapi.h, jobapi2.h, synchapi.h, wincon.h, winuser.h) and winternl.h.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

assert sys.platform == "win32"

kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
user32 = ctypes.WinDLL("user32", use_last_error=True)
ntdll = ctypes.WinDLL("ntdll")

CREATE_SUSPENDED = 0x00000004
CREATE_NEW_PROCESS_GROUP = 0x00000200
CREATE_UNICODE_ENVIRONMENT = 0x00000400
CREATE_NO_WINDOW = 0x08000000
EXTENDED_STARTUPINFO_PRESENT = 0x00080000
STARTF_USESTDHANDLES = 0x00000100
PROC_THREAD_ATTRIBUTE_HANDLE_LIST = 0x00020002
HANDLE_FLAG_INHERIT = 1
PROCESS_ACCESS = 0x00100000 | 0x1000 | 0x0001  # SYNCHRONIZE, QUERY_LIMITED_INFORMATION, TERMINATE
JOB_ACCESS = 0x0004 | 0x0008  # JOB_OBJECT_QUERY, JOB_OBJECT_TERMINATE
EVENT_MODIFY_STATE = 0x0002
KILL_ON_JOB_CLOSE = 0x2000
BASIC_ACCOUNTING, PROCESS_ID_LIST, EXTENDED_LIMITS = 1, 3, 9
CTRL_BREAK_EVENT = 1
WM_CLOSE = 0x0010
INFINITE = 0xFFFFFFFF
WAIT_TIMEOUT = 0x00000102
WAIT_FAILED = 0xFFFFFFFF
SYSTEM_TIME_OF_DAY = 3
ERROR_FILE_NOT_FOUND, ERROR_ACCESS_DENIED, ERROR_INVALID_PARAMETER = 2, 5, 87
SIZE_T = ctypes.c_size_t


class BasicLimits(ctypes.Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
        ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
        ("LimitFlags", wintypes.DWORD),
        ("MinimumWorkingSetSize", SIZE_T),
        ("MaximumWorkingSetSize", SIZE_T),
        ("ActiveProcessLimit", wintypes.DWORD),
        ("Affinity", SIZE_T),
        ("PriorityClass", wintypes.DWORD),
        ("SchedulingClass", wintypes.DWORD),
    )


class ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("Basic", BasicLimits),
        ("IoInfo", ctypes.c_ulonglong * 6),
        ("ProcessMemoryLimit", SIZE_T),
        ("JobMemoryLimit", SIZE_T),
        ("PeakProcessMemoryUsed", SIZE_T),
        ("PeakJobMemoryUsed", SIZE_T),
    )


class Accounting(ctypes.Structure):
    _fields_ = (
        ("TotalUserTime", wintypes.LARGE_INTEGER),
        ("TotalKernelTime", wintypes.LARGE_INTEGER),
        ("ThisPeriodTotalUserTime", wintypes.LARGE_INTEGER),
        ("ThisPeriodTotalKernelTime", wintypes.LARGE_INTEGER),
        ("TotalPageFaultCount", wintypes.DWORD),
        ("TotalProcesses", wintypes.DWORD),
        ("ActiveProcesses", wintypes.DWORD),
        ("TotalTerminatedProcesses", wintypes.DWORD),
    )


class StartupInfo(ctypes.Structure):
    _fields_ = (
        ("cb", wintypes.DWORD),
        ("lpReserved", wintypes.LPWSTR),
        ("lpDesktop", wintypes.LPWSTR),
        ("lpTitle", wintypes.LPWSTR),
        ("dwX", wintypes.DWORD),
        ("dwY", wintypes.DWORD),
        ("dwXSize", wintypes.DWORD),
        ("dwYSize", wintypes.DWORD),
        ("dwXCountChars", wintypes.DWORD),
        ("dwYCountChars", wintypes.DWORD),
        ("dwFillAttribute", wintypes.DWORD),
        ("dwFlags", wintypes.DWORD),
        ("wShowWindow", wintypes.WORD),
        ("cbReserved2", wintypes.WORD),
        ("lpReserved2", ctypes.c_void_p),
        ("hStdInput", wintypes.HANDLE),
        ("hStdOutput", wintypes.HANDLE),
        ("hStdError", wintypes.HANDLE),
    )


class StartupInfoEx(ctypes.Structure):
    _fields_ = (("StartupInfo", StartupInfo), ("lpAttributeList", ctypes.c_void_p))


class ProcessInformation(ctypes.Structure):
    _fields_ = (
        ("hProcess", wintypes.HANDLE),
        ("hThread", wintypes.HANDLE),
        ("dwProcessId", wintypes.DWORD),
        ("dwThreadId", wintypes.DWORD),
    )


class TimeOfDay(ctypes.Structure):
    """SYSTEM_TIMEOFDAY_INFORMATION. A step of the clock moves BootTime and BootTimeBias alike."""

    _fields_ = (
        ("BootTime", ctypes.c_longlong),
        ("CurrentTime", ctypes.c_longlong),
        ("TimeZoneBias", ctypes.c_longlong),
        ("TimeZoneId", ctypes.c_ulong),
        ("Reserved", ctypes.c_ulong),
        ("BootTimeBias", ctypes.c_ulonglong),
        ("SleepTimeBias", ctypes.c_ulonglong),
    )


ENUM_PROCEDURE = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.HWND, wintypes.LPARAM)

# Without these, ctypes would cut 64-bit handles to 32 bits.
for _name, _result, _arguments in (
    ("CreateJobObjectW", wintypes.HANDLE, (ctypes.c_void_p, wintypes.LPCWSTR)),
    ("OpenJobObjectW", wintypes.HANDLE, (wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR)),
    ("AssignProcessToJobObject", wintypes.BOOL, (wintypes.HANDLE, wintypes.HANDLE)),
    ("TerminateJobObject", wintypes.BOOL, (wintypes.HANDLE, wintypes.UINT)),
    ("SetInformationJobObject", wintypes.BOOL, (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)),
    (
        "QueryInformationJobObject",
        wintypes.BOOL,
        (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p),
    ),
    (
        "CreateProcessW",
        wintypes.BOOL,
        (
            wintypes.LPCWSTR,
            wintypes.LPWSTR,
            ctypes.c_void_p,
            ctypes.c_void_p,
            wintypes.BOOL,
            wintypes.DWORD,
            ctypes.c_void_p,
            wintypes.LPCWSTR,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ),
    ),
    (
        "InitializeProcThreadAttributeList",
        wintypes.BOOL,
        (ctypes.c_void_p, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p),
    ),
    (
        "UpdateProcThreadAttribute",
        wintypes.BOOL,
        (ctypes.c_void_p, wintypes.DWORD, SIZE_T, ctypes.c_void_p, SIZE_T, ctypes.c_void_p, ctypes.c_void_p),
    ),
    ("DeleteProcThreadAttributeList", None, (ctypes.c_void_p,)),
    ("SetHandleInformation", wintypes.BOOL, (wintypes.HANDLE, wintypes.DWORD, wintypes.DWORD)),
    ("ResumeThread", wintypes.DWORD, (wintypes.HANDLE,)),
    ("OpenProcess", wintypes.HANDLE, (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)),
    ("GetProcessTimes", wintypes.BOOL, (wintypes.HANDLE, *(ctypes.c_void_p,) * 4)),
    ("GetExitCodeProcess", wintypes.BOOL, (wintypes.HANDLE, ctypes.c_void_p)),
    ("TerminateProcess", wintypes.BOOL, (wintypes.HANDLE, wintypes.UINT)),
    ("CreateEventW", wintypes.HANDLE, (ctypes.c_void_p, wintypes.BOOL, wintypes.BOOL, wintypes.LPCWSTR)),
    ("OpenEventW", wintypes.HANDLE, (wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR)),
    ("SetEvent", wintypes.BOOL, (wintypes.HANDLE,)),
    (
        "WaitForMultipleObjects",
        wintypes.DWORD,
        (wintypes.DWORD, ctypes.c_void_p, wintypes.BOOL, wintypes.DWORD),
    ),
    ("CloseHandle", wintypes.BOOL, (wintypes.HANDLE,)),
    ("AttachConsole", wintypes.BOOL, (wintypes.DWORD,)),
    ("FreeConsole", wintypes.BOOL, ()),
    ("GenerateConsoleCtrlEvent", wintypes.BOOL, (wintypes.DWORD, wintypes.DWORD)),
):
    _function = getattr(kernel32, _name)
    _function.restype, _function.argtypes = _result, _arguments
user32.EnumWindows.argtypes = (ENUM_PROCEDURE, wintypes.LPARAM)
user32.GetWindowThreadProcessId.argtypes = (wintypes.HWND, ctypes.c_void_p)
user32.PostMessageW.argtypes = (wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM)
ntdll.NtQuerySystemInformation.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p)
