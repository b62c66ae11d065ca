"""Messages of the MongoDB wire protocol: OP_MSG, and OP_QUERY of a driver's first handshake."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import bson

HEADER = struct.Struct("<iiii")
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
MORE_TO_COME = 2
LARGEST_BYTES = 48_000_000
# What only a real server understands of each command; the embedded engine takes it for conditions.
ONLY_FOR_SERVERS = ("lsid", "txnNumber", "$clusterTime", "$readPreference", "apiVersion")


class Message:
    """A command as it came. What follows it in the message (documents of an insert) stays encoded."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        _, self.identifier, _, self.code = HEADER.unpack_from(raw)
        if self.code == OP_QUERY:
            # flags, name of the collection, two numbers, the command
            self.begin = raw.index(b"\0", 20) + 1 + 8
        elif self.code == OP_MSG:
            (flags,) = struct.unpack_from("<I", raw, 16)
            if flags & 1 or raw[20] != 0:
                raise ValueError("mongosim: not modelled: a checksum, or documents before their command")
            self.begin = 21
        else:
            raise ValueError(f"mongosim: not modelled: operation {self.code}")
        (length,) = struct.unpack_from("<i", raw, self.begin)
        self.end = self.begin + length
        self.command: dict[str, Any] = bson.decode(raw[self.begin : self.end])
        if self.code == OP_QUERY:
            self.command = dict(self.command.get("$query", self.command))

    @property
    def name(self) -> str:
        return next(iter(self.command), "")

    @property
    def database(self) -> str:
        if self.code == OP_QUERY:
            return self.raw[20 : self.raw.index(b"\0", 20)].decode().split(".")[0]
        return str(self.command.get("$db", ""))

    @property
    def wants_no_answer(self) -> bool:
        return self.code == OP_MSG and bool(struct.unpack_from("<I", self.raw, 16)[0] & MORE_TO_COME)

    def for_engine(self) -> bytes:
        kept = {key: value for key, value in self.command.items() if key not in ONLY_FOR_SERVERS}
        body = self.raw[16 : self.begin] + bson.encode(kept) + self.raw[self.end :]
        return HEADER.pack(16 + len(body), self.identifier, 0, self.code) + body

    def answer(self, document: dict[str, Any]) -> bytes:
        encoded = bson.encode(document)
        if self.code == OP_QUERY:
            body, code = struct.pack("<iqii", 8, 0, 0, 1) + encoded, OP_REPLY
        else:
            body, code = struct.pack("<iB", 0, 0) + encoded, OP_MSG
        return HEADER.pack(16 + len(body), 0, self.identifier, code) + body


def request(command: dict[str, Any], identifier: int = 1) -> bytes:
    """Return a command as a client sends it."""
    body = struct.pack("<iB", 0, 0) + bson.encode(command)
    return HEADER.pack(16 + len(body), identifier, 0, OP_MSG) + body


async def receive(reader: asyncio.StreamReader) -> bytes:
    """Return one whole message. Raise ``IncompleteReadError`` when the other side went."""
    head = await reader.readexactly(4)
    (length,) = struct.unpack("<i", head)
    if not HEADER.size <= length <= LARGEST_BYTES:
        raise ValueError(f"a message of {length} bytes")
    return head + await reader.readexactly(length - 4)
