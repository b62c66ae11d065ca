"""The store as the rest of the coordinator sees it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
from dataclasses import dataclass, replace

import msgspec

from runtime.chassis.clock import Clock
from runtime.coordinator.domain.accounts import ApiKey, AuditEntry, IdempotencyClaim, User
from runtime.coordinator.domain.booking import Booking
from runtime.coordinator.domain.model import Heartbeat, Host, Session, Title
from runtime.coordinator.domain.webhook import Cursor, Delivery, Receiver

from .connection import Connection, Document
from .errors import DuplicateError, StoreUnavailableError
from .locks import Locks
from .records import Records
from .schema import ensure_indexes, migrate
from .slots import Slots
from .swap import ClaimedSwap, choose_swap

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """A title's picture; the name is the hash of its content, so it never changes."""

    sha256: str
    content_type: str
    content: bytes


class Store:
    """All collections over one connection."""

    def __init__(self, uri: str, database: str, *, writer: str, clock: Clock, deadline_seconds: float = 5.0) -> None:
        self.connection = Connection(uri, database, writer=writer, clock=clock, deadline_seconds=deadline_seconds)
        self.titles: Records[Title] = Records(self.connection, "title", Title, key="name")
        self.hosts: Records[Host] = Records(self.connection, "session_server", Host, key="name", keyed=("title",))
        self.sessions: Records[Session] = Records(self.connection, "session", Session, extra=_session_fields)
        self.bookings: Records[Booking] = Records(self.connection, "booking", Booking, extra=_booking_fields)
        self.users: Records[User] = Records(self.connection, "user", User, key="name")
        self.api_keys: Records[ApiKey] = Records(self.connection, "api_key", ApiKey)
        self.audit: Records[AuditEntry] = Records(self.connection, "audit", AuditEntry)
        self.claims: Records[IdempotencyClaim] = Records(self.connection, "idempotency", IdempotencyClaim)
        self.receivers: Records[Receiver] = Records(self.connection, "webhook", Receiver)
        self.deliveries: Records[Delivery] = Records(self.connection, "delivery", Delivery)
        self.cursors: Records[Cursor] = Records(self.connection, "cursor", Cursor)
        self.slots = Slots(self.connection)
        self.locks = Locks(self.connection)

    async def open(self, *, patience_seconds: float = 60.0) -> None:
        """Connect, check indexes, migrate; wait for the database up to ``patience_seconds``."""
        await self.connection.open()
        deadline = self.connection.clock.monotonic() + patience_seconds
        while True:
            try:
                self.connection.swap = await choose_swap(self.connection)
                await ensure_indexes(self.connection)
                await migrate(self.connection)
                return
            except StoreUnavailableError as error:
                if self.connection.clock.monotonic() >= deadline:
                    raise
                logger.warning("waiting for the database: %s", error)
                await asyncio.sleep(1.0)

    async def close(self) -> None:
        await self.connection.close()

    async def ping(self) -> None:
        """Raise ``StoreUnavailableError`` unless the database answers now."""
        await self.connection.run(lambda: self.connection.database.command("ping"), retry=False)

    async def write_heartbeat(self, host: str, heartbeat: Heartbeat) -> bool:
        """Keep a host's last word; False when the registry does not know the host.

        Not by version: heartbeats never argue with the registry or an administrator, who change other fields.
        """
        if isinstance(self.connection.swap, ClaimedSwap):
            # There, even a write to other fields of the document would undo a change made at the same time.
            found, _ = await self.hosts.change(host, lambda old: replace(old, heartbeat=heartbeat))
            return found is not None
        stamp = self.connection.stamp()
        update = {"$set": {"heartbeat": msgspec.to_builtins(heartbeat), **stamp}}
        result = await self.connection.run(
            lambda: self.connection.collection("session_server").update_one({"_id": host}, update)
        )
        return result.matched_count == 1

    async def put_picture(self, content_type: str, content: bytes) -> str:
        """Store a picture; its name."""
        name = hashlib.sha256(content).hexdigest()
        document = {
            "_id": name,
            "content_type": content_type,
            # Text, because binary values are outside what the contract suite asks of an engine.
            "content": base64.b64encode(content).decode("ascii"),
        }
        with contextlib.suppress(DuplicateError):  # the same content is there already
            await self.connection.run(lambda: self.connection.collection("picture").insert_one(document))
        return name

    async def picture(self, name: str) -> Picture | None:
        found: Document | None = await self.connection.run(
            lambda: self.connection.collection("picture").find_one({"_id": name})
        )
        if found is None:
            return None
        return Picture(name, found["content_type"], base64.b64decode(found["content"]))


def _session_fields(session: Session) -> Document:
    # A number, because not every engine keeps a changed boolean a boolean for its queries.
    return {"live": 0 if session.is_final else 1, "owner_id": session.owner.id if session.owner else ""}


def _booking_fields(booking: Booking) -> Document:
    return {"live": 0 if booking.is_final else 1, "owner_id": booking.owner.id}
