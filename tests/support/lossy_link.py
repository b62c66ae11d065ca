"""A bad network in user space: UDP between any number of clients and one server, delayed, narrow, with some of it lost.

The server sees every client behind an address of this link (as behind a NAT), and must announce the link's own address.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any


class _Side(asyncio.DatagramProtocol):
    def __init__(self, link: LossyLink, client: tuple[Any, ...] | None) -> None:
        self.link, self.client = link, client

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if self.client is None:
            self.link.from_client(data, addr)
        else:
            self.link.from_server(data, self.client)

    def error_received(self, exc: Exception) -> None:
        """A closed client: nothing to do."""


class LossyLink:
    """``open`` it, tell the server to announce ``port``, then ``connect`` it to the server's address.

    ``rate_bps`` limits what all clients together receive, with a buffer of ``buffer_seconds`` in front, as a home
    connection does.
    """

    def __init__(
        self,
        *,
        loss: float = 0.0,
        delay_seconds: float = 0.0,
        rate_bps: float | None = None,
        buffer_seconds: float = 0.15,
        seed: int = 1,
    ) -> None:
        self.loss, self.delay_seconds = loss, delay_seconds
        self.rate_bps, self.buffer_seconds = rate_bps, buffer_seconds
        self._free_at = 0.0  # when the narrow part has sent all that it holds
        self.port = 0
        self.lost = self.passed = 0
        self._dice = random.Random(seed)
        self._server: tuple[str, int] | None = None
        self._front: _Side
        self._backs: dict[tuple[Any, ...], _Side] = {}
        self._waiting: dict[tuple[Any, ...], list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        transport, self._front = await loop.create_datagram_endpoint(
            lambda: _Side(self, None), local_addr=("127.0.0.1", 0)
        )
        self.port = transport.get_extra_info("sockname")[1]

    def connect(self, server: tuple[str, int]) -> None:
        self._server = server

    def from_client(self, data: bytes, client: tuple[Any, ...]) -> None:
        back = self._backs.get(client)
        if back is not None:
            self._later(back.transport, data, self._server)
        elif client in self._waiting:
            self._waiting[client].append(data)
        else:
            self._waiting[client] = [data]
            task = asyncio.get_running_loop().create_task(self._new_client(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def from_server(self, data: bytes, client: tuple[Any, ...]) -> None:
        queued = 0.0
        if self.rate_bps is not None:
            now = asyncio.get_running_loop().time()
            queued = max(0.0, self._free_at - now)
            if queued > self.buffer_seconds:
                self.lost += 1
                return
            queued += len(data) * 8 / self.rate_bps
            self._free_at = now + queued
        self._later(self._front.transport, data, client, queued)

    async def _new_client(self, client: tuple[Any, ...]) -> None:
        loop = asyncio.get_running_loop()
        _, back = await loop.create_datagram_endpoint(lambda: _Side(self, client), local_addr=("127.0.0.1", 0))
        self._backs[client] = back
        for data in self._waiting.pop(client):
            self._later(back.transport, data, self._server)

    def _later(
        self,
        transport: asyncio.DatagramTransport,
        data: bytes,
        address: tuple[Any, ...] | None,
        queued_seconds: float = 0.0,
    ) -> None:
        if self._dice.random() < self.loss:
            self.lost += 1
            return
        self.passed += 1
        asyncio.get_running_loop().call_later(self.delay_seconds + queued_seconds, self._send, transport, data, address)

    def _send(self, transport: asyncio.DatagramTransport, data: bytes, address: tuple[Any, ...] | None) -> None:
        if not self._closed:
            transport.sendto(data, address)

    def close(self) -> None:
        self._closed = True
        self._front.transport.close()
        for back in self._backs.values():
            back.transport.close()
