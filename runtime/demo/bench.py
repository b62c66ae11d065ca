"""``pixelstream bench start``: how fast this machine starts and ends sessions, without browsers.

Runs a demo of its own with the sample title. Progress goes to standard error; the last line of output is one JSON
object. What pages and pictures cost is measured in the project's checkout (``make bench``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from runtime.chassis.client import HttpClient, PeerUnreachableError
from runtime.protocol.errors import ServiceError

from .errors import DemoError
from .stack import DemoOptions, DemoStack

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.02
_STEPS = ("relay_up", "process_up", "streamer_connected", "first_frame")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pixelstream bench", description="Measure this installation.")
    parser.add_argument("name", choices=("start",), help="start: sessions of the sample title, one after another")
    parser.add_argument("--rounds", type=int, default=5, help="sessions to start (default 5)")
    options = parser.parse_args(arguments)
    if not 1 <= options.rounds <= 1000:
        parser.error("--rounds must be 1 to 1000")
    try:
        figures = asyncio.run(_measure(options.rounds))
    except (DemoError, ServiceError, PeerUnreachableError) as error:
        print(f"pixelstream bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures))
    return 0


async def _measure(rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="pixelstream-bench-") as directory:
        options = DemoOptions(
            directory=Path(directory),
            coordinator={"rate_limits": {"enabled": False}},  # we ask far more often than people do
            say=lambda text: print(f"[bench] {text}", file=sys.stderr),
        )
        async with DemoStack(options) as stack:
            client = _Client(stack)
            try:
                starts, ends = [], []
                for turn in range(rounds):
                    session, seconds = await client.start()
                    starts.append(session)
                    if turn == rounds - 1:
                        memory = _memory_bytes(stack)
                    ends.append(await client.end(session["id"]))
                    print(f"[bench] round {turn + 1}: ready after {seconds:.2f} s", file=sys.stderr)
            finally:
                client.close()
    return _figures(starts, ends) | memory


def _figures(sessions: list[dict[str, Any]], ends: list[float]) -> dict[str, float]:
    """Medians in milliseconds: each step since the request, and the end of everything."""
    figures: dict[str, float] = {"rounds": len(sessions)}
    for step in _STEPS:
        since = [
            entry["at"] - session["created_at"]
            for session in sessions
            for entry in session["steps"]
            if entry["step"] == step
        ]
        figures[f"{step}_ms_p50"] = statistics.median(since)
    figures["end_ms_p50"] = round(statistics.median(ends) * 1000, 1)
    return figures


def _memory_bytes(stack: DemoStack) -> dict[str, float]:
    """Resident memory of every process of the stack, by what it does."""
    found: dict[str, float] = {
        f"{name.replace(' ', '_')}_rss_bytes": psutil.Process(process.pid).memory_info().rss
        for name, process in stack.processes.items()
    }
    inside = str(stack.directory)
    for process in psutil.process_iter(["cmdline", "cwd", "memory_info"]):
        words = process.info["cmdline"] or []
        for part in ("relay", "streamer"):
            if words[1:4] == ["-m", "runtime", part] and (process.info["cwd"] or "").startswith(inside):
                found[f"{part}_rss_bytes"] = process.info["memory_info"].rss
    return found


class _Client:
    """The viewer interface, as a script uses it."""

    def __init__(self, stack: DemoStack) -> None:
        self._stack = stack
        self._http = HttpClient()

    async def _call(self, method: str, path: str, payload: Any = None) -> dict[str, Any]:
        body = None if payload is None else json.dumps(payload).encode()
        url, headers = f"{self._stack.url}/api/v1{path}", self._stack.admin.headers
        reply = await self._http.fetch(method, url, deadline_seconds=10, headers=headers, body=body)
        return reply.as_(dict)

    async def start(self) -> tuple[dict[str, Any], float]:
        """A session that is ready, and how long that took."""
        began = time.monotonic()
        session = await self._call("POST", "/sessions", {"title": "sample"})
        return await self._until(session["id"], "ready", began)

    async def end(self, session_id: str) -> float:
        began = time.monotonic()
        await self._call("DELETE", f"/sessions/{session_id}")
        return (await self._until(session_id, "ended", began))[1]

    async def _until(self, session_id: str, state: str, began: float) -> tuple[dict[str, Any], float]:
        while True:
            session = await self._call("GET", f"/sessions/{session_id}")
            seconds = time.monotonic() - began
            if session["state"] == state:
                return session, seconds
            if session["state"] in ("ended", "failed") or seconds > _READY_SECONDS:
                raise DemoError(f"A session is {session['state']} ({session['reason']}) instead of {state}.")
            await asyncio.sleep(_POLL_SECONDS)

    def close(self) -> None:
        self._http.close()
