"""The capacity policy as tables: who gets which window, and how long a walk-in may stay."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.coordinator.domain.windows import (
    FOREVER_MS,
    Demand,
    Group,
    Hold,
    Plan,
    can_meet,
    fits,
    latest_end,
    next_window,
    segments,
    with_demand,
)

A, B, AB = frozenset("a"), frozenset("b"), frozenset("ab")
MINUTE = 60_000

MEETING: list[tuple[dict[Group, int], dict[str, int], bool]] = [
    ({}, {}, True),
    ({}, {"a": 1}, False),
    ({A: 1}, {"a": 1}, True),
    ({A: 1}, {"a": 2}, False),
    ({A: 1}, {"b": 1}, False),
    ({A: 1, AB: 1}, {"a": 1, "b": 1}, True),
    ({AB: 1, A: 1}, {"a": 2}, True),
    ({AB: 1, A: 1}, {"a": 2, "b": 1}, False),
    # "a" must leave the shared place to "b", whichever was looked at first.
    ({AB: 2, A: 2, B: 0}, {"a": 2, "b": 2}, True),
    ({AB: 1, A: 1, B: 1}, {"a": 2, "b": 1}, True),
    ({AB: 1, A: 1, B: 1}, {"a": 2, "b": 2}, False),
    ({A: -1, AB: 1}, {"a": 1}, True),
]


@pytest.mark.parametrize(("places", "demand", "met"), MEETING)
def test_demands_find_places_exactly_when_they_can(places: dict[Group, int], demand: dict[str, int], met: bool) -> None:
    assert can_meet(places, demand) is met


@given(
    st.dictionaries(st.sampled_from([A, B, AB, frozenset("bc"), frozenset("abc")]), st.integers(0, 2), max_size=4),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3),
)
def test_meeting_agrees_with_trying_everything(places: dict[Group, int], demand: dict[str, int]) -> None:
    seats = [group for group, count in places.items() for _ in range(count)]
    wanted = [title for title, count in demand.items() for _ in range(count)]
    possible = any(
        all(title in seat for title, seat in zip(wanted, order, strict=True))
        for order in itertools.permutations(seats, len(wanted))
    )
    assert can_meet(places, demand) is possible


def plan(places: dict[Group, int], *rest: Hold | Demand) -> Plan:
    return Plan(places, tuple(r for r in rest if isinstance(r, Hold)), tuple(r for r in rest if isinstance(r, Demand)))


def demand(title: str, start: int, end: int) -> Demand:
    return Demand(title, start * MINUTE, end * MINUTE)


def hold(group: Group, until: int | None) -> Hold:
    return Hold(group, FOREVER_MS if until is None else until * MINUTE)


FITTING: list[tuple[str, Plan, Demand, bool]] = [
    ("empty", plan({A: 1}), demand("a", 0, 60), True),
    ("same time", plan({A: 1}, demand("a", 0, 60)), demand("a", 0, 60), False),
    ("back to back", plan({A: 1}, demand("a", 0, 60)), demand("a", 60, 120), True),
    ("overlaps the end", plan({A: 1}, demand("a", 0, 60)), demand("a", 59, 70), False),
    ("overlaps the start", plan({A: 1}, demand("a", 30, 60)), demand("a", 0, 31), False),
    ("around another", plan({A: 1}, demand("a", 20, 30)), demand("a", 0, 60), False),
    ("room for two", plan({A: 2}, demand("a", 20, 30)), demand("a", 0, 60), True),
    ("two others one after another", plan({A: 2}, demand("a", 0, 30), demand("a", 30, 60)), demand("a", 0, 60), True),
    ("two others at once", plan({A: 2}, demand("a", 0, 31), demand("a", 30, 60)), demand("a", 0, 60), False),
    ("other title elsewhere", plan({A: 1, B: 1}, demand("b", 0, 60)), demand("a", 0, 60), True),
    ("other title on the shared host", plan({AB: 1}, demand("b", 0, 60)), demand("a", 0, 60), False),
    ("running until before", plan({A: 1}, hold(A, 30)), demand("a", 30, 60), True),
    ("running into it", plan({A: 1}, hold(A, 31)), demand("a", 30, 60), False),
    ("running for ever", plan({A: 1}, hold(A, None)), demand("a", 1000, 1060), False),
    ("running on a host that is gone", plan({A: 1}, hold(B, None)), demand("a", 30, 60), True),
]


@pytest.mark.parametrize(("name", "existing", "wanted", "expected"), FITTING, ids=[row[0] for row in FITTING])
def test_a_window_is_given_only_when_there_is_room_all_the_time(
    name: str, existing: Plan, wanted: Demand, expected: bool
) -> None:
    assert fits(existing, wanted) is expected


NEXT: list[tuple[str, Plan, Demand, tuple[int, int] | None]] = [
    ("at once", plan({A: 1}), demand("a", 7, 60), (7, 60)),
    ("after the other", plan({A: 1}, demand("a", 0, 61)), demand("a", 30, 60), (65, 95)),
    ("gap too short", plan({A: 1}, demand("a", 0, 60), demand("a", 80, 100)), demand("a", 0, 30), (100, 130)),
    ("gap long enough", plan({A: 1}, demand("a", 0, 60), demand("a", 90, 120)), demand("a", 0, 30), (60, 90)),
    ("after a running session", plan({A: 1}, hold(A, 20)), demand("a", 0, 30), (20, 50)),
    ("never", plan({A: 1}, hold(A, None)), demand("a", 0, 30), None),
    ("too late", plan({A: 1}, demand("a", 0, 100_000)), demand("a", 0, 30), None),
]


@pytest.mark.parametrize(("name", "existing", "wanted", "expected"), NEXT, ids=[row[0] for row in NEXT])
def test_the_next_free_window_is_proposed(
    name: str, existing: Plan, wanted: Demand, expected: tuple[int, int] | None
) -> None:
    found = next_window(existing, wanted, not_after_ms=10_000 * MINUTE)
    assert (found and (found.start_ms // MINUTE, found.end_ms // MINUTE)) == expected
    assert found is None or fits(existing, found)


STAYS: list[tuple[str, Plan, Group, int | None]] = [
    ("nothing booked", plan({A: 1}), A, None),
    ("no place at all", plan({A: 0}), A, 0),
    ("booked later", plan({A: 1}, demand("a", 30, 60)), A, 30),
    ("booked later, room for both", plan({A: 2}, demand("a", 30, 60)), A, None),
    ("booked now", plan({A: 1}, demand("a", 0, 60)), A, 0),
    ("another frees the place first", plan({A: 2}, hold(A, 20), demand("a", 30, 60)), A, None),
    ("another frees the place too late", plan({A: 2}, hold(A, 40), demand("a", 30, 60)), A, 30),
    ("booking can go elsewhere", plan({AB: 1, A: 1}, demand("a", 30, 60)), AB, None),
    ("booking needs exactly this host", plan({AB: 1, A: 1}, demand("b", 30, 60)), AB, 30),
    ("and not the other", plan({AB: 1, A: 1}, demand("b", 30, 60)), A, None),
]


@pytest.mark.parametrize(("name", "existing", "group", "expected"), STAYS, ids=[row[0] for row in STAYS])
def test_a_walk_in_may_stay_until_a_booking_needs_its_place(
    name: str, existing: Plan, group: Group, expected: int | None
) -> None:
    assert latest_end(existing, group, 0) == (FOREVER_MS if expected is None else expected * MINUTE)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 10)), max_size=6),
    st.sampled_from([A, AB]),
)
def test_a_walk_in_that_leaves_in_time_never_costs_a_booking(windows: list[tuple[str, int, int]], group: Group) -> None:
    existing = plan({A: 1, AB: 2})
    for title, start, length in windows:
        wanted = demand(title, start, start + length)
        if fits(existing, wanted):
            existing = with_demand(existing, wanted)
    end = latest_end(existing, group, 0)
    beside = Plan(existing.places, (Hold(group, end),) if end > 0 else (), existing.demands)
    for at_ms, needed in beside.sweep(0, 100 * MINUTE):
        assert can_meet(beside.places_at(at_ms), needed)


def test_free_places_over_time_are_told_in_segments() -> None:
    existing = plan({A: 2}, hold(A, 10), demand("a", 20, 40), demand("a", 30, 50))
    found = segments(existing, "a", 0, 60 * MINUTE, most=5)
    assert [(s.start_ms // MINUTE, s.end_ms // MINUTE, s.free) for s in found] == [
        (0, 10, 1),
        (10, 20, 2),
        (20, 30, 1),
        (30, 40, 0),
        (40, 50, 1),
        (50, 60, 2),
    ]
