"""Leases by which one of several coordinators runs the timers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .connection import Connection
from .errors import DuplicateError
from .records import Records

COLLECTION = "lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """``since_ms``: from when on somebody held it without a gap; the reaper trusts silence only after that."""

    name: str
    holder: str
    expires_ms: int
    since_ms: int
    version: int = 1
    changed_ms: int = 0


class Locks:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._leases: Records[Lease] = Records(connection, COLLECTION, Lease, key="name")
        self._held: dict[str, Lease] = {}

    async def acquire(self, name: str, seconds: float) -> Lease | None:
        """Take or renew; None while another process holds it."""
        now = self._connection.clock.now_ms()
        wanted = Lease(name=name, holder=self._connection.holder, expires_ms=now + int(seconds * 1000), since_ms=now)

        def decide(current: Lease) -> Lease | None:
            if current.expires_ms <= now:
                return replace(wanted, version=current.version)
            if current.holder in ("", wanted.holder):
                # Renewed, or handed over within its time: the watch was never broken.
                return replace(wanted, since_ms=current.since_ms, version=current.version)
            return None

        lease, mine = await self._leases.change(name, decide, known=self._held.get(name))
        if lease is None:
            try:
                lease, mine = await self._leases.insert(wanted), True
            except DuplicateError:
                mine = False
        if lease is not None and mine:
            self._held[name] = lease
            return lease
        self._held.pop(name, None)
        return None

    async def release(self, name: str) -> None:
        """Let another process take it at once. The chain of holders is not broken by this."""
        me = self._connection.holder
        known = self._held.pop(name, None)
        await self._leases.change(
            name, lambda current: replace(current, holder="") if current.holder == me else None, known=known
        )
