"""A whole system of real processes in which any part can be killed or cut off, and what must hold afterwards.

Relay and title are the stubs of ``tests/support/session_server``: chaos is about processes, not about media.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from runtime.chassis.client import HttpClient, PeerUnreachableError
from runtime.demo.processes import free_port
from runtime.demo.stack import DemoOptions, DemoStack
from runtime.protocol.errors import ServiceError
from runtime.session_server.process.base import MARK_VARIABLE
from tests.support.waiting import until

from .coordinator.database import ferretdb_command
from .tcp_proxy import TcpProxy

_STUBS = Path(__file__).resolve().parent / "session_server"
LEASE_SECONDS = 6.0
HEARTBEAT_SECONDS = 0.4
# Everything must be in order again after the lease; the rest is for a busy machine.
PATIENCE_SECONDS = LEASE_SECONDS + 30.0
FINAL = ("ended", "failed")


class ArenaStack(DemoStack):
    """A demo whose database is the engine that a test wants."""

    def __init__(self, options: DemoOptions, engine: str) -> None:
        super().__init__(options)
        self._engine = engine

    def _database_command(self) -> tuple[str, ...]:
        if self._engine == "embedded":
            return super()._database_command()
        words = ferretdb_command(self.directory / "database", self._ports["database"])
        return ("-c", f"import os; os.execvp({words[0]!r}, {words!r})")


class Arena:
    """One stack with room for one session.

    Titles: ``plain`` streams at once, ``gated`` connects when :attr:`gate` exists, ``stubborn`` ignores signals.
    """

    def __init__(self, directory: Path, engine: str = "embedded") -> None:
        self.directory, self._engine = directory, engine
        self.gate = directory / "gate"
        self.to_host, self.to_coordinator, self.to_database = TcpProxy(), TcpProxy(), TcpProxy()
        self.stack: DemoStack
        self._http = HttpClient()
        self._seen: set[str] = set()

    @property
    def proxies(self) -> tuple[TcpProxy, ...]:
        return (self.to_host, self.to_coordinator, self.to_database)

    async def start(self) -> None:
        title = self.directory / "stub-title"
        title.write_text(f'#!/bin/sh\nexec {sys.executable} {_STUBS / "stub_title.py"} "$@"\n')
        title.chmod(0o755)
        ports = {name: free_port("127.0.0.1") for name in ("coordinator", "database", "control")}
        for proxy, name in zip(self.proxies, ("control", "coordinator", "database"), strict=True):
            proxy.target_port = ports[name]
            await proxy.start()
        self.stack = ArenaStack(
            DemoOptions(
                directory=self.directory / "stack",
                port=ports.pop("coordinator"),
                ports=ports,
                capacity=1,
                registry=self._register,
                coordinator=self._coordinator_settings(),
                session_server=self._session_server_settings(),
            ),
            self._engine,
        )
        await self.stack.__aenter__()

    def _coordinator_settings(self) -> dict[str, Any]:
        return {
            "mongodb_uri": f"mongodb://127.0.0.1:{self.to_database.port}/?directConnection=true",
            "database_deadline_seconds": 2,
            "rate_limits": {"enabled": False},
            "sessions": {
                "lease_seconds": LEASE_SECONDS,
                "heartbeat_interval_seconds": HEARTBEAT_SECONDS,
                "host_timeout_seconds": 3,
                "host_deadline_seconds": 2,
                "per_viewer": 0,
            },
        }

    def _session_server_settings(self) -> dict[str, Any]:
        return {
            "coordinator_url": f"http://127.0.0.1:{self.to_coordinator.port}",
            "title_roots": [str(self.directory)],
            "end_sessions_on_stop": False,
            "heartbeat_seconds": HEARTBEAT_SECONDS,
            "relay": {"command": [sys.executable, str(_STUBS / "stub_relay.py")]},
        }

    def _register(self, content: dict[str, Any]) -> None:
        arguments = {"plain": [], "gated": ["--connect-when", str(self.gate)], "stubborn": ["--ignore-signals"]}
        (host,) = content["session_servers"]
        host["control_url"] = f"http://127.0.0.1:{self.to_host.port}"
        host["titles"] = {name: {"executable": str(self.directory / "stub-title")} for name in arguments}
        content["titles"] = [
            {"name": name, "launch": {"arguments": words}, "limits": {"streamer_grace_seconds": 4}}
            for name, words in arguments.items()
        ]

    async def close(self) -> None:
        for proxy in self.proxies:
            proxy.heal()
        await self.stack.__aexit__(None, None, None)
        for proxy in self.proxies:
            await proxy.close()
        self._http.close()
        for process in self.marked():
            process.kill()

    # --- the viewer's side ---

    async def call(self, method: str, path: str, payload: Any = None) -> dict[str, Any]:
        """Asks again while the coordinator is away, as pages do; raise ``ServiceError`` for other answers."""
        answer: dict[str, Any] = {}

        async def answered() -> bool:
            nonlocal answer
            try:
                reply = await self._http.fetch(
                    method,
                    f"{self.stack.url}/api/v1{path}",
                    deadline_seconds=5,
                    headers=self.stack.admin.headers,
                    body=None if payload is None else json.dumps(payload).encode(),
                )
            except PeerUnreachableError:
                return False
            except ServiceError as error:
                if error.status == 503 and error.code != "no_capacity":
                    return False
                raise
            answer = json.loads(reply.body)
            return True

        await until(answered, f"an answer to {method} {path}", PATIENCE_SECONDS)
        return answer

    async def create(self, title: str, *, wait: bool = False) -> str:
        session = (await self.call("POST", "/sessions", {"title": title, "wait": wait}))["id"]
        self._seen.add(session)
        return str(session)

    async def session(self, session_id: str) -> dict[str, Any]:
        return await self.call("GET", f"/sessions/{session_id}")

    async def until_state(self, session_id: str, *states: str) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        async def reached() -> bool:
            nonlocal seen
            seen = await self.session(session_id)
            assert seen["state"] in states or seen["state"] not in FINAL, seen
            return seen["state"] in states

        await until(reached, f"{' or '.join(states)} of {session_id}", PATIENCE_SECONDS)
        return seen

    # --- the host's side ---

    def marked(self, *parts: str) -> list[psutil.Process]:
        """Living processes of sessions, keepers included; ``parts``: only relays or titles."""
        found = []
        for process in psutil.process_iter():
            try:
                mark = process.environ().get(MARK_VARIABLE, "").split(".")
                if len(mark) == 3 and mark[1] in self._seen and process.status() != psutil.STATUS_ZOMBIE:
                    found += [process] if not parts or mark[2] in parts else []
            except psutil.Error:
                continue
        return found

    def _child(self, session_id: str, part: str) -> dict[str, Any]:
        place = self.stack.directory / "host" / "sessions" / session_id
        directory = place / "title" if part == "title" else max(place.glob("relay-*"), key=lambda p: int(p.name[6:]))
        return dict(json.loads((directory / "child.json").read_text()))

    async def pretend(self, session_id: str, **values: Any) -> None:
        """Tell the stub relay what to say."""
        place = self.stack.directory / "host" / "sessions" / session_id
        directory = max(place.glob("relay-*"), key=lambda p: int(p.name[6:]))
        # First what the relay writes when it is up: its configuration may still be being written before.
        ready = json.loads((directory / "ready.json").read_text())
        config = json.loads((directory / "config.json").read_text())
        await self._http.fetch(
            "POST",
            f"http://127.0.0.1:{ready['private_port']}/private/pretend",
            deadline_seconds=5,
            body=json.dumps(values).encode(),
            headers={"Authorization": f"Bearer {config['private_secret']}"},
        )

    # --- deaths ---

    async def kill_now(self, name: str) -> None:
        """Kill a service of the stack."""
        process = self.stack.processes[name]
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: process.exit_code is not None, f"the death of the {name}")

    async def kill_service(self, name: str) -> None:
        """Kill a service and start it again."""
        await self.kill_now(name)
        await self.stack.restart(name, PATIENCE_SECONDS)

    async def kill_child(self, session_id: str, part: str, *, keeper: bool = False) -> None:
        # One that is being stopped may have gone by itself in this moment: then it is as dead as it was to be.
        with suppress(ProcessLookupError):
            os.kill(self._child(session_id, part)["keeper_pid" if keeper else "pid"], signal.SIGKILL)

    async def drop_streamer(self, session_id: str) -> None:
        """The connection between title and relay breaks; the title connects again."""
        os.kill(self._child(session_id, "title")["pid"], signal.SIGUSR1)

    # --- what must hold ---

    async def free_slots(self) -> int:
        titles = (await self.call("GET", "/titles"))["items"]
        return int(next(title["availability"]["free"] for title in titles if title["name"] == "plain"))

    def ends(self, session_id: str) -> list[str]:
        """Each end of a session that a coordinator wrote, over all its lives: the state and the reason."""
        log = self.stack.processes["coordinator"].log.read_text()
        return re.findall(rf"session {session_id} is ((?:ended|failed) \(\w+\))", log)

    async def all_in_order(self) -> None:
        """No session lives, no process of one runs, the slot is free again."""
        live = await self.call("GET", "/sessions?state=live")
        assert live["items"] == []
        await until(lambda: not self.marked(), "the end of all sessions' processes", PATIENCE_SECONDS)

        async def free() -> bool:
            return await self.free_slots() == 1

        await until(free, "the slot to be free again", PATIENCE_SECONDS)

    async def clear(self) -> None:
        """After a row that failed: end what it left, so that the next one fails only for reasons of its own."""
        for proxy in self.proxies:
            proxy.heal()
        self.gate.touch()
        for session in (await self.call("GET", "/sessions?state=live"))["items"]:
            await self.call("DELETE", f"/sessions/{session['id']}")

        async def over() -> bool:
            return (await self.call("GET", "/sessions?state=live"))["items"] == []

        await until(over, "the end of what a failed row left", PATIENCE_SECONDS)


@asynccontextmanager
async def arena(directory: Path, engine: str) -> AsyncIterator[Arena]:
    made = Arena(directory, engine)
    await made.start()
    try:
        yield made
    finally:
        await made.close()
