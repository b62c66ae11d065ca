"""The simulated hosts as a process of their own, so that their work is not in the viewers' measured times.

Reads one JSON command per line and answers each with one: ``connect`` (``url``, ``sessions`` as lists of host, id and
title), ``hello``, ``begin``, ``status``. Ends when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from typing import Any

from runtime.protocol.control import SessionReport
from runtime.protocol.states import SessionState

from .hosts import SimulatedFleet


class Commands:
    def __init__(self, fleet: SimulatedFleet) -> None:
        self._fleet = fleet

    async def run(self, command: dict[str, Any]) -> dict[str, Any]:
        match command["do"]:
            case "connect":
                self._connect(command["url"], command["sessions"])
            case "hello":
                await self._fleet.beat_once()
            case "begin":
                self._fleet.begin()
            case "status":
                return self._status()
        return {}

    def _connect(self, url: str, sessions: list[tuple[str, str, str]]) -> None:
        self._fleet.connect(url)
        for name, session_id, title in sessions:
            host = self._fleet.hosts[name]
            host.sessions[session_id] = SessionReport(
                session_id=session_id, title=title, state=SessionState.READY, port=8900
            )
            host.sequences[session_id] = 1

    def _status(self) -> dict[str, Any]:
        beats = sorted(seconds * 1000 for seconds in self._fleet.heartbeat_seconds)
        return {
            "running": self._fleet.running,
            "heartbeats": self._fleet.heartbeats,
            "refused": self._fleet.refused,
            "heartbeat_p50_ms": round(statistics.median(beats), 1) if beats else 0,
            "heartbeat_p99_ms": round(beats[int(len(beats) * 0.99)], 1) if beats else 0,
        }


async def serve(settings: dict[str, Any]) -> None:
    fleet = SimulatedFleet(settings["control_secret"], settings["hosts"], settings["capacity"])
    fleet.listen()
    say({"port": fleet.port})
    commands = Commands(fleet)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            say(await commands.run(json.loads(line)))
    finally:
        await fleet.close()


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.stdin.readline())))
