"""Figures of this machine for the heartbeat."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class MachineFigures:
    cpu: float  # 0..1 over all cores, since the figures before
    memory_total_bytes: int
    memory_available_bytes: int
    disk_free_bytes: int


def read_machine(data_directory: Path) -> MachineFigures:
    """Blocks for a moment: call it in a thread."""
    memory = psutil.virtual_memory()
    return MachineFigures(
        cpu=psutil.cpu_percent(interval=None) / 100,
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        disk_free_bytes=psutil.disk_usage(str(data_directory)).free,
    )


def platform_text() -> str:
    """Such as "Linux-6.1.0 x86_64, Python 3.12.4"."""
    return f"{platform.system()}-{platform.release()} {platform.machine()}, Python {platform.python_version()}"
