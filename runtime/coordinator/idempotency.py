"""Create requests that may be repeated: the key is claimed before anything is created."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_session_id
from runtime.protocol.errors import ServiceError

from .domain.accounts import IdempotencyClaim
from .store.errors import DuplicateError
from .store.store import Store

KEEP_SECONDS = 24 * 3600.0
# A claim without what it was made for, for this long, belongs to an instance that died while creating it.
_UNFINISHED_MS = 30_000


class Idempotency:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def claim(
        self, principal: str, key: str, body: bytes, exists: Callable[[str], Awaitable[object | None]]
    ) -> tuple[str, str | None]:
        """``(id to create, claim id to release on failure)`` for a first request, ``(id, None)`` for a repeated one.

        ``exists`` looks for what was created. Raise ``idempotency_mismatch`` for another body, ``conflict`` while the
        first request is still at it.
        """
        now = self._clock.now_ms()
        wanted = IdempotencyClaim(
            id=hashlib.sha256(f"{principal}\n{key}".encode()).hexdigest(),
            body_sha256=hashlib.sha256(body).hexdigest(),
            session=new_session_id(),
            created_ms=now,
        )
        try:
            await self._store.claims.insert(wanted)
        except DuplicateError:
            return await self._repeated(wanted, now, exists)
        return wanted.session, wanted.id

    async def _repeated(
        self, wanted: IdempotencyClaim, now: int, exists: Callable[[str], Awaitable[object | None]]
    ) -> tuple[str, str | None]:
        found = await self._store.claims.get(wanted.id)
        if found is None:
            raise ServiceError("conflict", retry_after_seconds=1)
        if now - found.created_ms > KEEP_SECONDS * 1000:
            return await self._take_over(found, wanted)
        if found.body_sha256 != wanted.body_sha256:
            raise ServiceError("idempotency_mismatch")
        if await exists(found.session) is not None:
            return found.session, None
        if now - found.created_ms > _UNFINISHED_MS:
            return await self._take_over(found, wanted)
        raise ServiceError(
            "conflict", "The first request with this key is still being worked on.", retry_after_seconds=1
        )

    async def _take_over(self, found: IdempotencyClaim, wanted: IdempotencyClaim) -> tuple[str, str | None]:
        taken = await self._store.claims.save(found, replace(wanted, version=found.version))
        if taken is None:
            raise ServiceError("conflict", retry_after_seconds=1)
        return wanted.session, wanted.id

    async def settle(self, claim_id: str, session_id: str) -> None:
        """The request was answered with another session than was to be created: a warm one."""
        await self._store.claims.change(claim_id, lambda claim: replace(claim, session=session_id))

    async def release(self, claim_id: str) -> None:
        """The create request failed: the same key may be tried again."""
        await self._store.claims.delete(claim_id)
