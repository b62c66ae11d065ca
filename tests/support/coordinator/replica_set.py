"""Two members of a replica set made of one standalone engine, so that its primary can step down.

Each member is a proxy on the MongoDB wire protocol. They answer ``hello`` themselves; the primary passes everything
else on to the engine, the other member refuses it as a secondary does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from runtime.chassis.lifecycle import Background
from tests.lab.mongosim.wire import Message, receive

_HELLO = frozenset({"hello", "ismaster", "isMaster"})
_WRITES = frozenset({"insert", "update", "delete", "findAndModify", "findandmodify"})
_NAME = "rs0"


class ReplicaSet:
    """``lose_answers``: so many writes reach the engine whose answer does not come back; the connection breaks."""

    def __init__(self, engine_port: int) -> None:
        self.engine_port = engine_port
        self.term = 1
        self.primary = 0
        self.members = [_Member(self, 0), _Member(self, 1)]
        self.lose_answers = 0
        self.lost = self.refused = 0

    @property
    def uri(self) -> str:
        return f"mongodb://{','.join(self.hosts)}/?replicaSet={_NAME}"

    @property
    def hosts(self) -> list[str]:
        return [f"127.0.0.1:{member.port}" for member in self.members]

    def step_down(self, *, drop: bool) -> None:
        """The other member is primary now. ``drop``: the old one's connections break; else they
        stay and writes on them are answered NotWritablePrimary."""
        old = self.members[self.primary]
        self.primary, self.term = 1 - self.primary, self.term + 1
        if drop:
            old.drop()


class _Member:
    def __init__(self, replica_set: ReplicaSet, number: int) -> None:
        self._set, self._number = replica_set, number
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._work = Background()

    @property
    def is_primary(self) -> bool:
        return self._set.primary == self._number

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        await self._work.close()

    def drop(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._work.spawn("member's connection", self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            engine_reader, engine_writer = await asyncio.open_connection("127.0.0.1", self._set.engine_port)
            try:
                while True:
                    await self._one(Message(await receive(reader)), writer, engine_reader, engine_writer)
            finally:
                engine_writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _one(
        self,
        message: Message,
        writer: asyncio.StreamWriter,
        engine_reader: asyncio.StreamReader,
        engine_writer: asyncio.StreamWriter,
    ) -> None:
        if message.name in _HELLO:
            writer.write(message.answer(self._hello()))
        elif not self.is_primary:
            self._set.refused += 1
            writer.write(message.answer(_not_primary(retryable="txnNumber" in message.command)))
        else:
            engine_writer.write(message.for_engine())
            reply = await receive(engine_reader)
            if message.name in _WRITES and self._set.lose_answers > 0:
                self._set.lose_answers -= 1
                self._set.lost += 1
                raise ConnectionResetError("the answer is lost")
            writer.write(reply)
        await writer.drain()

    def _hello(self) -> dict[str, Any]:
        hosts = self._set.hosts
        answer = {
            "ok": 1.0,
            "helloOk": True,
            "ismaster": self.is_primary,
            "isWritablePrimary": self.is_primary,
            "secondary": not self.is_primary,
            "setName": _NAME,
            "setVersion": 1,
            "hosts": hosts,
            "primary": hosts[self._set.primary],
            "me": hosts[self._number],
            "maxBsonObjectSize": 16_777_216,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "logicalSessionTimeoutMinutes": 30,
            "localTime": datetime.fromtimestamp(time.time(), UTC),
            "minWireVersion": 0,
            "maxWireVersion": 17,
            "readOnly": False,
        }
        if self.is_primary:
            answer["electionId"] = ObjectId(self._set.term.to_bytes(12, "big"))
        return answer


def _not_primary(*, retryable: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"ok": 0.0, "errmsg": "not primary", "code": 10107, "codeName": "NotWritablePrimary"}
    return {**answer, "errorLabels": ["RetryableWriteError"]} if retryable else answer


@asynccontextmanager
async def replica_set(engine_port: int) -> AsyncIterator[ReplicaSet]:
    made = ReplicaSet(engine_port)
    for member in made.members:
        await member.start()
    try:
        yield made
    finally:
        for member in made.members:
            with suppress(OSError):
                await member.close()
