"""Compare-and-set of one document, the one write by which records change.

MongoDB and the embedded engine do it in one ``find_one_and_update`` conditioned on ``version``. FerretDB 1.x reads the
document and then overwrites it in a second, unguarded step, so that two writers both succeed (the contract suite shows
it). There, the right to write a version is first taken by inserting a document with a unique value, which every engine
does atomically.
"""

from __future__ import annotations

from pymongo import ReturnDocument

from .connection import Connection, Document, Swap
from .errors import DuplicateError

CLAIMS = "version_claim"
# A claim without its write for this long belongs to a writer that died between the two.
_STALE_MS = 5_000
# Nobody holds a version that was read this long ago and still means to write on it.
_PURGE_AFTER_MS = 120_000
_PURGE_EVERY = 500


class NativeSwap:
    """One atomic operation: writes ``changes`` if the document still has ``version``; the document then, or None."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __call__(
        self, collection: str, key: str, version: int, changes: Document, whole: Document
    ) -> Document | None:
        documents = self._connection.collection(collection)

        async def attempt() -> Document | None:
            return await documents.find_one_and_update(
                {"_id": key, "version": version}, {"$set": changes}, return_document=ReturnDocument.AFTER
            )

        found = await self._connection.run(attempt)
        if found is None:
            # A repeated write whose first answer was lost finds its own operation id.
            found = await self._connection.run(lambda: documents.find_one({"_id": key}))
            if found is None or found.get("op") != changes["op"]:
                return None
        return found


class ClaimedSwap:
    """Insert the claim, then write the ``whole`` document."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._writes = 0

    async def __call__(
        self, collection: str, key: str, version: int, changes: Document, whole: Document
    ) -> Document | None:
        documents = self._connection.collection(collection)
        if not await self._claim(f"{collection}/{key}/{version + 1}", changes["op"]):
            await self._release_if_stale(collection, key, version)
            return None
        # The claims of older versions are purged after a while: make sure that this one was not written long ago.
        current = await self._connection.run(lambda: documents.find_one({"_id": key}))
        if current is None or current["version"] != version:
            return None
        await self._connection.run(lambda: documents.replace_one({"_id": key}, whole))
        await self._purge()
        return whole

    async def _claim(self, target: str, op: str) -> bool:
        claims = self._connection.collection(CLAIMS)
        claim = {"_id": op, "target": target, "at_ms": self._connection.clock.now_ms()}

        async def attempt() -> None:
            await claims.insert_one(claim)

        try:
            await self._connection.run(attempt)
        except DuplicateError:
            found = await self._connection.run(lambda: claims.find_one({"_id": op}))
            return found is not None and found["target"] == target
        return True

    async def _release_if_stale(self, collection: str, key: str, version: int) -> None:
        claims = self._connection.collection(CLAIMS)
        target = f"{collection}/{key}/{version + 1}"
        current = await self._connection.run(lambda: self._connection.collection(collection).find_one({"_id": key}))
        if current is None or current["version"] != version:
            return  # it was written: the claim did its work
        claim = await self._connection.run(lambda: claims.find_one({"target": target}))
        if claim is not None and self._connection.clock.now_ms() - claim["at_ms"] > _STALE_MS:
            # By its exact id, so that a newer claim on the same version is not hit.
            await self._connection.run(lambda: claims.delete_one({"_id": claim["_id"]}))

    async def _purge(self) -> None:
        self._writes += 1
        if self._writes % _PURGE_EVERY:
            return
        before = self._connection.clock.now_ms() - _PURGE_AFTER_MS
        await self._connection.run(lambda: self._connection.collection(CLAIMS).delete_many({"at_ms": {"$lt": before}}))


async def choose_swap(connection: Connection) -> Swap:
    """The way that fits the engine behind the connection."""
    build = await connection.run(lambda: connection.database.command("buildInfo"))
    # FerretDB names itself in its build information, from 2.0 on in another shape; 2.x is atomic.
    named = build.get("ferretdbVersion") or build.get("ferretdb", {}).get("version", "")
    if str(named).lstrip("v").startswith(("0.", "1.")):
        return ClaimedSwap(connection)
    return NativeSwap(connection)
