"""Database engines for tests: the embedded one as a real process, and others that the environment offers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import LONG_LIVED

_START_SECONDS = 20.0
_RUN = "import sys; from nx_27017.nx_27017 import main; sys.exit(main())"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedDatabase:
    """The embedded engine on a port of its own, with its data in a temporary directory."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self._place = Path(tempfile.mkdtemp(prefix="pixelstream-db-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, or start again on the same data."""
        files = ("--log-file", str(self._place / "nx.log"), "--pid-file", str(self._place / "nx.pid"))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUN, "-p", str(self.port), "--data-dir", str(self._place / "data"), *files],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        LONG_LIVED.add(self._process.pid)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._place / "nx.log").read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def pause(self) -> None:
        """Keep connections open and answer nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """As by the out-of-memory killer. Its journal keeps what was acknowledged."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            LONG_LIVED.discard(self._process.pid)
            self._process = None

    def close(self) -> None:
        # The engine leaves its loop on SIGTERM only when no client is connected.
        self.kill()
        shutil.rmtree(self._place, ignore_errors=True)
