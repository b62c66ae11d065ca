"""Indexes and the schema version, both declared here and checked at every start."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from .connection import Connection, Document
from .errors import DuplicateError, SchemaError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Index:
    collection: str
    keys: tuple[tuple[str, int], ...]
    unique: bool = False

    @property
    def name(self) -> str:
        return "_".join(field for field, _ in self.keys) + ("_unique" if self.unique else "")


# All ascending: engines read them backwards as well, and the embedded one keeps no direction.
INDEXES = (
    Index(collection="title", keys=(("changed_ms", 1),)),
    Index(collection="session_server", keys=(("changed_ms", 1),)),
    Index(collection="session", keys=(("changed_ms", 1),)),
    Index(collection="session", keys=(("live", 1),)),
    Index(collection="session", keys=(("owner_id", 1), ("created_ms", 1))),
    Index(collection="session", keys=(("created_ms", 1),)),
    Index(collection="booking", keys=(("changed_ms", 1),)),
    Index(collection="booking", keys=(("live", 1),)),
    Index(collection="booking", keys=(("owner_id", 1), ("start_ms", 1))),
    Index(collection="booking", keys=(("series", 1),)),
    Index(collection="booking", keys=(("end_ms", 1),)),
    Index(collection="audit", keys=(("at_ms", 1),)),
    Index(collection="delivery", keys=(("state", 1), ("next_ms", 1))),
    Index(collection="delivery", keys=(("created_ms", 1),)),
    Index(collection="user", keys=(("changed_ms", 1),)),
    Index(collection="api_key", keys=(("changed_ms", 1),)),
    Index(collection="idempotency", keys=(("created_ms", 1),)),
    Index(collection="slot", keys=(("slot", 1),), unique=True),
    Index(collection="version_claim", keys=(("target", 1),), unique=True),
    Index(collection="slot", keys=(("host", 1),)),
    Index(collection="slot", keys=(("session", 1),)),
)

# A migration brings the data from version N to N+1. It may be interrupted anywhere and is then run again, so each is
# written to be repeatable; it must leave data that release N can still read, because instances are replaced one by one.
Migration = Callable[[Connection], Awaitable[None]]
MIGRATIONS: tuple[tuple[int, str, Migration], ...] = ()
SCHEMA_VERSION = 1 + len(MIGRATIONS)


async def ensure_indexes(connection: Connection) -> None:
    """Create what is missing; raise :class:`SchemaError` when an index of the same fields is not as declared."""
    for collection in sorted({index.collection for index in INDEXES}):
        present = await connection.run(connection.collection(collection).index_information)
        by_keys = {tuple((field, int(way)) for field, way in found["key"]): found for found in present.values()}
        for index in (index for index in INDEXES if index.collection == collection):
            found = by_keys.get(index.keys)
            if found is None:
                await connection.run(partial(_create, connection, index))
                logger.info("index %s.%s created", collection, index.name)
            elif index.unique and found.get("unique") is False:
                raise SchemaError(f"{collection}.{index.name} is not unique in the database. Drop it and start again.")


async def _create(connection: Connection, index: Index) -> None:
    await connection.collection(index.collection).create_index(list(index.keys), name=index.name, unique=index.unique)


async def migrate(connection: Connection, migrations: tuple[tuple[int, str, Migration], ...] = MIGRATIONS) -> int:
    """Bring the data up to this release; returns the version now. Resumable: the version moves after each step."""
    target = 1 + len(migrations)
    current = await _version(connection, target)
    if current > target:
        raise SchemaError(
            f"The database has schema {current}, this release knows {target}. "
            "Start a newer release, or restore a backup."
        )
    for start, what, step in migrations:
        if start < current:
            continue
        logger.info("migration %d -> %d: %s", start, start + 1, what)
        await step(connection)
        moved = await connection.run(
            partial(
                connection.collection("schema").update_one,
                {"_id": "schema", "version": start},
                {"$set": {"version": start + 1}},
            )
        )
        # Another instance ran the same repeatable step and was first.
        if moved.matched_count == 0 and await _version(connection, target) < start + 1:
            raise SchemaError(f"The schema version changed while migrating to {start + 1}. Start again.")
    return target


async def _version(connection: Connection, new: int) -> int:
    schema = connection.collection("schema")
    found: Document | None = await connection.run(lambda: schema.find_one({"_id": "schema"}))
    if found is None:
        try:
            await connection.run(lambda: schema.insert_one({"_id": "schema", "version": new}))
        except DuplicateError:
            found = await connection.run(lambda: schema.find_one({"_id": "schema"}))
    return int(found["version"]) if found else new
