"""Placement: which host and slot a session gets, and why; or why none. Pure.

The fleet keeps one :class:`HostLoad` per host; choosing is one pass over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import StrEnum

from runtime.protocol.states import HostState

from .domain.model import Host, Title


class Verdict(StrEnum):
    """Why one host cannot take a session now. The order is from the most to the least permanent."""

    NO_BUILD = "no_build"
    LABELS = "labels"
    OFFLINE = "offline"
    DRAINING = "draining"
    REFUSED = "refused"
    FULL = "full"
    VRAM = "vram"
    FITS = "fits"


# A host with one of these could run the title if only it were not busy.
BUSY = frozenset({Verdict.FULL, Verdict.VRAM, Verdict.REFUSED})


@dataclass(frozen=True, slots=True)
class HostLoad:
    """A host and what it carries now; made by :func:`load_of` whenever one of the two changes."""

    host: Host
    # Its titles; the same set object for all hosts with the same titles, so that it stays in the processor's cache.
    titles: Set[str]
    used: Set[int]  # slot numbers held by sessions
    # Sessions that the host reports and that nobody knows: they take room until they are ended.
    strangers: int
    capacity: int
    free: int
    accepting: bool  # neither the operator nor the host itself is draining it
    online_until_ms: int


# One object per distinct set of titles ever seen; there are as many as kinds of hosts.
_same_sets: dict[frozenset[str], frozenset[str]] = {}


def load_of(host: Host, used: Set[int], strangers: int, timeout_seconds: float) -> HostLoad:
    """The load of ``host``; its capacity is the smaller of what the registry and the host itself allow."""
    beat = host.heartbeat
    capacity = min(host.capacity, beat.capacity) if beat else 0
    titles = frozenset(host.title)
    return HostLoad(
        host=host,
        titles=_same_sets.setdefault(titles, titles),
        used=used,
        strangers=strangers,
        capacity=capacity,
        free=max(0, capacity - len(used) - strangers),
        accepting=host.desired_state != "draining" and beat is not None and not beat.draining,
        online_until_ms=beat.at_ms + int(timeout_seconds * 1000) if beat else 0,
    )


def host_state(load: HostLoad, now_ms: int) -> HostState:
    """What the host does now."""
    if now_ms > load.online_until_ms:
        return HostState.OFFLINE
    if load.accepting:
        return HostState.SERVING
    return HostState.DRAINING if load.used or load.strangers else HostState.DRAINED


@dataclass(frozen=True)
class Placement:
    """The choice. ``gpu`` is None on hosts whose capacity is not bound to GPUs."""

    host: str
    slot: int
    gpu: int | None
    why: str


@dataclass(frozen=True)
class Refusal:
    """No host: ``offline`` when none that could run the title is online, else ``busy``."""

    kind: str
    why: str


def gpu_of(host: Host, slot: int) -> int | None:
    """The GPU that a slot belongs to: slots are numbered through the GPUs in the order of their index."""
    if not host.gpus:
        return None
    below = 0
    for index in sorted(host.gpus, key=int):
        below += host.gpus[index].slots
        if slot < below:
            return int(index)
    return None


def judge(load: HostLoad, title: Title, now_ms: int, refused_by: Set[str] = frozenset()) -> Verdict:
    """May this host take a session of ``title`` now, apart from the choice of the slot?"""
    if title.name not in load.titles:
        return Verdict.NO_BUILD
    labels = title.needs.labels
    if labels and any(load.host.labels.get(key) != value for key, value in labels.items()):
        return Verdict.LABELS
    if now_ms > load.online_until_ms:
        return Verdict.OFFLINE
    if not load.accepting:
        return Verdict.DRAINING
    if refused_by and load.host.name in refused_by:
        return Verdict.REFUSED
    return Verdict.FITS if load.free > 0 else Verdict.FULL


def place(
    loads: Iterable[HostLoad],
    title: Title,
    now_ms: int,
    *,
    policy: str = "least_loaded",
    refused_by: Iterable[str] = (),
) -> Placement | Refusal:
    """Choose host and slot. ``least_loaded`` spreads by share of use, ``pack`` fills the fullest host first.

    Between equal shares the host with more room (pack: less) is taken, then the first in ``loads``, which are to be in
    the order of their names so that every instance agrees.
    """
    counts: dict[Verdict, int] = {}
    best: HostLoad | None = None
    best_share, fitting = 0.0, 0
    refused = frozenset(refused_by)
    sign = 1.0 if policy == "pack" else -1.0
    for load in loads:
        verdict = judge(load, title, now_ms, refused)
        if verdict is Verdict.FITS and title.needs.vram_bytes and free_slot(load, title) is None:
            verdict = Verdict.VRAM
        if verdict is not Verdict.FITS:
            counts[verdict] = counts.get(verdict, 0) + 1
            continue
        fitting += 1
        share = sign * load.free / load.capacity
        # Nothing is made for a host that loses at once, which nearly all do.
        if best is None or share < best_share or (share == best_share and sign * load.free < sign * best.free):
            best, best_share = load, share
    if best is None:
        return _refusal(title, counts)
    slot = free_slot(best, title)
    if slot is None:  # every slot number below capacity is taken although the count left room
        return Refusal("busy", f"No free slot on {best.host.name}.")
    why = (
        f"{policy.replace('_', ' ')}: {best.host.name} has {best.free} of {best.capacity} slots free; "
        f"{fitting} {'host' if fitting == 1 else 'hosts'} could take it"
    )
    return Placement(best.host.name, slot, gpu_of(best.host, slot), why)


def free_slot(load: HostLoad, title: Title) -> int | None:
    """The lowest free slot on the GPU with the fewest sessions that has the memory the title needs."""
    free = [slot for slot in range(load.capacity) if slot not in load.used]
    if not free or not load.host.gpus:
        return free[0] if free else None
    busy: dict[int | None, int] = {}
    for slot in load.used:
        gpu = gpu_of(load.host, slot)
        busy[gpu] = busy.get(gpu, 0) + 1
    fitting = [slot for slot in free if _has_memory(load.host, gpu_of(load.host, slot), title)]
    return min(fitting, key=lambda slot: (busy.get(gpu_of(load.host, slot), 0), slot), default=None)


def _has_memory(host: Host, gpu: int | None, title: Title) -> bool:
    if not title.needs.vram_bytes or gpu is None:
        return True
    reported = next((g for g in host.heartbeat.gpus if g.index == gpu), None) if host.heartbeat else None
    if reported is not None:
        return reported.memory_total_bytes - reported.memory_used_bytes >= title.needs.vram_bytes
    declared = host.gpus[str(gpu)].vram_bytes
    # Nothing known about the GPU's memory: the slots alone count.
    return declared == 0 or declared >= title.needs.vram_bytes


def _refusal(title: Title, counts: dict[Verdict, int]) -> Refusal:
    said = ", ".join(f"{count} {verdict.value.replace('_', ' ')}" for verdict, count in sorted(counts.items()))
    busy = any(counts.get(verdict) for verdict in BUSY)
    return Refusal("busy" if busy else "offline", f"No host for {title.name}: {said or 'no hosts at all'}.")


@dataclass(frozen=True, kw_only=True)
class Availability:
    """What the catalogue says of a title: ``free`` sessions could start now on ``hosts`` online hosts."""

    state: str  # free | busy | offline
    free: int
    hosts: int


def availability(loads: Iterable[HostLoad], title: Title, now_ms: int) -> Availability:
    """Availability of one title over all hosts, apart from who asks and who waits."""
    free = hosts = 0
    for load in loads:
        verdict = judge(load, title, now_ms)
        if verdict is Verdict.FITS:
            free += load.free
        if verdict is Verdict.FITS or verdict in BUSY:
            hosts += 1
    return Availability(state="free" if free else "busy" if hosts else "offline", free=free, hosts=hosts)
