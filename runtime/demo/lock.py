"""One demo per directory: a second one says so, and one that was killed leaves no lock behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import DemoError


class DirectoryLock:
    """Held by an open file, so that the system drops it with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1

    def take(self) -> None:
        """Raise :class:`DemoError` when another demo runs here."""
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(self._handle)
        except OSError:
            holder = self._read()
            self.release()
            raise DemoError(f"A demo already runs here (process {holder}); stop it with Ctrl-C there.") from None
        os.ftruncate(self._handle, 0)
        os.write(self._handle, str(os.getpid()).encode())

    def _read(self) -> str:
        return os.read(self._handle, 32).decode(errors="replace").strip() or "unknown"

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
