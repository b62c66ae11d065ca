"""Placement and availability as tables."""

from __future__ import annotations

import pytest

from runtime.coordinator.domain.model import Build, GpuSlots, Heartbeat, Host, Needs, Title
from runtime.coordinator.scheduler import (
    HostLoad,
    Placement,
    Refusal,
    availability,
    free_slot,
    gpu_of,
    host_state,
    load_of,
    place,
)
from runtime.protocol.control import Gpu
from runtime.protocol.states import HostState

NOW = 1_000_000
GIB = 2**30
TITLE = Title(name="t")


def load(
    name: str,
    *,
    capacity: int = 4,
    used: int | set[int] = 0,
    titles: str = "t",
    silent: float = 0.0,
    desired: str = "serving",
    draining: bool = False,
    own: int | None = None,
    labels: dict[str, str] | None = None,
    gpus: dict[str, GpuSlots] | None = None,
    memory: tuple[Gpu, ...] = (),
    strangers: int = 0,
) -> HostLoad:
    beat = Heartbeat(
        at_ms=NOW - int(silent * 1000),
        sent_ms=0,
        capacity=capacity if own is None else own,
        draining=draining,
        gpus=memory,
    )
    host = Host(
        name=name,
        control_url="http://h",
        edge_url="ws://h/{port}",
        capacity=capacity,
        labels=labels or {},
        gpus=gpus or {},
        title={title: Build(executable="x") for title in titles},
        desired_state=desired,
        heartbeat=beat,
    )
    return load_of(host, frozenset(range(used) if isinstance(used, int) else used), strangers, 20.0)


CHOICES: list[tuple[str, list[HostLoad], str, tuple[str, int] | str]] = [
    ("the only one", [load("a")], "least_loaded", ("a", 0)),
    ("the emptier one", [load("a", used=2), load("b", used=1)], "least_loaded", ("b", 1)),
    (
        "by share, not by count",
        [load("a", capacity=8, used=3), load("b", capacity=2, used=1)],
        "least_loaded",
        ("a", 3),
    ),
    ("the larger of two empty ones", [load("a", capacity=2), load("b", capacity=8)], "least_loaded", ("b", 0)),
    ("the first of equals", [load("a"), load("b")], "least_loaded", ("a", 0)),
    ("packing takes the fuller", [load("a", used=1), load("b", used=3)], "pack", ("b", 3)),
    ("packing skips the full", [load("a", used=1), load("b", used=4)], "pack", ("a", 1)),
    ("the lowest free slot", [load("a", used={0, 2})], "least_loaded", ("a", 1)),
    ("full", [load("a", used=4)], "least_loaded", "busy"),
    ("none at all", [], "least_loaded", "offline"),
    ("silent", [load("a", silent=21)], "least_loaded", "offline"),
    ("just not silent", [load("a", silent=20)], "least_loaded", ("a", 0)),
    ("draining by the operator", [load("a", desired="draining")], "least_loaded", "offline"),
    ("draining by itself", [load("a", draining=True)], "least_loaded", "offline"),
    ("draining, the other full", [load("a", desired="draining"), load("b", used=4)], "least_loaded", "busy"),
    ("without the title", [load("a", titles="x")], "least_loaded", "offline"),
    ("its own capacity is smaller", [load("a", own=1, used=1)], "least_loaded", "busy"),
    ("the registry's capacity is smaller", [load("a", capacity=1, own=9, used=1)], "least_loaded", "busy"),
    ("strangers take room", [load("a", capacity=2, used=1, strangers=1)], "least_loaded", "busy"),
]


@pytest.mark.parametrize(("name", "loads", "policy", "expected"), CHOICES, ids=[row[0] for row in CHOICES])
def test_placement(name: str, loads: list[HostLoad], policy: str, expected: tuple[str, int] | str) -> None:
    found = place(loads, TITLE, NOW, policy=policy)
    if isinstance(found, Refusal):
        assert found.kind == expected
    else:
        assert (found.host, found.slot) == expected
        assert found.host in found.why


def test_hosts_that_refused_are_passed_over_and_count_as_busy() -> None:
    loads = [load("a"), load("b", used=3)]
    found = place(loads, TITLE, NOW, refused_by=["a"])
    assert isinstance(found, Placement)
    assert found.host == "b"
    nobody = place(loads, TITLE, NOW, refused_by=["a", "b"])
    assert isinstance(nobody, Refusal)
    assert nobody.kind == "busy"
    assert "2 refused" in nobody.why


def test_labels_that_a_title_needs_must_be_there() -> None:
    title = Title(name="t", needs=Needs(labels={"zone": "eu"}))
    assert isinstance(place([load("a", labels={"zone": "us"})], title, NOW), Refusal)
    found = place([load("a"), load("b", labels={"zone": "eu", "more": "x"})], title, NOW)
    assert isinstance(found, Placement)
    assert found.host == "b"


GPUS = {"0": GpuSlots(slots=2), "1": GpuSlots(slots=2)}


@pytest.mark.parametrize(
    ("used", "slot", "gpu"), [(set(), 0, 0), ({0}, 2, 1), ({0, 2}, 1, 0), ({0, 1}, 2, 1), ({0, 1, 2}, 3, 1)]
)
def test_gpus_are_filled_evenly(used: set[int], slot: int, gpu: int) -> None:
    found = place([load("a", used=used, gpus=GPUS)], TITLE, NOW)
    assert isinstance(found, Placement)
    assert (found.slot, found.gpu) == (slot, gpu)


def test_slots_are_numbered_through_the_gpus_by_their_index() -> None:
    gpus = {"10": GpuSlots(slots=1), "2": GpuSlots(slots=2), "0": GpuSlots(slots=1)}
    host = load("a", gpus=gpus).host
    assert [gpu_of(host, slot) for slot in range(5)] == [0, 2, 2, 10, None]


def _gpu(index: int, total: int, used: int) -> Gpu:
    return Gpu(index=index, name="G", memory_total_bytes=total * GIB, memory_used_bytes=used * GIB)


@pytest.mark.parametrize(
    ("memory", "declared", "expected"),
    [
        ((_gpu(0, 8, 6), _gpu(1, 8, 1)), 0, 2),  # reported: only the second has room
        ((_gpu(0, 8, 6), _gpu(1, 8, 6)), 0, None),
        ((), 0, 0),  # nothing known: the slots alone count
        ((), 2, None),  # declared and too small
        ((), 8, 0),
    ],
)
def test_a_title_that_needs_memory_goes_where_there_is_some(
    memory: tuple[Gpu, ...], declared: int, expected: int | None
) -> None:
    title = Title(name="t", needs=Needs(vram_bytes=4 * GIB))
    gpus = {index: GpuSlots(slots=2, vram_bytes=declared * GIB) for index in ("0", "1")}
    host = load("a", gpus=gpus, memory=memory)
    assert free_slot(host, title) == expected
    found = place([host], title, NOW)
    assert isinstance(found, Refusal) is (expected is None)


def test_availability_counts_free_places_and_tells_busy_from_offline() -> None:
    some = availability([load("a", used=1), load("b", used=4), load("c", silent=99)], TITLE, NOW)
    assert (some.state, some.free, some.hosts) == ("free", 3, 2)
    assert availability([load("a", used=4)], TITLE, NOW).state == "busy"
    assert availability([load("a", silent=99)], TITLE, NOW).state == "offline"


@pytest.mark.parametrize(
    ("host", "state"),
    [
        (load("a"), HostState.SERVING),
        (load("a", silent=21), HostState.OFFLINE),
        (load("a", desired="draining", used=1), HostState.DRAINING),
        (load("a", desired="draining"), HostState.DRAINED),
        (load("a", desired="draining", strangers=1), HostState.DRAINING),
        (load("a", draining=True), HostState.DRAINED),
        (load("a", desired="draining", silent=21), HostState.OFFLINE),
    ],
)
def test_host_states(host: HostLoad, state: HostState) -> None:
    assert host_state(host, NOW) is state
