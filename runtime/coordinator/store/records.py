"""Records kept as one document each, changed by compare-and-set on ``version``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec
from pymongo.asynchronous.collection import AsyncCollection

from .connection import Connection, Document
from .errors import ConflictError, DuplicateError

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.002  # times the number of attempts
# Fields of a document that belong to the store, not to the record.
_OWN = frozenset({"_id", "writer", "op", "changed_ms", "version"})


class Versioned(Protocol):
    """What a record needs to be kept here."""

    @property
    def version(self) -> int: ...

    @property
    def changed_ms(self) -> int: ...


R = TypeVar("R", bound=Versioned)


class Records(Generic[R]):
    """One collection of records of type ``shape`` whose key is the field ``key``.

    ``extra`` derives flat fields for indexes and queries from a record, because engines differ in dotted queries.
    ``keyed`` names fields whose keys may hold dots, which field names must not.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        shape: type[R],
        *,
        key: str = "id",
        keyed: tuple[str, ...] = (),
        extra: Callable[[R], Document] | None = None,
    ) -> None:
        self._connection, self._name, self._shape = connection, name, shape
        self._key, self._keyed, self._extra = key, keyed, extra

    # --- documents ---

    def to_document(self, record: R) -> Document:
        """The document of ``record``, without the stamp."""
        document = cast(Document, msgspec.to_builtins(record))
        document["_id"] = document.pop(self._key)
        for name in self._keyed:
            document[name] = {_escape(key): value for key, value in document[name].items()}
        if self._extra is not None:
            document.update(self._extra(record))
        return document

    def from_document(self, document: Mapping[str, Any]) -> R:
        """The record of a document; fields that a newer release added are ignored."""
        values = dict(document)
        values[self._key] = values.pop("_id")
        for name in self._keyed:
            values[name] = {_unescape(key): value for key, value in values.get(name, {}).items()}
        # Not strict: the embedded engine gives a boolean that was changed by ``$set`` back as 0 or 1.
        return msgspec.convert(values, self._shape, strict=False)

    # --- operations ---

    async def insert(self, record: R) -> R:
        """Create; raise ``DuplicateError`` when the key exists."""
        document = {**self.to_document(record), **self._connection.stamp()}

        async def attempt() -> None:
            await self._collection.insert_one(document)

        try:
            await self._connection.run(attempt)
        except DuplicateError:
            # A repeated insert whose first answer was lost finds its own document.
            found = await self._raw(document["_id"])
            if found is None or found.get("op") != document["op"]:
                raise
        return self.from_document(document)

    async def get(self, key: str) -> R | None:
        found = await self._raw(key)
        return None if found is None else self.from_document(found)

    async def save(self, old: R, new: R) -> R | None:
        """Replace ``old`` by ``new`` if nobody changed it meanwhile; None when somebody did."""
        before, after = self.to_document(old), self.to_document(new)
        stamp = {**self._connection.stamp(), "version": old.version + 1}
        changes = {name: value for name, value in after.items() if name not in _OWN and before.get(name) != value}
        found = await self._connection.swap(
            self._name, before["_id"], old.version, {**changes, **stamp}, {**after, **stamp}
        )
        return None if found is None else self.from_document(found)

    async def change(
        self, key: str, decide: Callable[[R], R | None], *, known: R | None = None
    ) -> tuple[R | None, bool]:
        """Apply the pure ``decide`` to the current record until it sticks; (record now, changed by this call).

        ``known`` is tried first, which saves a read when it is current. ``decide`` returns None for no change and may
        raise; the record is None when it does not exist.
        """
        _, after, changed = await self.change_from(key, decide, known=known)
        return after, changed

    async def change_from(
        self, key: str, decide: Callable[[R], R | None], *, known: R | None = None
    ) -> tuple[R | None, R | None, bool]:
        """Like ``change``; (the record that ``decide`` saw last, record now, changed by this call).

        What was changed in the end may be newer than ``known``: who counts transitions compares with the first.
        """
        current = known
        fresh = current is None
        for attempt in range(_ATTEMPTS):
            if attempt > 1:
                await asyncio.sleep(attempt * _PAUSE_SECONDS)
            if current is None:
                current, fresh = await self.get(key), True
                if current is None:
                    return None, None, False
            wanted = decide(current)
            if wanted is None:
                if fresh:
                    return current, current, False
                current = None  # no change to what we remember: make sure against the database
                continue
            saved = await self.save(current, wanted)
            if saved is not None:
                return current, saved, True
            current = None
        raise ConflictError(f"{self._name} {key}")

    async def delete(self, key: str, **conditions: Any) -> bool:
        """Delete one record if ``conditions`` hold; True when this call did it."""
        result = await self._connection.run(lambda: self._collection.delete_one({"_id": key, **conditions}))
        return result.deleted_count == 1

    async def find(
        self,
        query: Mapping[str, Any] | None = None,
        *,
        sort: tuple[tuple[str, int], ...] = (("_id", 1),),
        limit: int = 0,
    ) -> list[R]:
        """Records that match; with ``limit`` 0 all."""

        async def attempt() -> list[Document]:
            cursor = self._collection.find(dict(query or {})).sort(list(sort))
            return await (cursor.limit(limit) if limit else cursor).to_list()

        return [self.from_document(document) for document in await self._connection.run(attempt)]

    async def pages(self, query: Mapping[str, Any], size: int) -> AsyncIterator[list[R]]:
        """All records that match, by key, ``size`` at a time. One that is written meanwhile may be seen or not."""
        after = ""
        while True:
            page = await self.find({**query, "_id": {"$gt": after}}, limit=size)
            if page:
                yield page
            if len(page) < size:
                return
            after = str(getattr(page[-1], self._key))

    async def changed_by_others(self, since_ms: int) -> list[R]:
        """Records that other processes changed after ``since_ms``."""
        return await self.find(
            {"changed_ms": {"$gt": since_ms}, "writer": {"$ne": self._connection.writer}}, sort=(("changed_ms", 1),)
        )

    async def delete_where(self, query: Mapping[str, Any]) -> int:
        result = await self._connection.run(lambda: self._collection.delete_many(dict(query)))
        return result.deleted_count

    async def count(self, query: Mapping[str, Any]) -> int:
        return await self._connection.run(lambda: self._collection.count_documents(dict(query)))

    @property
    def _collection(self) -> AsyncCollection[Document]:
        return self._connection.collection(self._name)

    async def _raw(self, key: str) -> Document | None:
        return await self._connection.run(lambda: self._collection.find_one({"_id": key}))


def _escape(key: str) -> str:
    """Names have no tilde, and field names must have no dot."""
    return key.replace(".", "~")


def _unescape(key: str) -> str:
    return key.replace("~", ".")
