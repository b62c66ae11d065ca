"""Two members of a replica set made of one standalone engine, so that its primary can step down.

Each member is a proxy on the MongoDB wire protocol (OP_MSG, and the OP_QUERY of the first handshake). They
answer ``hello`` themselves; the primary passes everything else on to the engine, the other member refuses it as a
secondary does.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import bson
from bson import ObjectId

from runtime.chassis.lifecycle import Background

_HEADER = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_HELLO = frozenset({"hello", "ismaster", "isMaster"})
_WRITES = frozenset({"insert", "update", "delete", "findAndModify", "findandmodify"})
# What only members of a real replica set understand.
_ONLY_FOR_SETS = ("lsid", "txnNumber", "$clusterTime")
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
                    await self._one(await _receive(reader), writer, engine_reader, engine_writer)
            finally:
                engine_writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _one(
        self,
        message: _Message,
        writer: asyncio.StreamWriter,
        engine_reader: asyncio.StreamReader,
        engine_writer: asyncio.StreamWriter,
    ) -> None:
        name = next(iter(message.command))
        if name in _HELLO:
            writer.write(message.answer(self._hello()))
        elif not self.is_primary:
            self._set.refused += 1
            writer.write(message.answer(_not_primary(retryable="txnNumber" in message.command)))
        else:
            engine_writer.write(message.for_engine())
            reply = await _receive(engine_reader)
            if name in _WRITES and self._set.lose_answers > 0:
                self._set.lose_answers -= 1
                self._set.lost += 1
                raise ConnectionResetError("the answer is lost")
            writer.write(reply.raw)
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


class _Message:
    """One message of the wire protocol with its command."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        _, self._id, _, self._code = _HEADER.unpack_from(raw)
        if self._code == _OP_QUERY:
            # flags, name of the collection, two numbers, the command
            self._begin = raw.index(b"\0", 20) + 1 + 8
        else:
            # flags, kind 0, the command; what follows are its documents
            self._begin = 21
        (length,) = struct.unpack_from("<i", raw, self._begin) if self._code in (_OP_QUERY, _OP_MSG) else (0,)
        self._end = self._begin + length

    @property
    def command(self) -> dict[str, Any]:
        return bson.decode(self.raw[self._begin : self._end])

    def for_engine(self) -> bytes:
        kept = {key: value for key, value in self.command.items() if key not in _ONLY_FOR_SETS}
        body = self.raw[16 : self._begin] + bson.encode(kept) + self.raw[self._end :]
        return _HEADER.pack(16 + len(body), self._id, 0, self._code) + body

    def answer(self, document: dict[str, Any]) -> bytes:
        encoded = bson.encode(document)
        if self._code == _OP_QUERY:
            body, code = struct.pack("<iqii", 8, 0, 0, 1) + encoded, _OP_REPLY
        else:
            body, code = struct.pack("<iB", 0, 0) + encoded, _OP_MSG
        return _HEADER.pack(16 + len(body), 0, self._id, code) + body


async def _receive(reader: asyncio.StreamReader) -> _Message:
    head = await reader.readexactly(4)
    (length,) = struct.unpack("<i", head)
    return _Message(head + await reader.readexactly(length - 4))


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
