"""Which port and which GPU a new session gets."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def port_order(first: int, last: int, taken: Collection[int], after: int | None = None) -> tuple[int, ...]:
    """Ports to try for a new session, best first.

    Going round the range rather than always taking the lowest keeps a page that still knocks at a session that has just
    ended from reaching its successor.
    """
    count = last - first + 1
    offset = 0 if after is None or not first <= after <= last else after - first + 1
    rotated = (first + (offset + step) % count for step in range(count))
    return tuple(port for port in rotated if port not in taken)


def choose_gpu(slots: Mapping[int, int], used: Mapping[int, int]) -> int | None:
    """The GPU with the largest share of free slots, lowest index first; None when all are full or there is none."""
    free = {index: count - used.get(index, 0) for index, count in slots.items()}
    candidates = [index for index, count in free.items() if count > 0]
    return min(candidates, key=lambda index: (-free[index] / slots[index], index), default=None)
