"""Capacity: one document per taken slot, and per taken place of a title that may run only so often.

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
            "_id": slot_key(host, number, session),
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
        claim = {"_id": slot_key(host, number, session)}
        result = await self._connection.run(lambda: self._connection.collection(COLLECTION).delete_one(claim))
        return result.deleted_count == 1

    async def free_all(self, session: str) -> None:
        """Give back whatever a session that is over still has."""
        await self._connection.run(lambda: self._connection.collection(COLLECTION).delete_many({"session": session}))

    async def taken(self, hosts: Iterable[str] | None = None) -> list[Slot]:
        """Taken slots of all hosts, or of some; a title's places are asked for as a host's (``places_of``)."""
        query: Document = {} if hosts is None else {"host": {"$in": sorted(hosts)}}

        async def attempt() -> list[Document]:
            return await self._connection.collection(COLLECTION).find(query).to_list()

        found = [_slot(document) for document in await self._connection.run(attempt)]
        return found if hosts is not None else [slot for slot in found if ":" not in slot.host]

    async def page(self, after: str, limit: int) -> list[Slot]:
        """The next taken slots after the key ``after``, in the order of :func:`slot_key`."""
        query = {"_id": {"$gt": after}}

        async def attempt() -> list[Document]:
            return await self._connection.collection(COLLECTION).find(query).sort("_id", 1).limit(limit).to_list()

        return [_slot(document) for document in await self._connection.run(attempt)]


def _slot(document: Document) -> Slot:
    return Slot(
        host=document["host"],
        number=document["number"],
        session=document["session"],
        claimed_ms=document["claimed_ms"],
    )


def slot_key(host: str, number: int, session: str) -> str:
    """The ``_id`` of a claim."""
    return f"{host}:{number}:{session}"
