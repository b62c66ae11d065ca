"""Bounded log files, for keepers and for the session server on a Windows desktop. Small: every keeper loads it."""

from __future__ import annotations

import os

# O_BINARY: Windows would turn every line feed into two bytes.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class RotatedLog:
    """Appends to ``path``; past ``file_bytes`` moves it to ``path.1`` and so on, keeping ``files`` in all."""

    def __init__(self, path: str, file_bytes: int, files: int) -> None:
        self._path, self._file_bytes, self._files = path, file_bytes, files
        self._file = -1
        self._size = 0

    def write(self, data: bytes) -> None:
        """A full disk loses output rather than blocking the program."""
        try:
            if self._file < 0:
                self._file = os.open(self._path, _FLAGS, 0o640)
                self._size = os.fstat(self._file).st_size
            os.write(self._file, data)
            self._size += len(data)
            if self._size >= self._file_bytes:
                self._rotate()
        except OSError:
            self.close()

    def _rotate(self) -> None:
        self.close()
        for number in range(self._files - 1, 0, -1):
            older = f"{self._path}.{number}"
            newer = f"{self._path}.{number - 1}" if number > 1 else self._path
            if os.path.exists(newer):
                os.replace(newer, older)
        if self._files == 1:
            os.truncate(self._path, 0)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
