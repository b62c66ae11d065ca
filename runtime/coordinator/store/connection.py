"""One connection pool, a deadline on every operation, and errors in our words."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_participant_id

from .errors import DuplicateError, StoreError, StoreUnavailableError

T = TypeVar("T")
Document = dict[str, Any]
# Compare-and-set of one document, see swap.py: (collection, key, version, changes, whole document).
Swap = Callable[[str, str, int, Document, Document], Awaitable[Document | None]]
logger = logging.getLogger(__name__)
# Server codes that mean "not now" although the server answered: stepdown, shutdown, no write concern yet.
_TRANSIENT_CODES = frozenset({6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
_FIRST_PAUSE_SECONDS = 0.05
_LAST_PAUSE_SECONDS = 0.8


class Connection:
    """The database of one coordinator. ``holder`` is the instance's name in leases, the same after a restart.

    ``writer`` names this process in every record it changes. It must be no other process's, not even that of the same
    instance before a restart: by writer and number a repeated write is told from an earlier one.
    """

    def __init__(self, uri: str, database: str, *, writer: str, clock: Clock, deadline_seconds: float) -> None:
        self._uri, self._name = uri, database
        self.holder = writer
        self.writer = f"{writer}:{new_participant_id()}"
        self.clock = clock
        self._deadline_seconds = deadline_seconds
        self._client: AsyncMongoClient[Document] | None = None
        # How records are changed; chosen by the engine when the store opens.
        self.swap: Swap = _no_swap
        self._operations = itertools.count(1)
        # Monotonic time of the last answer and of the last failure, for readiness.
        self.last_answer: float | None = None
        self.last_failure: float | None = None

    async def open(self) -> None:
        """Create the pool; connections are made on first use."""
        self._client = AsyncMongoClient(
            self._uri,
            # Below our own deadline, so that a stepdown can be waited out within it.
            serverSelectionTimeoutMS=int(self._deadline_seconds * 500),
            connectTimeoutMS=int(self._deadline_seconds * 500),
            socketTimeoutMS=int(self._deadline_seconds * 1000),
            retryWrites=True,
            retryReads=True,
            maxPoolSize=50,
            appname="pixelstream",
            tz_aware=True,
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    @property
    def database(self) -> AsyncDatabase[Document]:
        if self._client is None:
            raise StoreError("the store is not open")
        return self._client[self._name]

    def collection(self, name: str) -> AsyncCollection[Document]:
        return self.database[name]

    async def drop_database(self) -> None:
        """Delete everything (tests, and removal of an installation)."""
        if self._client is not None:
            client = self._client
            await self.run(lambda: client.drop_database(self._name))

    @property
    def available(self) -> bool:
        """Did the last operation get an answer?"""
        return self.last_answer is not None and (self.last_failure is None or self.last_answer >= self.last_failure)

    def stamp(self) -> Document:
        """Fields of every write: who, when, and an operation id by which a repeated write knows itself."""
        return {
            "writer": self.writer,
            "changed_ms": self.clock.now_ms(),
            "op": f"{self.writer}:{next(self._operations)}",
        }

    async def run(self, operation: Callable[[], Awaitable[T]], *, retry: bool = True) -> T:
        """Run one idempotent operation, again on transient failures, within the deadline.

        ``operation`` must be safe to repeat: a read, or a write that :meth:`stamp` lets recognise itself.
        Raise ``DuplicateError``, ``StoreUnavailableError`` or ``StoreError``.
        """
        started = self.clock.monotonic()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            left = self._deadline_seconds - (self.clock.monotonic() - started)
            try:
                async with asyncio.timeout(max(left, 0.05)):
                    result = await operation()
            except DuplicateKeyError:
                self.last_answer = self.clock.monotonic()
                raise DuplicateError from None
            except (PyMongoError, TimeoutError) as error:
                if not _is_transient(error):
                    self.last_answer = self.clock.monotonic()
                    raise StoreError(_plain(error)) from None
                self.last_failure = self.clock.monotonic()
                if not retry or left - pause <= 0:
                    raise StoreUnavailableError(_plain(error)) from None
            else:
                self.last_answer = self.clock.monotonic()
                return result
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE_SECONDS)

    async def server_time_skew_ms(self) -> int:
        """How far this machine's clock is ahead of the database's."""
        before = self.clock.now_ms()
        reply = await self.run(lambda: self.database.command("hello"))
        after = self.clock.now_ms()
        server = reply.get("localTime")
        if server is None:
            return 0
        # The driver returns aware datetimes here; engines that answer naive ones mean UTC.
        return (before + after) // 2 - int(server.timestamp() * 1000)


async def _no_swap(collection: str, key: str, version: int, changes: Document, whole: Document) -> Document | None:
    raise StoreError("the store is not open")


def _is_transient(error: Exception) -> bool:
    if isinstance(error, TimeoutError | ConnectionFailure | ExecutionTimeout | WTimeoutError):
        return True
    return isinstance(error, OperationFailure) and error.code in _TRANSIENT_CODES


def _plain(error: Exception) -> str:
    """The first sentence of a driver's error: the rest is topology, which may carry the URI."""
    return (str(error).split(", Timeout:")[0].split(", topology")[0] or type(error).__name__)[:300]
