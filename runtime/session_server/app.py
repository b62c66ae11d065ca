"""``pixelstream session-server --config FILE``: composition root of a streaming host's session server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from runtime.chassis import log
from runtime.chassis.client import HttpClient, SignedClient
from runtime.chassis.clock import SystemClock
from runtime.chassis.config import ConfigError, Listen, load
from runtime.chassis.files import replace_patiently
from runtime.chassis.lifecycle import Part, run_parts, stop_on_signals
from runtime.chassis.signing import RequestVerifier

from .agent import Agent
from .config import SessionServerConfig, check
from .coordinator_clock import CoordinatorClock
from .gpu import GpuReader
from .handlers import Service, routes
from .journal import Journal, JournalError
from .measures import session_metrics
from .process.host import process_host
from .registry import SessionRegistry

logger = logging.getLogger(__name__)
EXIT_BAD_CONFIGURATION = 2
EXIT_PORT_TAKEN = 98
JOURNAL_FILE = "journal.sqlite"
_MAX_BODY_BYTES = 4 * 1024 * 1024
_STOP_SECONDS = 60.0
_ADDRESS_LOOK_SECONDS = 1.0


async def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Step:
    """A part made of functions. The registry needs two: the agent must not speak before sessions are adopted, and must
    still speak after they have ended."""

    begin: Callable[[], Awaitable[None]] = _nothing
    end: Callable[[], Awaitable[None]] = _nothing

    async def start(self) -> None:
        await self.begin()

    async def close(self) -> None:
        await self.end()


class ControlServer:
    """The HTTP side, on sockets that were bound before anything else began."""

    def __init__(self, config: SessionServerConfig, server: HTTPServer, sockets: list[socket.socket]) -> None:
        self._config, self._server, self._sockets = config, server, sockets

    async def start(self) -> None:
        self._server.add_sockets(self._sockets)
        port = self._sockets[0].getsockname()[1]
        logger.info("host %s: control interface on %s:%d", self._config.host, self._config.listen.address, port)
        if self._config.ready_file is not None:
            target = Path(self._config.ready_file)
            temporary = target.with_name(f"{target.name}.new")
            temporary.write_text(json.dumps({"pid": os.getpid(), "port": port}), "utf-8")
            replace_patiently(str(temporary), str(target))

    async def close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


async def bound_sockets(listen: Listen, stop: asyncio.Event) -> list[socket.socket]:
    """Sockets of the control interface. When the machine starts, its network may come up after us, so an address that
    is not there yet is waited for; empty when ``stop`` is set meanwhile. Raises ``OSError`` for a taken port."""
    told = False
    while not stop.is_set():
        try:
            return bind_sockets(listen.port, listen.address)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
        if not told:
            logger.warning("listen.address %s is not (yet) an address of this machine; waiting for it", listen.address)
            told = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ADDRESS_LOOK_SECONDS):
                await stop.wait()
    return []


async def _end_sessions(config: SessionServerConfig) -> None:
    """End what an earlier session server left running here, without serving; its last events stay in the outbox."""
    journal = Journal(Path(config.data_directory) / JOURNAL_FILE)
    registry = SessionRegistry(
        config=msgspec.structs.replace(config, end_sessions_on_stop=True),
        clock=SystemClock(),
        processes=process_host(),
        journal=journal,
        environment=dict(os.environ),
        changed=lambda: None,
    )
    stop = asyncio.Event()
    stop.set()
    parts: list[Part] = [Step(journal.open, journal.close), Step(registry.start, registry.close)]
    await run_parts(parts, stop, stop_deadline_seconds=_STOP_SECONDS)


async def _serve(config: SessionServerConfig) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    sockets = await bound_sockets(config.listen, stop)
    if not sockets:
        return
    clock = SystemClock()
    signing_clock = CoordinatorClock(clock)
    environment = dict(os.environ)
    events_wait = asyncio.Event()
    journal = Journal(Path(config.data_directory) / JOURNAL_FILE)
    registry = SessionRegistry(
        config=config,
        clock=clock,
        processes=process_host(),
        journal=journal,
        environment=environment,
        changed=events_wait.set,
    )
    http = HttpClient(ca_file=config.coordinator_ca_file)
    agent = Agent(
        config=config,
        registry=registry,
        journal=journal,
        coordinator=SignedClient(
            http,
            config.coordinator_url,
            key=config.host_key,
            issuer=config.host,
            audience="coordinator",
            clock=signing_clock,
        ),
        clock=clock,
        signing_clock=signing_clock,
        gpus=GpuReader(),
        events_wait=events_wait,
    )
    service = Service(
        config=config,
        registry=registry,
        agent=agent,
        verifier=RequestVerifier(config.host, signing_clock),
        environment=environment,
    )
    server = HTTPServer(
        routes(service, session_metrics(registry, config.capacity)),
        max_body_size=_MAX_BODY_BYTES,
        idle_connection_timeout=60,
        body_timeout=30,
    )
    control = ControlServer(config, server, sockets)
    try:
        parts: list[Part] = [
            Step(journal.open, journal.close),
            Step(begin=registry.start),
            agent,
            Step(end=registry.close),
            control,
        ]
        await run_parts(parts, stop, stop_deadline_seconds=_STOP_SECONDS)
    finally:
        http.close()


def main(arguments: Sequence[str]) -> int:
    """Exit codes: 0 stopped, 1 failed, 2 bad configuration, 98 port taken."""
    parser = argparse.ArgumentParser(prog="pixelstream session-server", description="Run a host's session server.")
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON file, see docs/architecture.md")
    parser.add_argument(
        "--end-sessions", action="store_true", help="end what an earlier run left running on this host, then exit"
    )
    options = parser.parse_args(arguments)
    try:
        config = load(options.config, SessionServerConfig)
        check(config)
        Path(config.data_directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    except ConfigError as error:
        print(f"pixelstream session-server: {error}", file=sys.stderr)
        return EXIT_BAD_CONFIGURATION
    except OSError as error:
        print(f"pixelstream session-server: data_directory: {error}. Correct path and owner.", file=sys.stderr)
        return EXIT_BAD_CONFIGURATION
    log.configure(config.log.level, config.log.style)
    try:
        asyncio.run(_end_sessions(config) if options.end_sessions else _serve(config))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        place = f"{config.listen.address}:{config.listen.port}"
        print(f"pixelstream session-server: {place} is taken; stop what uses it or change listen.", file=sys.stderr)
        return EXIT_PORT_TAKEN
    except JournalError as error:
        print(
            f"pixelstream session-server: {error}. Is another session server using this data_directory?",
            file=sys.stderr,
        )
        return 1
    return 0
