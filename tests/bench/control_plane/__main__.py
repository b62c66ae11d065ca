"""``python -m tests.bench.control_plane``: the control plane under load. The last line of output is one JSON object.

Everything runs on this machine: the embedded database, one coordinator, simulated hosts that speak the real control
interface, viewers. Figures are in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

from . import parts
from .load import Load
from .parts import Bench


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.control_plane", description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=10_000, help="running from the beginning")
    parser.add_argument("--creates-per-minute", type=float, default=200)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--streams", type=int, default=2000, help="event streams of the catalogue")
    parser.add_argument("--titles", type=int, default=20)
    return parser.parse_args()


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    say("placement, pure")
    for count in (1000, 10_000):
        figures[f"placement_ms_{count}_hosts"] = parts.placement_ms(count)
    bench = Bench(
        hosts=arguments.hosts, capacity=-(-arguments.sessions // arguments.hosts) + 4, titles=arguments.titles
    )
    try:
        say(f"{arguments.hosts} hosts and {arguments.sessions} running sessions into the database")
        await bench.prepare(arguments.sessions)
        await bench.start()
        figures["seconds_to_load"] = round(bench.seconds_to_load, 2)
        say("catalogue, beside an empty handler")
        figures |= await bench.catalogue()
        say("every host says hello, then all at their own pace")
        await bench.hello()
        figures["memory_mb_start"] = bench.memory_mb()
        say(f"{arguments.creates_per_minute:g} creates per minute for {arguments.minutes:g} minutes")
        load = Load(bench, per_second=arguments.creates_per_minute / 60)
        figures |= await load.run(arguments.minutes * 60, say)
        figures["memory_mb_end"] = bench.memory_mb()
        say(f"{arguments.streams} event streams")
        figures |= await bench.streams(arguments.streams)
        say("looking for what was left behind")
        figures |= await bench.leaks()
    finally:
        await bench.close()
    return figures


def main() -> int:
    arguments = parse()
    figures = asyncio.run(run(arguments))
    print(json.dumps({"bench": "control_plane", **vars(arguments), **parts.machine(), **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
