"""The control interface comes up although the machine's network comes up later."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket

import pytest

from runtime.chassis.config import Listen
from runtime.session_server import app

LISTEN = Listen(address="10.9.8.7", port=8750)


class Network:
    """``bind_sockets`` on a machine that gets its address after a number of attempts."""

    def __init__(self, attempts: int, code: int = errno.EADDRNOTAVAIL) -> None:
        self.attempts, self.code = attempts, code

    def __call__(self, port: int, address: str) -> list[socket.socket]:
        assert (port, address) == (LISTEN.port, LISTEN.address)
        self.attempts -= 1
        if self.attempts >= 0:
            raise OSError(self.code, "not yet")
        return [socket.socket()]


async def test_an_address_that_comes_later_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "_ADDRESS_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(app, "bind_sockets", Network(3))
    with caplog.at_level(logging.WARNING):
        sockets = await app.bound_sockets(LISTEN, asyncio.Event())
    assert [record.getMessage() for record in caplog.records] == [
        "listen.address 10.9.8.7 is not (yet) an address of this machine; waiting for it"
    ]
    for each in sockets:
        each.close()
    assert len(sockets) == 1


async def test_waiting_ends_when_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_ADDRESS_LOOK_SECONDS", 60.0)
    monkeypatch.setattr(app, "bind_sockets", Network(1000))
    stop = asyncio.Event()
    waiting = asyncio.create_task(app.bound_sockets(LISTEN, stop))
    await asyncio.sleep(0)
    stop.set()
    assert await asyncio.wait_for(waiting, 10) == []


async def test_a_taken_port_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "bind_sockets", Network(1, errno.EADDRINUSE))
    with pytest.raises(OSError, match="not yet"):
        await app.bound_sockets(LISTEN, asyncio.Event())
