"""Where data commands go: the project's embedded engine, a process of its own on a port that only this machine has."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

from .wire import Message, receive

START_SECONDS = 20.0
_RUN = "import sys; from nx_27017.nx_27017 import main; sys.exit(main())"


class Engine:
    """Started with the first data command, as most members of a set never get one."""

    def __init__(self, data: Path) -> None:
        self._data = data / "engine"
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0
        self._starting = asyncio.Lock()

    async def connect(self) -> EngineConnection:
        """Return a new connection to the engine, which runs from now on."""
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                await self._start()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        return EngineConnection(reader, writer)

    async def _start(self) -> None:
        self._data.mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        files = ("--data-dir", ".", "--log-file", "engine.log", "--pid-file", "engine.pid")
        with (self._data / "output").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _RUN, "--host", "127.0.0.1", "-p", str(self._port), *files,
                cwd=self._data, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                except OSError:
                    if self._process.returncode is not None:
                        raise RuntimeError(f"the engine ended; see {self._data}/output") from None
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return

    async def close(self) -> None:
        # It leaves its loop on SIGTERM only when no client is connected; its journal keeps what it acknowledged.
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class EngineConnection:
    """One client's connection; cursors live as long as it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def pass_on(self, message: Message) -> bytes:
        self._writer.write(message.for_engine())
        await self._writer.drain()
        return await receive(self._reader)

    def close(self) -> None:
        self._writer.transport.abort()
