"""Run the session server from the logon task of a Windows desktop. Works anywhere, which is how it is tested.

A logon task has no console to write to, and nothing to ask it to stop with: the Task Scheduler can only end it, and
would end the sessions with it. So standard output goes to rotated files, and a file takes the place of signals: once
``--stop-file`` appears, the session server stops as by Ctrl-C; while it is there, it does not start.

The task starts this again every minute, which does nothing while it runs (``MultipleInstances`` is ``IgnoreNew``).
"""

from __future__ import annotations

import argparse
import io
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from .process.rotated_log import RotatedLog

_LOOK_SECONDS = 0.5


class LogStream(io.TextIOBase):
    """A text stream into rotated files."""

    def __init__(self, log: RotatedLog) -> None:
        self._log = log
        self._lock = threading.Lock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            self._log.write(text.encode("utf-8", "backslashreplace"))
        return len(text)


def stop_when_asked(stop_file: Path, ended: threading.Event) -> None:
    """Interrupt this process once ``stop_file`` appears; returns when ``ended`` is set."""
    while not ended.wait(_LOOK_SECONDS):
        if stop_file.exists():
            signal.raise_signal(signal.SIGINT)
            return


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes are the session server's; 0 without starting while the stop file is there."""
    parser = argparse.ArgumentParser(prog="python -m runtime.session_server.windows_logon")
    parser.add_argument("--config", required=True, metavar="FILE")
    parser.add_argument("--log", required=True, metavar="FILE")
    parser.add_argument("--log-bytes", type=int, default=10 * 1024 * 1024)
    parser.add_argument("--log-files", type=int, default=5)
    parser.add_argument("--stop-file", required=True, type=Path)
    options = parser.parse_args(arguments)
    if options.stop_file.exists():
        return 0
    log = RotatedLog(options.log, options.log_bytes, options.log_files)
    sys.stdout = sys.stderr = LogStream(log)
    ended = threading.Event()
    watch = threading.Thread(target=stop_when_asked, args=(options.stop_file, ended), daemon=True)
    watch.start()
    try:
        # Imported after the streams are in place: what fails on import is then in the log too.
        from .app import main as serve

        return serve(["--config", options.config])
    except KeyboardInterrupt:
        return 0  # asked to stop before the session server was listening for it
    finally:
        ended.set()
        log.close()


if __name__ == "__main__":
    sys.exit(main())
