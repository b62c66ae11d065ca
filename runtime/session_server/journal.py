"""What must survive a restart: sessions, and events not yet delivered to the coordinator (the outbox).

One SQLite database, because a session's new state and the event that tells of it must be remembered together or not
at all. Every change is on the disk (WAL, ``synchronous=FULL``) when its call returns. SQLite blocks, so one thread
does it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from runtime.protocol.control import SessionEvent

from .record import SessionRecord

logger = logging.getLogger(__name__)
T = TypeVar("T")
_DEADLINE_SECONDS = 20.0
# Far above what a host can produce in days of outage. Past it, events that a later one of the same session repeats go.
MAX_EVENTS = 50_000
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, started_ms INTEGER NOT NULL, record BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS event ("
    " position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, session TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS event_by_session ON event (session)",
)


class JournalError(Exception):
    """The journal could not be read or written: a full or failing disk."""


class Journal:
    """See the module's text. All methods may raise :class:`JournalError`."""

    def __init__(self, path: Path, max_events: int = MAX_EVENTS, busy_seconds: float = 5.0) -> None:
        """``busy_seconds``: how long a predecessor that is just closing is waited for."""
        self._path = path
        self._max_events, self._busy_seconds = max_events, busy_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._database: sqlite3.Connection | None = None
        self._encoder = msgspec.json.Encoder()
        self._records = msgspec.json.Decoder(SessionRecord)
        self._events = msgspec.json.Decoder(SessionEvent)

    async def open(self) -> None:
        """Create or open. A file that is not a database is moved aside: its sessions are lost, the host is not."""
        await self._call(self._open)

    async def close(self) -> None:
        await self._call(self._close)
        self._thread.shutdown()

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError, TimeoutError) as error:
            raise JournalError(f"{self._path}: {error or type(error).__name__}") from error

    def _open(self) -> None:
        try:
            self._connect()
        except sqlite3.OperationalError:
            self._close()
            raise
        except sqlite3.DatabaseError as error:
            aside = self._path.with_name(f"{self._path.name}.broken")
            logger.error("%s is damaged (%s); it is kept as %s and a new journal begins", self._path, error, aside.name)
            self._close()
            os.replace(self._path, aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._connect()

    def _connect(self) -> None:
        # Created by us first, because SQLite would leave secrets readable by everybody.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=self._busy_seconds
        )
        # Exclusive: a second session server on the same data directory must not start.
        self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        for statement in _SCHEMA:
            self._database.execute(statement)
        found = self._database.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(str(found))

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[bytes, ...]]:
        assert self._database is not None, "open() first"
        return self._database.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._run("ROLLBACK")
            raise
        self._run("COMMIT")

    async def installation(self, own: str) -> str:
        """What the marks of our processes begin with: ``own``, or what this journal has had from its beginning."""

        def work() -> str:
            self._run("INSERT OR IGNORE INTO setting VALUES ('installation', ?)", (own,))
            return str(self._run("SELECT value FROM setting WHERE name = 'installation'")[0][0])

        return await self._call(work)

    async def save(self, record: SessionRecord, events: Iterable[SessionEvent] = ()) -> None:
        """Remember a session's state together with the events that tell of it."""
        body = self._encoder.encode(record)
        rows = [(event.event_id, record.session_id, self._encoder.encode(event)) for event in events]

        def work() -> None:
            with self._transaction():
                self._run(
                    "INSERT INTO session VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
                    (record.session_id, record.started_ms, body),
                )
                for row in rows:
                    self._run("INSERT OR IGNORE INTO event (id, session, body) VALUES (?, ?, ?)", row)
                if rows:
                    self._bound_events()

        await self._call(work)

    def _bound_events(self) -> None:
        count = int(self._run("SELECT count(*) FROM event")[0][0])
        if count > self._max_events:
            # Every event carries the whole report, so only the newest of a session is needed.
            self._run("DELETE FROM event WHERE position NOT IN (SELECT max(position) FROM event GROUP BY session)")
            logger.error("%d events wait for the coordinator; only each session's newest is kept", count)

    async def records(self) -> list[SessionRecord]:
        """All sessions, oldest first; one that cannot be read is reported and skipped."""
        found = []
        rows = await self._call(lambda: self._run("SELECT id, record FROM session ORDER BY started_ms, id"))
        for session_id, body in rows:
            try:
                found.append(self._records.decode(body))
            except msgspec.DecodeError as error:
                logger.error("session %s in the journal cannot be read: %s", session_id, error)
        return found

    async def forget(self, session_id: str) -> None:
        """Drop an ended session; its undelivered events stay."""
        await self._call(lambda: self._run("DELETE FROM session WHERE id = ?", (session_id,)))

    async def waiting(self, limit: int, skip: frozenset[str] = frozenset()) -> list[SessionEvent]:
        """The oldest undelivered events, in order, leaving out those of the sessions in ``skip``."""
        marks = ",".join("?" * len(skip))
        query = f"SELECT body FROM event WHERE session NOT IN ({marks}) ORDER BY position LIMIT ?"  # noqa: S608
        rows = await self._call(lambda: self._run(query, (*skip, limit)))
        return [self._events.decode(body) for (body,) in rows]

    async def waiting_sessions(self) -> tuple[int, frozenset[str]]:
        """How many events wait, and of which sessions."""
        rows = await self._call(lambda: self._run("SELECT session, count(*) FROM event GROUP BY session"))
        return sum(int(row[1]) for row in rows), frozenset(str(row[0]) for row in rows)

    async def delivered(self, event_ids: Iterable[str]) -> None:
        def work() -> None:
            with self._transaction():
                for event_id in ids:
                    self._run("DELETE FROM event WHERE id = ?", (event_id,))

        ids = list(event_ids)
        if ids:
            await self._call(work)
