"""The name by which a session server knows its processes again: every mark begins with it.

It follows from the machine and the data directory, not from what lies in there, so that a session server whose data
were lost still finds, and ends, what its predecessor left running.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def installation_id(data_directory: Path) -> str:
    """The same for the same directory of the same machine, however its path is written."""
    place = os.path.normcase(os.path.realpath(data_directory))
    # Marks are split at dots, of which this has none.
    return hashlib.sha256(f"{_machine_id()}\n{place}".encode()).hexdigest()[:32]


def _machine_id() -> str:
    """The operating system's own; the machine's name where there is none, as in many containers."""
    if sys.platform == "win32":
        import winreg

        with (
            suppress(OSError),
            winreg.OpenKey(
                winreg.HKEY_LOCAL_MACHINE,
                r"SOFTWARE\Microsoft\Cryptography",
                access=winreg.KEY_READ | winreg.KEY_WOW64_64KEY,
            ) as key,
        ):
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])
    else:
        for path in _MACHINE_IDS:
            with suppress(OSError):
                if found := path.read_text("ascii", "replace").strip():
                    return found
    return platform.node()
