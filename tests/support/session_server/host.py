"""One streaming host under test: a real session server process with its own data, ports and titles."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from runtime.chassis.client import HttpClient, PeerUnreachableError, Reply, SignedClient
from runtime.chassis.clock import Clock, SystemClock
from runtime.chassis.entropy import new_session_id
from runtime.chassis.tokens import TokenSigner, new_signing_key
from runtime.protocol.control import Launch, SessionPolicy, SessionReport, StartSession, StartTimeouts
from runtime.session_server.process.base import MARK_VARIABLE, ChildIdentity
from tests.support.waiting import until

from .coordinator import FakeCoordinator

_HERE = Path(__file__).resolve().parent
PUBLIC_KEY = TokenSigner(new_signing_key(), SystemClock()).public_key_pem
QUICK = StartTimeouts(
    relay_up_seconds=10,
    process_up_seconds=10,
    streamer_connected_seconds=10,
    first_frame_seconds=10,
    stop_ask_seconds=2,
    stop_terminate_seconds=1,
    stop_kill_seconds=5,
)


def free_ports(count: int) -> int:
    """The first of ``count`` consecutive ports that are free for TCP and UDP now."""
    for first in range(20_000 + os.getpid() % 10_000, 60_000, count):
        sockets = []
        try:
            for port in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    sockets.append(socket.socket(socket.AF_INET, kind))
                    sockets[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for opened in sockets:
                opened.close()
    raise AssertionError("no free ports")


class HostUnderTest:
    """Start, kill and ask a session server. ``close`` ends it and everything it left."""

    def __init__(self, directory: Path, coordinator: FakeCoordinator, **settings: Any) -> None:
        self.directory = directory
        self.coordinator = coordinator
        self.data = directory / "data"
        self.titles = directory / "titles"
        self.titles.mkdir(parents=True, exist_ok=True)
        self.title = self._install_title()
        self.first_port = free_ports(4)
        self.settings: dict[str, Any] = {
            "host": coordinator.host,
            "host_key": coordinator.host_key,
            "coordinator_url": coordinator.url,
            "data_directory": str(self.data),
            "listen": {"address": "127.0.0.1", "port": 0},
            "capacity": 2,
            "port_range": {"first": self.first_port, "last": self.first_port + 3},
            "relay": {
                "listen_address": "127.0.0.1",
                "media_addresses": ["127.0.0.1"],
                "command": [sys.executable, str(_HERE / "stub_relay.py")],
            },
            "title_roots": [str(self.titles)],
            "heartbeat_seconds": 0.2,
            "ready_file": str(directory / "ready.json"),
            "log": {"level": "debug"},
            **settings,
        }
        self.environment = dict(os.environ)
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._http = HttpClient()
        self._client: SignedClient | None = None

    def _install_title(self) -> Path:
        """An executable file under title_roots, as operators have them."""
        path = self.titles / "stub-title"
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {_HERE / "stub_title.py"} "$@"\n')
        path.chmod(0o755)
        return path

    @property
    def log(self) -> Path:
        return self.directory / "session-server.log"

    async def start(self) -> None:
        ready = Path(self.settings["ready_file"])
        ready.unlink(missing_ok=True)
        config = self.directory / "session-server.json"
        config.write_text(json.dumps(self.settings))
        process = self.process = self._run(config)
        await until(lambda: ready.exists() or process.poll() is not None, "session server ready")
        assert ready.exists(), self.log.read_text()
        port = json.loads(ready.read_text())["port"]
        self.url = f"http://127.0.0.1:{port}"
        self.use_clock(SystemClock())

    def use_clock(self, clock: Clock) -> None:
        """Sign requests to the host by ``clock``."""
        self._client = SignedClient(
            self._http,
            self.url,
            key=self.coordinator.host_key,
            issuer="coordinator",
            audience=self.coordinator.host,
            clock=clock,
        )

    def _run(self, config: Path, *options: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "runtime", "session-server", "--config", str(config), *options],
                stdout=output,
                stderr=output,
                env=self.environment,
            )

    async def run_once(self, option: str) -> None:
        """A session server that does one thing and exits."""
        process = self._run(self.directory / "session-server.json", option)
        assert await asyncio.to_thread(process.wait, 60) == 0, self.log.read_text()

    def forge(self, session_id: str, **changes: Any) -> None:
        """Change what the journal says of a session, while no session server runs."""
        with sqlite3.connect(self.data / "journal.sqlite") as database:
            (body,) = database.execute("SELECT record FROM session WHERE id = ?", (session_id,)).fetchone()
            record = json.loads(body) | changes
            database.execute("UPDATE session SET record = ? WHERE id = ?", (json.dumps(record).encode(), session_id))
        database.close()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = await asyncio.to_thread(self.process.wait, 30)
        self.process = None
        return code

    async def close(self) -> None:
        if self.process is not None:
            await self.stop(signal.SIGKILL)
        self._http.close()
        for process in self.marked():
            process.kill()
        await until(lambda: not self.marked(), "no process left after the test")

    async def call(self, method: str, target: str, payload: Any = None) -> Reply:
        assert self._client is not None
        return await self._client.call(method, target, payload=payload, deadline_seconds=10)

    async def begin(self, *arguments: str, session_id: str | None = None, **changes: Any) -> str:
        """Ask for a session of the stub title; its id."""
        start = self.request(*arguments, session_id=session_id, **changes)
        reply = await self.call("PUT", f"/control/v1/sessions/{start.session_id}", start)
        assert reply.status == 201
        return start.session_id

    def request(
        self,
        *arguments: str,
        session_id: str | None = None,
        policy: SessionPolicy | None = None,
        timeouts: StartTimeouts = QUICK,
        **launch: Any,
    ) -> StartSession:
        return StartSession(
            session_id=session_id or new_session_id(),
            title="stub",
            launch=Launch(**{"executable": str(self.title), "arguments": arguments, **launch}),
            token_public_key=PUBLIC_KEY,
            policy=policy or SessionPolicy(streamer_grace_seconds=5),
            timeouts=timeouts,
        )

    async def report(self, session_id: str) -> SessionReport:
        return (await self.call("GET", f"/control/v1/sessions/{session_id}")).as_(SessionReport)

    async def until_told(self, session_id: str, state: str, seconds: float = 20.0) -> SessionReport:
        """Wait for the coordinator to hear of ``state``; the newest report."""

        def reached() -> bool:
            return any(event.report.state == state for event in self.coordinator.of(session_id))

        await self.coordinator.until(reached, f"{state} of {session_id}", seconds)
        return next(e.report for e in reversed(self.coordinator.of(session_id)) if e.report.state == state)

    def record(self, session_id: str) -> dict[str, Any]:
        """What is on disk of the newest relay start."""
        places = sorted((self.data / "sessions" / session_id).glob("relay-*"), key=lambda p: int(p.name[6:]))
        return {"config": json.loads((places[-1] / "config.json").read_text()), "place": places[-1]}

    async def pretend(self, session_id: str, **values: Any) -> None:
        """Tell the stub relay what to say."""
        await self._ask_relay(session_id, "POST", "/private/pretend", json.dumps(values).encode())

    async def relay_status(self, session_id: str) -> dict[str, Any]:
        """The newest relay's status; its streamer is None while it does not answer."""
        try:
            reply = await self._ask_relay(session_id, "GET", "/private/status", None)
        except (PeerUnreachableError, FileNotFoundError):
            return {"streamer": None}
        return dict(reply.as_(dict))

    async def _ask_relay(self, session_id: str, method: str, path: str, body: bytes | None) -> Reply:
        found = self.record(session_id)
        ready = json.loads((found["place"] / "ready.json").read_text())
        return await self._http.fetch(
            method,
            f"http://127.0.0.1:{ready['private_port']}{path}",
            deadline_seconds=5,
            body=body,
            headers={"Authorization": f"Bearer {found['config']['private_secret']}"},
        )

    def child(self, session_id: str, part: str) -> ChildIdentity:
        place = self.record(session_id)["place"] if part == "relay" else self.data / "sessions" / session_id / "title"
        return ChildIdentity(**json.loads((place / "child.json").read_text()))

    def marked(self, session_id: str = "") -> list[psutil.Process]:
        """Living processes of one or all of this host's sessions, keepers included, found by their mark."""
        ids = {session_id} if session_id else {path.name for path in self.data.glob("sessions/*")}
        found = []
        for process in psutil.process_iter():
            try:
                mark = process.environ().get(MARK_VARIABLE, "").split(".")
                if len(mark) == 3 and mark[1] in ids and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found
