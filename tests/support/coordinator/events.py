"""A reader of server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from .stand import Viewer


class EventStream:
    """Events in the order of their arrival."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False

    async def open(self) -> None:
        self.status = int((await self._reader.readline()).split()[1])
        while line := (await self._reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    async def _line(self) -> bytes:
        """One line of the body, whose chunks always end with a line."""
        while True:
            line = await self._reader.readline()
            if not line:
                self.ended = True
                raise EOFError
            text = line.rstrip(b"\r\n")
            is_chunk_size = line.endswith(b"\r\n") and all(c in b"0123456789abcdef" for c in text)
            if is_chunk_size:
                if text == b"0":
                    self.ended = True
                    raise EOFError
                continue
            return text

    async def next(self, seconds: float = 10.0) -> tuple[str, Any]:
        """The next event's name and data; raise ``EOFError`` at the end."""
        name = ""
        async with asyncio.timeout(seconds):
            while True:
                line = await self._line()
                if line.startswith(b"event: "):
                    name = line[7:].decode()
                elif line.startswith(b"data: ") and name:
                    return name, json.loads(line[6:])

    async def until(self, condition: Any, seconds: float = 10.0) -> Any:
        """The data of the first event for which ``condition`` holds."""
        async with asyncio.timeout(seconds):
            while True:
                _, data = await self.next(seconds)
                if condition(data):
                    return data

    def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def follow(viewer: Viewer, path: str) -> AsyncIterator[EventStream]:
    """Open an event stream as ``viewer``."""
    split = urlsplit(viewer.url)
    reader, writer = await asyncio.open_connection(split.hostname, split.port, limit=4 * 1024 * 1024)
    cookies = "; ".join(f"{name}={value}" for name, value in viewer.cookies.items())
    key = f"Authorization: Bearer {viewer.key}\r\n" if viewer.key else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {split.netloc}\r\nCookie: {cookies}\r\n{key}\r\n".encode())
    stream = EventStream(reader, writer)
    try:
        await stream.open()
        yield stream
    finally:
        stream.close()
