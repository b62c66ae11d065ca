"""Leases by which one of several coordinators runs the timers."""

from __future__ import annotations

from dataclasses import dataclass

from pymongo import ReturnDocument

from .connection import Connection, Document
from .errors import DuplicateError

COLLECTION = "lock"


@dataclass(frozen=True)
class Lease:
    """``since_ms``: from when on somebody held it without a gap; the reaper trusts silence only after that."""

    name: str
    expires_ms: int
    since_ms: int


class Locks:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def acquire(self, name: str, seconds: float) -> Lease | None:
        """Take or renew; None while another process holds it."""
        now = self._connection.clock.now_ms()
        me = self._connection.writer
        expires = now + int(seconds * 1000)
        held = await self._update({"_id": name, "holder": me, "expires_ms": {"$gt": now}}, {"expires_ms": expires})
        if held is None:
            held = await self._take_over(name, me, now, expires)
        return None if held is None else Lease(name, held["expires_ms"], held["since_ms"])

    async def release(self, name: str) -> None:
        """Let another process take it at once. The chain of holders is not broken by this."""
        now = self._connection.clock.now_ms()
        await self._update({"_id": name, "holder": self._connection.writer}, {"holder": "", "released_ms": now})

    async def _take_over(self, name: str, me: str, now: int, expires: int) -> Document | None:
        # Handed over within its time: the watch was never broken.
        handed = await self._update(
            {"_id": name, "holder": "", "expires_ms": {"$gt": now}}, {"holder": me, "expires_ms": expires}
        )
        if handed is not None:
            return handed
        values = {"holder": me, "expires_ms": expires, "since_ms": now}
        lapsed = await self._update({"_id": name, "expires_ms": {"$lte": now}}, values)
        if lapsed is not None:
            return lapsed
        document = {"_id": name, **values}

        async def attempt() -> None:
            await self._connection.collection(COLLECTION).insert_one(document)

        try:
            await self._connection.run(attempt)
        except DuplicateError:
            return None
        return document

    async def _update(self, condition: Document, values: Document) -> Document | None:
        async def attempt() -> Document | None:
            return await self._connection.collection(COLLECTION).find_one_and_update(
                condition, {"$set": values}, return_document=ReturnDocument.AFTER
            )

        return await self._connection.run(attempt)
