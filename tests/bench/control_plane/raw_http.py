"""A client cheap enough not to be what is measured: keep-alive, one request at a time, no parsing beyond the length."""

from __future__ import annotations

import asyncio
import time


class RawConnection:
    """Sends the same request again and again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> RawConnection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        return int(head[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.transport.abort()


def get(path: str, cookie: str = "") -> bytes:
    cookies = f"Cookie: {cookie}\r\n" if cookie else ""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{cookies}\r\n".encode()


async def rate(port: int, request: bytes, *, seconds: float, connections: int = 8) -> float:
    """Answers per second over some connections."""
    opened = [await RawConnection.open(port) for _ in range(connections)]
    done = 0
    ends = time.perf_counter() + seconds

    async def keep_asking(connection: RawConnection) -> None:
        nonlocal done
        while time.perf_counter() < ends:
            status, _ = await connection.ask(request)
            if status != 200:
                raise RuntimeError(f"answered {status}")
            done += 1

    began = time.perf_counter()
    try:
        await asyncio.gather(*(keep_asking(connection) for connection in opened))
    finally:
        for connection in opened:
            connection.close()
    return done / (time.perf_counter() - began)
