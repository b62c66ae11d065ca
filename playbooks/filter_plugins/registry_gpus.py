"""What the registry says of a host's graphics cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def registry_gpus(
    gpus: list[Mapping[str, Any]], seen: list[Mapping[str, Any]] | None, before: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the registry's ``gpus`` of one host, by index.

    ``gpus`` is what the inventory gives to sessions, ``seen`` what the role gpu_driver found in this run (None when it
    did not look), ``before`` what the registry says now: a run that does not look forgets nothing.
    """
    found = {str(card["index"]): card for card in seen or []}
    result = {}
    for gpu in gpus:
        index = str(gpu["index"])
        card = found.get(index, {})
        if seen is None:
            known = dict(before.get(index, {}))
        else:
            known = {
                "name": card.get("name", ""),
                "vram_bytes": int(card.get("memory_total_bytes", 0)),
                "encoder_sessions": int(card.get("encoder_sessions", 0)),
            }
        if "vram_bytes" in gpu:
            known["vram_bytes"] = int(gpu["vram_bytes"])
        result[index] = {**known, "slots": int(gpu.get("slots", 1))}
    return result


class FilterModule:
    """Filters for templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the names that templates use."""
        return {"pixelstream_registry_gpus": registry_gpus}
