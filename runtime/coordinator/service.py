"""What request handlers need, put together by ``app``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from prometheus_client import CollectorRegistry
from tornado.httputil import HTTPServerRequest

from runtime.chassis.clock import Clock
from runtime.chassis.signing import RequestVerifier

from .accounts import Accounts
from .admission import Admission
from .audit import Audit
from .booking_service import BookingService
from .catalogue import Catalogue
from .config import CoordinatorConfig
from .extension import Extension
from .fleet import Fleet
from .hosts import HostClient
from .idempotency import Idempotency
from .identity import Identity
from .lifecycle import Lifecycle
from .limits import RateLimit
from .live import Hub
from .measures import Measures
from .oidc import OidcClient
from .openapi import Document
from .queueing import Queueing
from .reports import Reports
from .rooms import Rooms
from .store.store import Store
from .webhooks import Webhooks
from .windows import Windows


@dataclass(kw_only=True)
class Service:
    """One coordinator process."""

    config: CoordinatorConfig
    clock: Clock
    store: Store
    fleet: Fleet
    hub: Hub
    admission: Admission
    lifecycle: Lifecycle
    windows: Windows
    bookings: BookingService
    webhooks: Webhooks
    extension: Extension
    reports: Reports
    queueing: Queueing
    catalogue: Catalogue
    accounts: Accounts
    audit: Audit
    identity: Identity
    oidc: OidcClient | None
    idempotency: Idempotency
    document: Document
    hosts: HostClient
    rooms: Rooms
    verifier: RequestVerifier
    metrics: CollectorRegistry
    measures: Measures
    static: Path
    requests_limit: RateLimit
    creates_limit: RateLimit
    sign_ins_limit: RateLimit
    streams: dict[str, int] = field(default_factory=dict)  # address -> open event streams
    in_flight: int = 0  # requests being answered, apart from event streams
    # Tests turn this on: every answer is then checked against the OpenAPI document.
    check_responses: bool = False


class Proxies:
    """Who is asking, behind proxies that are believed."""

    def __init__(self, trusted: tuple[str, ...]) -> None:
        self._networks = [ipaddress.ip_network(entry, strict=False) for entry in trusted]
        # The same few come again and again, and reading an address costs more than a page of the catalogue.
        self._known = lru_cache(maxsize=4096)(self._address)

    def address(self, request: HTTPServerRequest) -> str:
        """The last address in X-Forwarded-For that is not a proxy of ours; the peer's when it is not one itself."""
        return self._known(request.remote_ip or "", request.headers.get("X-Forwarded-For", ""))

    def _address(self, peer: str, forwarded: str) -> str:
        if not self._trusts(peer):
            return peer
        for entry in reversed(forwarded.split(",")):
            candidate = entry.strip()
            if not _is_address(candidate):
                break
            if not self._trusts(candidate):
                return candidate
            peer = candidate
        return peer

    def _trusts(self, address: str) -> bool:
        if not _is_address(address):
            return False
        found = ipaddress.ip_address(address)
        return any(found in network for network in self._networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
