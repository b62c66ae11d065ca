"""Ansible filter: what nvidia-smi says of a machine's cards, as data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MEBIBYTE = 1024 * 1024


def gpus(lines: Sequence[str], limits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the cards of ``nvidia-smi --query-gpu=index,name,memory.total,driver_version
    --format=csv,noheader,nounits``.

    ``limits`` are items with a regular expression ``name`` and ``sessions``; the first that fits a card counts. Lines
    in another form, such as the tool's error messages, are not cards.
    """
    cards = []
    for line in lines:
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 4 or not fields[0].isdigit() or not fields[2].isdigit():
            continue
        index, name, memory_mebibytes, driver = fields
        sessions = next((int(limit["sessions"]) for limit in limits if re.search(limit["name"], name)), 0)
        cards.append(
            {
                "index": int(index),
                "name": name,
                "memory_total_bytes": int(memory_mebibytes) * MEBIBYTE,
                "driver_version": driver,
                "encoder_sessions": sessions,
            }
        )
    return cards


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pixelstream_gpus": gpus}
