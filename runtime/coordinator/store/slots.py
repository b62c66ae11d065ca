"""Capacity: one document per taken slot.

Taking a slot is inserting a document whose ``slot`` (``{host}:{number}``) is unique, which every engine refuses to have
twice. Its ``_id`` also names the session, and giving back deletes exactly that ``_id``: however late or often it is
done, it never hits the claim of the slot's next holder.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime.coordinator.domain.model import Slot

from .connection import Connection, Document
from .errors import DuplicateError

COLLECTION = "slot"


class Slots:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, host: str, number: int, session: str) -> bool:
        """Take a slot for ``session``; False when somebody else has it. Taking one's own slot again is True."""
        document = {
            "_id": _key(host, number, session),
            "slot": f"{host}:{number}",
            "host": host,
            "number": number,
            "session": session,
            "claimed_ms": self._connection.clock.now_ms(),
        }

        async def attempt() -> None:
            await self._connection.collection(COLLECTION).insert_one(document)

        try:
            await self._connection.run(attempt)
        except DuplicateError:
            found = await self._connection.run(
                lambda: self._connection.collection(COLLECTION).find_one({"_id": document["_id"]})
            )
            return found is not None
        return True

    async def free(self, host: str, number: int, session: str) -> bool:
        """Give a slot back; True when this call did it."""
        claim = {"_id": _key(host, number, session)}
        result = await self._connection.run(lambda: self._connection.collection(COLLECTION).delete_one(claim))
        return result.deleted_count == 1

    async def taken(self, hosts: Iterable[str] | None = None) -> list[Slot]:
        """Taken slots, of all hosts or of some."""
        query: Document = {} if hosts is None else {"host": {"$in": sorted(hosts)}}

        async def attempt() -> list[Document]:
            return await self._connection.collection(COLLECTION).find(query).to_list()

        return [
            Slot(host=d["host"], number=d["number"], session=d["session"], claimed_ms=d["claimed_ms"])
            for d in await self._connection.run(attempt)
        ]


def _key(host: str, number: int, session: str) -> str:
    return f"{host}:{number}:{session}"
