"""Chooses the process adapter of this machine's operating system."""

from __future__ import annotations

import sys

from .base import ProcessHost


def process_host() -> ProcessHost:
    """The adapter; raise ``OSError`` where none works."""
    if sys.platform == "win32":
        from .windows import WindowsProcessHost

        return WindowsProcessHost()
    if not sys.platform.startswith("linux"):
        raise OSError("The session server runs on Linux and on Windows.")
    from .posix import PosixProcessHost

    return PosixProcessHost()
