"""``pixelstream coordinator --config FILE``: puts the parts together, runs them, stops gracefully."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from runtime.chassis import config as configuration
from runtime.chassis import log, metrics
from runtime.chassis.clock import Clock, SystemClock
from runtime.chassis.lifecycle import Background, periodic, run_parts, stop_on_signals
from runtime.chassis.signing import RequestVerifier
from runtime.chassis.tokens import TokenSigner
from runtime.protocol.control import StartSession

from .accounts import Accounts
from .admission import Admission
from .audit import Audit
from .booking_service import BookingService
from .capacity import Capacity
from .catalogue import Catalogue
from .config import CoordinatorConfig
from .domain.model import Host, Session, Title
from .extension import Extension
from .fleet import Fleet
from .handlers.access import callback_url
from .hosts import COORDINATOR, HostClient
from .idempotency import Idempotency
from .identity import Identity
from .lifecycle import Lifecycle
from .limits import RateLimit
from .live import Hub
from .measures import FleetCollector, Measures
from .oidc import OidcClient
from .openapi import document
from .queueing import Queueing
from .reaper import SLOTS_SECONDS, Reaper
from .reports import Reports
from .rooms import Rooms, fixed_ice_servers
from .routes import build_application
from .service import Service
from .start_request import start_request
from .store.errors import StoreError
from .store.store import Store
from .sync import CHANGES_SECONDS, Sync
from .timers import Timers
from .warm import WarmPools
from .webhooks import Webhooks
from .windows import Windows

logger = logging.getLogger(__name__)
_STATIC = Path(__file__).with_name("static")
_BODY_BYTES = 4 * 1024 * 1024
# Longer than the keep-alive of proxies in front, so that they close idle connections and not we under their feet.
_IDLE_CONNECTION_SECONDS = 90.0
_TELL_QUEUE_SECONDS = 1.0
# Of the three generations: young garbage is found as soon as ever, old garbage, of which we make hardly any, rarely.
_COLLECTOR_THRESHOLDS = (2_000, 20, 50)


class Coordinator:
    """One instance as a part: start listens, close drains."""

    def __init__(self, config: CoordinatorConfig, *, clock: Clock | None = None, check_responses: bool = False) -> None:
        """Raise ``ConfigError`` for secrets that cannot be used; does no input or output."""
        self.config = config
        self._clock = clock or SystemClock()
        self.instance = config.instance or f"{socket.gethostname()}:{os.getpid()}"
        try:
            self._signer = TokenSigner(config.token_signing_key, self._clock)
        except ValueError:
            raise configuration.ConfigError(
                "token_signing_key: is not an Ed25519 private key in PEM. Make one: openssl genpkey -algorithm ed25519"
            ) from None
        self.service = self._assemble(check_responses)
        self._background = Background()
        self._server: HTTPServer | None = None
        self.port = 0

    def _assemble(self, check_responses: bool) -> Service:
        config, clock = self.config, self._clock
        store = self._store()
        hub = Hub()
        fleet = Fleet(clock, hub, host_timeout_seconds=config.sessions.host_timeout_seconds)
        hosts = self._host_client()
        registry = metrics.new_registry()
        measures = Measures(registry)
        registry.register(FleetCollector(fleet, hub, store.connection, clock))
        windows = Windows(fleet, clock, config.bookings)
        capacity = Capacity(store, fleet, windows, clock, config.sessions.placement, measures.placement)
        lifecycle = Lifecycle(store, fleet, capacity, hosts, clock, config.sessions, self._start_request)
        accounts = Accounts(store, config.access, clock)
        identity = Identity(config, accounts, clock)
        admission = Admission(fleet, capacity, lifecycle, clock, config.sessions)
        queueing = Queueing(fleet, admission, lifecycle, hub, clock, config.sessions)
        lifecycle.observers.append(measures.observe)
        lifecycle.observers.append(self._room_may_have_appeared)
        limits = config.rate_limits
        self._sync = Sync(store, fleet, accounts, clock)
        self._reaper = Reaper(store, fleet, lifecycle, clock, config.sessions)
        warm = WarmPools(fleet, admission, lifecycle, clock)
        bookings = BookingService(
            store, fleet, windows, admission, lifecycle, clock, config.bookings, config.public_url
        )
        webhooks = self._webhooks(store)
        # In this order: what is over, what was promised, who waits, and only then what nobody asked for.
        self.timers = Timers(store, [self._reaper.sweep, bookings.round, queueing.round, warm.round, webhooks.round])
        return Service(
            config=config,
            clock=clock,
            store=store,
            fleet=fleet,
            hub=hub,
            admission=admission,
            lifecycle=lifecycle,
            windows=windows,
            bookings=bookings,
            webhooks=webhooks,
            extension=Extension(fleet, windows, lifecycle, hosts, clock, queueing.is_contended),
            reports=Reports(store, fleet, lifecycle, clock, config.sessions),
            queueing=queueing,
            catalogue=Catalogue(fleet, queueing, clock, config.sessions),
            accounts=accounts,
            audit=Audit(store, clock),
            identity=identity,
            oidc=self._oidc(),
            idempotency=Idempotency(store, clock),
            document=document(),
            hosts=hosts,
            rooms=Rooms(config, fleet, lifecycle, identity, self._signer, store.bookings, clock),
            verifier=RequestVerifier(COORDINATOR, clock),
            metrics=registry,
            measures=measures,
            static=_STATIC,
            requests_limit=RateLimit(clock, per_minute=limits.requests_per_minute, burst=limits.requests_burst),
            creates_limit=RateLimit(clock, per_minute=limits.creates_per_minute, burst=limits.creates_burst),
            sign_ins_limit=RateLimit(clock, per_minute=limits.sign_ins_per_minute, burst=limits.sign_ins_burst),
            check_responses=check_responses,
        )

    def _store(self) -> Store:
        config = self.config
        return Store(
            config.mongodb_uri,
            config.database,
            writer=self.instance,
            clock=self._clock,
            deadline_seconds=config.database_deadline_seconds,
        )

    def _host_client(self) -> HostClient:
        config = self.config
        return HostClient(
            control_secret=config.control_secret,
            clock=self._clock,
            deadline_seconds=config.sessions.host_deadline_seconds,
            ca_file=config.control_ca_file,
        )

    def _webhooks(self, store: Store) -> Webhooks:
        config = self.config
        return Webhooks(
            store,
            config.webhooks,
            self._clock,
            public_url=config.public_url,
            open_before_seconds=config.bookings.open_before_seconds,
        )

    def _oidc(self) -> OidcClient | None:
        access = self.config.access
        if access.mode == "oidc" and access.oidc is None:
            raise configuration.ConfigError("access.oidc: is missing. Mode oidc needs issuer and client_id.")
        if access.oidc is None:
            return None
        redirect = callback_url(self.config.public_url)
        return OidcClient(access.oidc, redirect_uri=redirect, secret=self.config.cookie_secret, clock=self._clock)

    def _start_request(self, session: Session, title: Title, host: Host) -> StartSession:
        config = self.config
        owner = session.owner
        return start_request(
            session,
            title,
            host,
            defaults=config.sessions,
            token_public_key=self._signer.public_key_pem,
            ice_servers=fixed_ice_servers(config),
            allowed_origins=dict.fromkeys((_origin(config.public_url), *config.cors_origins, *config.allowed_origins)),
            owner_participant=self.service.identity.participant(session.id, owner.id) if owner else None,
        )

    async def start(self) -> None:
        """Raise ``StoreError`` when the database stays away, ``OSError`` when the port is taken."""
        sockets = bind_sockets(self.config.listen.port, self.config.listen.address)
        self.port = sockets[0].getsockname()[1]
        try:
            await asyncio.to_thread(self.service.document.prepare)
            await self.service.store.open()
            await self._sync.load()
        except BaseException:
            for each in sockets:
                each.close()
            raise
        spawn = self._background.spawn
        spawn("sync", periodic(CHANGES_SECONDS, self._sync.poll, "sync"))
        spawn("timers", self.timers.run())
        spawn("slots", periodic(SLOTS_SECONDS, self._slots, "slots"))
        spawn("queue presence", periodic(self.service.queueing.touch_seconds, self.service.queueing.touch, "presence"))
        spawn("queue positions", periodic(_TELL_QUEUE_SECONDS, self._tell, "queue positions"))
        self._server = HTTPServer(
            build_application(self.service),
            max_body_size=_BODY_BYTES,
            max_buffer_size=2 * _BODY_BYTES,
            idle_connection_timeout=_IDLE_CONNECTION_SECONDS,
        )
        self._server.add_sockets(sockets)
        if self.config.ready_file:
            _write_ready(Path(self.config.ready_file), self.port)
        logger.info("coordinator %s answers on %s:%d", self.instance, self.config.listen.address, self.port)

    def _room_may_have_appeared(self, _: Session | None, after: Session) -> None:
        if after.is_final:
            self.timers.wake()

    async def _slots(self) -> None:
        if self.timers.holding:
            await self._reaper.slots()

    async def _tell(self) -> None:
        self.service.queueing.tell()

    async def close(self) -> None:
        """Take no new connections, finish what was asked, end event streams, hand over the timers."""
        self.service.hub.close()
        if self._server is not None:
            self._server.stop()
            await self._drain()
            await self._server.close_all_connections()
        await self._background.close()
        await self.service.lifecycle.close()
        await self.service.webhooks.close()
        self.service.hosts.close()
        if self.service.oidc is not None:
            self.service.oidc.close()
        await self.service.store.close()

    async def _drain(self) -> None:
        """Requests on open connections are still answered, each with ``Connection: close``."""
        ends = self._clock.monotonic() + self.config.stop_seconds
        quiet = 0
        while self._clock.monotonic() < ends and quiet < 5:
            await asyncio.sleep(0.05)
            quiet = quiet + 1 if self.service.in_flight == 0 else 0


def _origin(url: str) -> str:
    split = urlsplit(url)
    return f"{split.scheme}://{split.netloc}"


def _write_ready(path: Path, port: int) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump({"pid": os.getpid(), "port": port}, file)
    os.replace(file.name, path)


class Settled:
    """The last part to start. What was loaded lives long: with ten thousand sessions, one look of the garbage collector
    at all of it keeps everybody waiting for 40 ms."""

    async def start(self) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTOR_THRESHOLDS)

    async def close(self) -> None:
        """Nothing to undo: the process ends."""


async def _serve(config: CoordinatorConfig) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    await run_parts([Coordinator(config), Settled()], stop, stop_deadline_seconds=config.stop_seconds + 15)


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 stopped, 1 the database refused, 2 bad configuration, 98 port taken."""
    parser = argparse.ArgumentParser(prog="pixelstream coordinator", description=__doc__)
    parser.add_argument("--config", required=True, help="JSON file, see docs/architecture.md")
    arguments = parser.parse_args(argv)
    try:
        config = configuration.load(arguments.config, CoordinatorConfig)
        log.configure(config.log.level, config.log.style)
        asyncio.run(_serve(config))
    except configuration.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except StoreError as error:
        print(f"database: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot listen: {error}", file=sys.stderr)
        return 98
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
