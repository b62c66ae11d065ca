"""The log of what administrators did: written before the answer, never changed, deleted only by age."""

from __future__ import annotations

import logging

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_participant_id

from .domain.access import Principal
from .domain.accounts import AuditEntry
from .store.store import Store

logger = logging.getLogger(__name__)


class Audit:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def note(
        self, principal: Principal, action: str, subject: str, *, address: str, request_id: str, **details: str
    ) -> None:
        """Raise ``StoreUnavailableError``: what cannot be noted is not done."""
        now = self._clock.now_ms()
        await self._store.audit.insert(
            AuditEntry(
                id=f"{now:013d}-{new_participant_id()}",
                at_ms=now,
                by=principal.id,
                by_name=principal.name,
                action=action,
                subject=subject,
                address=address,
                request_id=request_id,
                details=details,
            )
        )
        logger.info("audit: %s %s %s", principal.id, action, subject)
