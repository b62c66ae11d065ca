"""Can this instance do its work? What a load balancer and an operator ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from runtime.protocol.states import HostState

from .scheduler import host_state
from .store.errors import StoreError

if TYPE_CHECKING:
    from .service import Service

# Signatures and leases tolerate 30 s between machines; the database's clock stands for the others here.
_SKEW_MS = 5_000


class Check(TypedDict):
    ok: bool
    detail: str


async def readiness(service: Service) -> dict[str, Check]:
    """``database``, ``clock`` and ``hosts``. A draining instance is not ready, so that balancers turn away first."""
    checks: dict[str, Check] = {}
    if service.hub.closed:
        checks["stopping"] = {"ok": False, "detail": "The instance is stopping."}
    try:
        skew_ms = await service.store.connection.server_time_skew_ms()
    except StoreError as error:
        checks["database"] = {"ok": False, "detail": str(error)}
        checks["clock"] = {"ok": False, "detail": "Unknown without the database."}
    else:
        checks["database"] = {"ok": True, "detail": "It answers."}
        checks["clock"] = {"ok": abs(skew_ms) <= _SKEW_MS, "detail": f"{skew_ms} ms from the database's clock."}
    now = service.clock.now_ms()
    states = [host_state(load, now) for load in service.fleet.loads()]
    online = sum(state is not HostState.OFFLINE for state in states)
    checks["hosts"] = {"ok": online > 0, "detail": f"{online} of {len(service.fleet.hosts)} hosts online."}
    return checks
