"""The stage: database, coordinator, hosts; and what is measured on it beside the load."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import psutil

from runtime.chassis.clock import SystemClock
from runtime.chassis.tokens import new_signing_key
from runtime.coordinator.domain.model import Build, Heartbeat, Host, Owner, Session, Title
from runtime.coordinator.registry import Registry
from runtime.coordinator.registry_file import RegistryFile
from runtime.coordinator.scheduler import load_of, place
from runtime.coordinator.store.store import Store
from runtime.protocol.states import SessionState
from tests.support.coordinator.database import EmbeddedDatabase

from .hosts import host_names
from .raw_http import RawConnection, get, rate

_READY_SECONDS = 60.0


def machine() -> dict[str, Any]:
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def placement_ms(hosts: int) -> float:
    """Median processor time of one placement over ``hosts`` hosts in every state of fill, in milliseconds.

    Placement waits for nothing, so this is its time on a machine that is not busy with something else.
    """
    title = Title(name="t")
    loads = [
        load_of(
            Host(
                name=f"h{n:05d}",
                control_url="http://h",
                edge_url="wss://h/{port}",
                capacity=8,
                title={"t": Build(executable="x")},
                heartbeat=Heartbeat(at_ms=10**12, sent_ms=10**12, capacity=8),
            ),
            frozenset(range(n % 9)),
            0,
            20.0,
        )
        for n in range(hosts)
    ]
    took = []
    for _ in range(50):
        began = time.thread_time()
        place(loads, title, 10**12)
        took.append((time.thread_time() - began) * 1000)
    return round(statistics.median(took), 3)


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


class Bench:
    """Database and coordinator are processes of their own; hosts and viewers are in this one."""

    def __init__(self, *, hosts: int, capacity: int, titles: int) -> None:
        self.database = EmbeddedDatabase()
        self.place = Path(tempfile.mkdtemp(prefix="pixelstream-bench-"))
        self.control_secret = secrets.token_urlsafe(32)
        self._names, self._capacity = host_names(hosts), capacity
        self.titles = [f"title-{number:02d}" for number in range(titles)]
        self.store = Store(self.database.uri, "pixelstream", writer="bench", clock=SystemClock(), deadline_seconds=30)
        self.port = 0
        self.seconds_to_load = 0.0
        self._coordinator: subprocess.Popen[bytes] | None = None
        self._hosts: subprocess.Popen[bytes] | None = None
        self._sessions: list[Session] = []

    async def prepare(self, sessions: int) -> None:
        """Registry and running sessions, as they would be in an installation that has run for a while."""
        self.database.start()
        self._hosts = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.control_plane.hosts_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        settings = {"control_secret": self.control_secret, "hosts": len(self._names), "capacity": self._capacity}
        port = (await self.tell(settings))["port"]
        await self.store.open()
        builds = {name: {"executable": f"/opt/{name}"} for name in self.titles}
        file = {
            "titles": [{"name": name, "display_name": {"en": name, "ru": name}} for name in self.titles],
            "session_servers": [
                {
                    "name": name,
                    "control_url": f"http://127.0.0.1:{port}/{name}",
                    "edge_url": "wss://play.example.org/hosts/{host}/{port}",
                    "capacity": self._capacity,
                    "titles": builds,
                }
                for name in self._names
            ],
        }
        await Registry(self.store, self.place, prune=False, check=False).apply(msgspec.convert(file, RegistryFile))
        self._sessions = [self._running(number) for number in range(sessions)]
        gate = asyncio.Semaphore(8)

        async def write(session: Session) -> None:
            async with gate:
                assert session.host is not None
                assert session.slot is not None
                await self.store.slots.claim(session.host, session.slot, session.id)
                await self.store.sessions.insert(session)

        await asyncio.gather(*(write(session) for session in self._sessions))

    def _running(self, number: int) -> Session:
        now, hosts = SystemClock().now_ms(), self._names
        return Session(
            id=_base32(number),
            title=self.titles[number % len(self.titles)],
            state=SessionState.READY,
            created_ms=now,
            owner=Owner(id=f"anonymous:{number}", kind="anonymous"),
            host=hosts[number % len(hosts)],
            slot=number // len(hosts),
            port=8900,
            times={SessionState.LEASED: now, SessionState.STARTING: now, SessionState.READY: now},
            last_sequence=1,
        )

    async def tell(self, command: dict[str, Any]) -> dict[str, Any]:
        """Give the hosts' process one command; its answer."""
        assert self._hosts is not None
        assert self._hosts.stdin is not None
        assert self._hosts.stdout is not None
        self._hosts.stdin.write(json.dumps(command).encode() + b"\n")
        self._hosts.stdin.flush()
        answer: dict[str, Any] = json.loads(await asyncio.to_thread(self._hosts.stdout.readline))
        return answer

    async def start(self) -> None:
        """Start the coordinator and let the hosts know what they run."""
        config = {
            "listen": {"address": "127.0.0.1", "port": 0},
            "public_url": "http://127.0.0.1",
            "mongodb_uri": self.database.uri,
            "token_signing_key": new_signing_key(),
            "control_secret": self.control_secret,
            "cookie_secret": secrets.token_urlsafe(32),
            "rate_limits": {"enabled": False},
            "sessions": {"per_viewer": 0},
            "ready_file": str(self.place / "ready.json"),
            "log": {"level": "warning"},
        }
        file = self.place / "coordinator.json"
        file.write_text(json.dumps(config))
        began = time.monotonic()
        self._coordinator = subprocess.Popen(
            [sys.executable, "-m", "runtime", "coordinator", "--config", str(file)],
            stderr=(self.place / "coordinator.log").open("wb"),
        )
        ready = self.place / "ready.json"
        while not ready.exists():
            if self._coordinator.poll() is not None or time.monotonic() - began > _READY_SECONDS:
                raise RuntimeError((self.place / "coordinator.log").read_text()[-2000:])
            await asyncio.sleep(0.05)
        self.seconds_to_load = time.monotonic() - began
        self.port = json.loads(ready.read_text())["port"]
        running = [(session.host, session.id, session.title) for session in self._sessions]
        await self.tell({"do": "connect", "url": f"http://127.0.0.1:{self.port}", "sessions": running})

    async def hello(self) -> None:
        await self.tell({"do": "hello"})
        await self.tell({"do": "begin"})

    def process(self) -> psutil.Process:
        assert self._coordinator is not None
        return psutil.Process(self._coordinator.pid)

    def memory_mb(self) -> float:
        """Resident memory of the coordinator."""
        return round(self.process().memory_info().rss / 1e6, 1)

    async def catalogue(self) -> dict[str, Any]:
        """Reads of the catalogue per second, next to the same for a handler that does nothing; alternating."""
        empty = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.control_plane.empty_server"], stdout=subprocess.PIPE
        )
        try:
            assert empty.stdout is not None
            empty_port = int(empty.stdout.readline())
            cookie = await asyncio.to_thread(self.new_cookie)
            request = get("/api/v1/titles", cookie)
            ours, theirs = [], []
            for _ in range(5):
                theirs.append(await rate(empty_port, get("/"), seconds=1.0))
                ours.append(await rate(self.port, request, seconds=1.0))
        finally:
            empty.kill()
            empty.communicate()
        share = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
        return {
            "catalogue_reads_per_second": round(statistics.median(ours)),
            "empty_handler_per_second": round(statistics.median(theirs)),
            "catalogue_share_of_empty": round(share, 2),
        }

    def new_cookie(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/me", timeout=10) as answer:
            return str(answer.headers["Set-Cookie"]).split(";")[0]

    async def streams(self, count: int) -> dict[str, Any]:
        """Memory of the coordinator with ``count`` open event streams, each of which has got its first event."""
        before = self.memory_mb()
        opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        gate = asyncio.Semaphore(50)

        async def open_one() -> None:
            async with gate:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
                writer.write(get("/api/v1/events"))
                async with asyncio.timeout(60):
                    await reader.readuntil(b"event: titles\n")
                opened.append((reader, writer))

        try:
            await asyncio.gather(*(open_one() for _ in range(count)))
            await asyncio.sleep(5)  # with changes going on
            after = self.memory_mb()
        finally:
            for _, writer in opened:
                writer.transport.abort()
        return {
            "streams_open": len(opened),
            "streams_memory_mb": after,
            "streams_memory_added_mb": round(after - before, 1),
        }

    async def leaks(self) -> dict[str, Any]:
        """Slots that no running session holds, and running sessions without a slot."""
        deadline = time.monotonic() + 60
        while True:
            live = {s.id: (s.host, s.slot) for s in await self.store.sessions.find({"live": 1}) if s.holds_slot}
            taken = {slot.session: (slot.host, slot.number) for slot in await self.store.slots.taken()}
            wrong = sum(live.get(session) != where for session, where in taken.items())
            missing = len(live.keys() - taken.keys())
            running = (await self.tell({"do": "status"}))["running"]
            if (wrong == missing == 0 and len(live) == running) or time.monotonic() > deadline:
                break
            await asyncio.sleep(1)
        return {
            "leaked_slots": wrong,
            "sessions_without_slot": missing,
            "sessions_live": len(live),
            "sessions_on_hosts": running,
        }

    async def connection(self) -> RawConnection:
        return await RawConnection.open(self.port)

    async def close(self) -> None:
        if self._hosts is not None:
            self._hosts.communicate()  # the end of its input ends it
        if self._coordinator is not None:
            self._coordinator.terminate()
            try:
                await asyncio.to_thread(self._coordinator.wait, 30)
            except subprocess.TimeoutExpired:
                self._coordinator.kill()
                self._coordinator.wait()
        await self.store.close()
        self.database.close()
        for file in self.place.iterdir():
            file.unlink()
        self.place.rmdir()


def _base32(number: int) -> str:
    """A session id that is made of a number."""
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    text = ""
    for _ in range(26):
        text = letters[number % 32] + text
        number //= 32
    return text
