"""Viewers who start sessions at a steady pace and end them after a while, and the bare database beside them."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from runtime.coordinator.domain.model import Session
from runtime.protocol.states import SessionState

from .parts import Bench
from .raw_http import RawConnection

_LENGTH_SECONDS = 60.0
_VIEWERS = 16
_SAY_SECONDS = 60.0


class Viewer:
    """One browser with its cookie and CSRF token."""

    def __init__(self, bench: Bench, cookie: str) -> None:
        self._bench, self._cookie, self._csrf = bench, cookie, ""
        self._idle: list[RawConnection] = []

    @classmethod
    async def open(cls, bench: Bench) -> Viewer:
        viewer = cls(bench, await asyncio.to_thread(bench.new_cookie))
        _, body = await viewer.ask("GET", "/api/v1/me")
        viewer._csrf = json.loads(body)["csrf_token"]
        return viewer

    async def ask(self, method: str, path: str, payload: Any = None) -> tuple[int, bytes]:
        body = json.dumps(payload).encode() if payload is not None else b""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {self._cookie}\r\nX-CSRF-Token: {self._csrf}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection = self._idle.pop() if self._idle else await self._bench.connection()
        answer = await connection.ask(head.encode() + body)
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


class Load:
    def __init__(self, bench: Bench, *, per_second: float) -> None:
        self._bench, self._per_second = bench, per_second
        self._creates: list[float] = []
        self._floor: list[float] = []
        self._starts: list[float] = []
        self._refused: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
        viewers = [await Viewer.open(self._bench) for _ in range(_VIEWERS)]
        process = self._bench.process()
        cpu_before = process.cpu_times()
        began = time.monotonic()
        said = began
        count = 0
        try:
            while (now := time.monotonic()) - began < seconds:
                self._spawn(self._session(viewers[count % _VIEWERS], count))
                self._spawn(self._bare(count))
                count += 1
                if now - said > _SAY_SECONDS:
                    said = now
                    say(
                        f"  {len(self._creates)} created, p99 {_percentile(self._creates, 99):.1f} ms, "
                        f"database alone {_percentile(self._floor, 99):.1f} ms, memory {self._bench.memory_mb()} MB"
                    )
                await asyncio.sleep(max(0.0, began + count / self._per_second - time.monotonic()))
            took = time.monotonic() - began
            cpu = process.cpu_times()
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            for viewer in viewers:
                viewer.close()
        used = cpu.user + cpu.system - cpu_before.user - cpu_before.system
        return self._figures(used / took, await self._bench.tell({"do": "status"}))

    def _figures(self, cpu: float, hosts: dict[str, Any]) -> dict[str, Any]:
        create, floor = _percentile(self._creates, 99), _percentile(self._floor, 99)
        return {
            "creates": len(self._creates),
            "creates_refused": self._refused,
            "create_p50_ms": round(_percentile(self._creates, 50), 2),
            "create_p99_ms": round(create, 2),
            "db_floor_p50_ms": round(_percentile(self._floor, 50), 2),
            "db_floor_p99_ms": round(floor, 2),
            "create_p99_over_db_floor": round(create - floor, 2),
            "click_to_ready_p50_ms": round(_percentile(self._starts, 50), 1),
            "click_to_ready_p99_ms": round(_percentile(self._starts, 99), 1),
            "coordinator_cpu": round(cpu, 2),
            "heartbeats": hosts["heartbeats"],
            "heartbeat_p99_ms": hosts["heartbeat_p99_ms"],
            "host_requests_refused": hosts["refused"],
        }

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _session(self, viewer: Viewer, number: int) -> None:
        title = self._bench.titles[number % len(self._bench.titles)]
        began = time.perf_counter()
        status, body = await viewer.ask("POST", "/api/v1/sessions", {"title": title})
        if status != 201:
            self._refused[status] = self._refused.get(status, 0) + 1
            return
        self._creates.append((time.perf_counter() - began) * 1000)
        session_id = json.loads(body)["id"]
        for _ in range(200):
            await asyncio.sleep(0.25)
            _, body = await viewer.ask("GET", f"/api/v1/sessions/{session_id}")
            if json.loads(body)["state"] == "ready":
                self._starts.append((time.perf_counter() - began) * 1000)
                break
        await asyncio.sleep(_LENGTH_SECONDS)
        await viewer.ask("DELETE", f"/api/v1/sessions/{session_id}")

    async def _bare(self, number: int) -> None:
        """The writes of a create and nothing else, on the same database at the same time: slot, then session."""
        await asyncio.sleep(0.5 / self._per_second)
        store = self._bench.store
        session = Session(
            id=f"floor{number}", title="floor", state=SessionState.ENDED, created_ms=0, host="floor", slot=number
        )
        began = time.perf_counter()
        await store.slots.claim("floor", number, session.id)
        await store.sessions.insert(session)
        self._floor.append((time.perf_counter() - began) * 1000)
        await store.slots.free("floor", number, session.id)
        await store.sessions.delete(session.id)


def _percentile(values: list[float], percent: int) -> float:
    if len(values) < 2:
        return values[0] if values else 0.0
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
