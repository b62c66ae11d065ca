"""What the processes of a demo cost while a session streams: CPU and memory, from the operating system."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

# First match wins; the words are looked for in a process's command line.
_NAMES = (
    ("relay", ("runtime", "relay")),
    ("streamer", ("runtime", "streamer")),
    ("keeper", ("keeper",)),
    ("session_server", ("runtime", "session-server")),
    ("coordinator", ("runtime", "coordinator")),
    ("database", ("nx_27017",)),
)


@dataclass(frozen=True)
class Sample:
    """One look: CPU seconds and resident bytes by process name."""

    at: float
    cpu_seconds: dict[str, float]
    memory_bytes: dict[str, int]


def _name_of(words: list[str]) -> str | None:
    line = " ".join(words)
    for name, wanted in _NAMES:
        if all(word in words or word in line for word in wanted):
            return name
    return None


def look(place: Path) -> Sample:
    """Every process that works in or under ``place``, by name; several of one name are added up."""
    cpu: dict[str, float] = {}
    memory: dict[str, int] = {}
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            works_here = process.cwd().startswith(str(place)) or any(word.startswith(str(place)) for word in words)
            name = _name_of(words) if works_here else None
            if name is None:
                continue
            times = process.cpu_times()
            cpu[name] = cpu.get(name, 0.0) + times.user + times.system
            memory[name] = memory.get(name, 0) + process.memory_info().rss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return Sample(time.monotonic(), cpu, memory)


def between(first: Sample, last: Sample) -> dict[str, float]:
    """``<name>_cpu_cores`` over the time between two looks and ``<name>_mib`` at the last."""
    seconds = last.at - first.at
    figures: dict[str, float] = {}
    for name, total in last.cpu_seconds.items():
        if name in first.cpu_seconds:
            figures[f"{name}_cpu_cores"] = (total - first.cpu_seconds[name]) / seconds
        figures[f"{name}_mib"] = last.memory_bytes[name] / 2**20
    return figures
