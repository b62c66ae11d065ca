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

from runtime.demo.processes import free_port
from tests.conftest import LONG_LIVED

_START_SECONDS = 20.0
_RUN = "import sys; from nx_27017.nx_27017 import main; sys.exit(main())"


class DatabaseProcess:
    """An engine on a port of its own, with its data in a temporary directory."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port("127.0.0.1")
        self._place = Path(tempfile.mkdtemp(prefix="pixelstream-db-"))
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, or start again on the same data."""
        with (self._place / "output").open("ab") as output:
            self._process = subprocess.Popen(self.command(), cwd=self._place, stdout=output, stderr=output)
        LONG_LIVED.add(self._process.pid)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._place / "output").read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def pause(self) -> None:
        """Keep connections open and answer nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """After :meth:`pause`; one that was killed meanwhile has nothing to resume."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """As by the out-of-memory killer. Its journal keeps what was acknowledged."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            LONG_LIVED.discard(self._process.pid)
            self._process = None

    def close(self) -> None:
        # The embedded engine leaves its loop on SIGTERM only when no client is connected.
        self.kill()
        shutil.rmtree(self._place, ignore_errors=True)


class GivenDatabase(DatabaseProcess):
    """A MongoDB that somebody else runs; tests may use it and must not hurt it."""

    def __init__(self, uri: str) -> None:
        super().__init__(port=1)
        self._uri = uri

    @property
    def uri(self) -> str:
        return self._uri

    def start(self) -> None:
        """It runs already."""


class EmbeddedDatabase(DatabaseProcess):
    """What the demo and one-machine installations run."""

    def command(self) -> list[str]:
        files = ("--data-dir", "data", "--log-file", "nx.log", "--pid-file", "nx.pid")
        return [sys.executable, "-c", _RUN, "-p", str(self.port), *files]


class FerretDatabase(DatabaseProcess):
    """FerretDB over SQLite, from PATH."""

    def command(self) -> list[str]:
        return ferretdb_command(self._place, self.port)


def ferretdb_command(place: Path, port: int) -> list[str]:
    """FerretDB 1.x with its files in ``place``."""
    data = place / "data"
    data.mkdir(exist_ok=True)
    words = ["ferretdb", "--handler=sqlite", f"--sqlite-url=file:{data}/", "--telemetry=disable", "--debug-addr=-"]
    return [*words, f"--listen-addr=127.0.0.1:{port}", f"--state-dir={place}", "--log-level=error"]


def engines() -> list[str]:
    """Those that are there: embedded always, FerretDB when on PATH, MongoDB when ``MONGODB_URI`` names one."""
    found = ["embedded"]
    if shutil.which("ferretdb"):
        found.append("ferretdb")
    if os.environ.get("MONGODB_URI"):
        found.append("mongodb")
    return found


def database(engine: str) -> DatabaseProcess:
    """One of :func:`engines`, not yet started."""
    if engine == "mongodb":
        return GivenDatabase(os.environ["MONGODB_URI"])
    return FerretDatabase() if engine == "ferretdb" else EmbeddedDatabase()
