"""Database, coordinator and one session server as child processes, from nothing to ready and back to nothing."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from argon2 import PasswordHasher

from runtime.chassis.client import HttpClient, PeerUnreachableError
from runtime.chassis.entropy import new_secret
from runtime.chassis.signing import host_key
from runtime.chassis.tokens import new_signing_key
from runtime.protocol.errors import ServiceError

from . import catalogue
from .errors import DemoError
from .lock import DirectoryLock
from .processes import DemoProcess, free_port, is_port_free, run_to_end, why_port_is_unusable

HOST = "demo"
_START_SECONDS = 30.0
_SESSION_PORTS = 20


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What a demo is started with.

    ``port`` 0 takes a free one; ``coordinator`` and ``session_server`` are merged into the services' configuration
    files, and ``registry`` may change the content of the registry file. Tests use these to shape a stack of their own.
    """

    directory: Path
    address: str = "127.0.0.1"
    port: int = 0
    idle_seconds: float = 600.0
    idle_warning_seconds: float = 60.0
    capacity: int = 3
    coordinator: Mapping[str, Any] = field(default_factory=dict)
    session_server: Mapping[str, Any] = field(default_factory=dict)
    registry: Callable[[dict[str, Any]], None] = lambda content: None
    # "database" and "control" (the session server's), for tests that put something in between; else free ones.
    ports: Mapping[str, int] = field(default_factory=dict)
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, kw_only=True)
class Admin:
    """Ways in for an administrator of this demo: the sign-in page, and an API key for scripts."""

    user: str
    password: str
    api_key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"}


class DemoStack:
    """``async with DemoStack(options) as stack``: everything runs inside, nothing is left after."""

    def __init__(self, options: DemoOptions) -> None:
        self.options = options
        self.directory = options.directory.resolve()
        self.url = ""
        self.admin = Admin(user="admin", password=secrets.token_urlsafe(9), api_key=f"ps_{new_secret()}")
        # By name, in the order of their start: database, session server, coordinator.
        self.processes: dict[str, DemoProcess] = {}
        self._lock = DirectoryLock(self.directory / "demo.lock")
        self._control_secret = new_secret()
        self._ports: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.take()
        except OSError as error:
            raise DemoError(f"{self.directory} cannot be used: {error.strerror}.") from None
        try:
            await self._clear()
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def dead(self) -> DemoProcess | None:
        """A service that has ended although nobody asked it to."""
        return next((process for process in self.processes.values() if process.exit_code is not None), None)

    def leftovers(self) -> tuple[list[str], list[int]]:
        """After the end: processes that still work in this demo's directory, and ports at which they listen."""
        inside = f"{self.directory}{os.sep}"
        processes = {}
        for process in psutil.process_iter(["cwd", "cmdline"]):
            words = process.info["cmdline"] or []
            # The directory itself may be named by whoever started us; what lies in it is known to our children alone.
            at_work = f"{process.info['cwd'] or ''}{os.sep}".startswith(inside)
            if at_work or any(word.startswith(inside) for word in words):
                processes[process.pid] = f"{process.pid} {' '.join(words)[:200]}"
        ours = {*self._ports.values(), *range(self._first_port, self._first_port + _SESSION_PORTS)}
        # By process, because another program may have taken such a port since.
        open_ports = {
            connection.laddr.port
            for connection in psutil.net_connections("inet")
            if connection.laddr and connection.laddr.port in ours and connection.pid in processes
        }
        return list(processes.values()), sorted(open_ports)

    async def restart(self, name: str, wait_seconds: float = _START_SECONDS) -> None:
        """Start a service again that has ended, with its configuration and data."""
        ready = {
            "database": self._database_answers,
            "session server": self._session_server_answers,
            "coordinator": self._is_ready,
        }
        if name == "session server":
            self._ready_file.unlink(missing_ok=True)
        self.processes[name].start()
        await self.processes[name].until(ready[name], wait_seconds)

    @property
    def _first_port(self) -> int:
        return self._ports["sessions"]

    @property
    def _host_config(self) -> Path:
        return self.directory / "session-server.json"

    async def _clear(self) -> None:
        """A demo that was killed may have left sessions running; then begin with an empty database."""
        if self._host_config.exists() and (self.directory / "host").exists():
            words = ("-m", "runtime", "session-server", "--config", str(self._host_config), "--end-sessions")
            try:
                await run_to_end("Ending what an earlier demo left", words, self.directory, 60)
            except DemoError as error:
                self.options.say(str(error))
        for name in ("database", "host", "logs"):
            await asyncio.to_thread(shutil.rmtree, self.directory / name, True)
        for name in ("database", "logs"):
            (self.directory / name).mkdir(mode=0o700)

    async def _start(self) -> None:
        options = self.options
        media = _media_addresses(options.address)
        if (reason := why_port_is_unusable(options.address, options.port)) is not None:
            raise DemoError(reason)
        self._ports = {
            "coordinator": options.port or free_port(options.address),
            "database": free_port("127.0.0.1"),
            "control": free_port("127.0.0.1"),
            "sessions": _free_block(options.address, _SESSION_PORTS),
            **options.ports,
        }
        self.url = f"http://{options.address}:{self._ports['coordinator']}"
        self._write("coordinator.json", self._coordinator_config())
        self._write("session-server.json", self._session_server_config(media))
        database = self._process("database", self._database_command())
        session_server = self._process("session server", self._service("session-server"))
        await self._step("database", database.until(self._database_answers, _START_SECONDS))
        await self._step("session server", session_server.until(self._session_server_answers, _START_SECONDS))
        await self._step("list of titles", self._register())
        coordinator = self._process("coordinator", self._service("coordinator"))
        await self._step("coordinator", coordinator.until(self._is_ready, _START_SECONDS))

    async def _step(self, what: str, work: Any) -> None:
        started = time.monotonic()
        await work
        self.options.say(f"{what} is up ({time.monotonic() - started:.1f} s)")

    def _process(self, name: str, command: tuple[str, ...]) -> DemoProcess:
        log = self.directory / "logs" / f"{name.replace(' ', '-')}.log"
        process = DemoProcess(name, command, log, self.directory)
        process.start()
        self.processes[name] = process
        return process

    def _service(self, name: str) -> tuple[str, ...]:
        return ("-m", "runtime", name, "--config", str(self.directory / f"{name}.json"))

    def _database_command(self) -> tuple[str, ...]:
        place = self.directory / "database"
        run = "import sys; from nx_27017.nx_27017 import main; sys.exit(main())"
        files = ("--data-dir", str(place), "--log-file", str(place / "nx.log"), "--pid-file", str(place / "nx.pid"))
        return ("-c", run, "--host", "127.0.0.1", "-p", str(self._ports["database"]), *files)

    async def _database_answers(self) -> bool:
        try:
            async with asyncio.timeout(1.0):
                _, writer = await asyncio.open_connection("127.0.0.1", self._ports["database"])
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def _session_server_answers(self) -> bool:
        return await asyncio.to_thread(self._ready_file.exists)

    @property
    def _ready_file(self) -> Path:
        return self.directory / "host" / "ready.json"

    async def _is_ready(self) -> bool:
        http = HttpClient()
        try:
            await http.fetch("GET", f"{self.url}/readyz", deadline_seconds=2)
        except (PeerUnreachableError, ServiceError):
            return False
        finally:
            http.close()
        return True

    def _write(self, name: str, value: dict[str, Any]) -> None:
        path = self.directory / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2)

    def _coordinator_config(self) -> dict[str, Any]:
        options = self.options
        admin = {
            "password_hash": PasswordHasher().hash(self.admin.password),
            "display_name": "Administrator",
            "admin": True,
        }
        key = {"sha256": hashlib.sha256(self.admin.api_key.encode()).hexdigest(), "scopes": ["admin"]}
        config = {
            "listen": {"address": options.address, "port": self._ports["coordinator"]},
            "public_url": self.url,
            "mongodb_uri": f"mongodb://127.0.0.1:{self._ports['database']}",
            "token_signing_key": new_signing_key(),
            "control_secret": self._control_secret,
            "cookie_secret": new_secret(),
            "access": {"users": {self.admin.user: admin}, "api_keys": {"demo": key}},
            "sessions": {
                "heartbeat_interval_seconds": 2,
                "host_timeout_seconds": 10,
                "idle_seconds": options.idle_seconds,
                "idle_warning_seconds": options.idle_warning_seconds,
            },
        }
        return _merged(config, options.coordinator)

    def _session_server_config(self, media: list[str]) -> dict[str, Any]:
        options = self.options
        place = self.directory / "host"
        place.mkdir(mode=0o700)
        config = {
            "host": HOST,
            "host_key": host_key(self._control_secret, HOST),
            "coordinator_url": self.url,
            "data_directory": str(place),
            "listen": {"address": "127.0.0.1", "port": self._ports["control"]},
            "capacity": options.capacity,
            "port_range": {"first": self._first_port, "last": self._first_port + _SESSION_PORTS - 1},
            "relay": {
                "listen_address": options.address,
                "media_addresses": media,
                # Said in so many words, or players would not be told of a loopback address beside another one.
                "announced_addresses": media,
            },
            "allowed_origins": [self.url],
            "heartbeat_seconds": 1,
            "end_sessions_on_stop": True,
            "ready_file": str(self._ready_file),
        }
        return _merged(config, options.session_server)

    async def _register(self) -> None:
        host = {
            "name": HOST,
            "control_url": f"http://127.0.0.1:{self._ports['control']}",
            "edge_url": f"ws://{self.options.address}:{{port}}",
            "capacity": self.options.capacity,
        }
        pictures = self.directory / "pictures"
        pictures.mkdir(exist_ok=True)
        content = catalogue.registry(pictures, host=host)
        self.options.registry(content)
        path = pictures / "registry.json"
        path.write_text(json.dumps(content, indent=2), "utf-8")
        config = str(self.directory / "coordinator.json")
        words = ("-m", "runtime", "registry", "apply", "--config", config, "--file", str(path), "--prune")
        await run_to_end("Registering the titles", words, self.directory, _START_SECONDS)

    async def _stop(self) -> None:
        """Sessions first, while the coordinator can still be told; then the others in reverse."""
        host = self.processes.get("session server")
        try:
            if host is not None and not await host.stop():
                words = ("-m", "runtime", "session-server", "--config", str(self._host_config), "--end-sessions")
                await run_to_end("Ending sessions", words, self.directory, 60)
        except DemoError as error:
            self.options.say(str(error))
        finally:
            for process in reversed(self.processes.values()):
                if not await process.stop():
                    self.options.say(f"The {process.name} had to be killed; see {process.log}.")
            self._lock.release()


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, section by section."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _media_addresses(address: str) -> list[str]:
    """Where media comes and goes: ``address``, and beside a loopback one the address by which this machine is known.

    Firefox sends nothing to loopback addresses (it gathers no candidate there), Chromium takes either.
    """
    try:
        given = ipaddress.IPv4Address(address)
    except ValueError:
        raise DemoError(f"{address} is not an IPv4 address; name one of this machine's (--address).") from None
    if given.is_unspecified:
        raise DemoError(f"Browsers cannot be sent to {address}; name one of this machine's addresses (--address).")
    if not given.is_loopback:
        return [address]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: the kernel only says from where it would. 192.0.2.0/24 is nobody's (RFC 5737).
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return [address]  # no network: Chromium still has the loopback
        own = str(probe.getsockname()[0])
    return list(dict.fromkeys([address, own]))


def _free_block(address: str, count: int) -> int:
    """The first of ``count`` consecutive free TCP ports below the range that the kernel gives out by itself."""
    for first in range(18_000, 32_000 - count, count):
        if all(is_port_free(address, port) for port in range(first, first + count)):
            return first
    raise DemoError("No free ports for sessions between 18000 and 32000.")
