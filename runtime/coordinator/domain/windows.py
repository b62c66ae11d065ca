"""Who may have which capacity when: the one policy that bookings and walk-ins share. Pure.

Capacity is counted per group of hosts that can run the same titles. Running sessions hold a place of their host's group
until they end; bookings are free to be placed anywhere that can run their title. A set of demands can be met at an
instant when every one of them finds a place, which is a flow through a small graph: titles on one side, groups on the
other.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

FOREVER_MS = 2**62
_GRID_MS = 5 * 60 * 1000  # proposals begin at full five minutes
_MOST_PROPOSALS = 2000

Group = frozenset[str]  # titles that its hosts can run


@dataclass(frozen=True, slots=True)
class Hold:
    """A place of one group, taken until ``until_ms`` by a session that runs now."""

    group: Group
    until_ms: int


@dataclass(frozen=True, slots=True)
class Demand:
    """A booked window; ``start_ms`` is when its session is to be started."""

    title: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Plan:
    """Everything that is known of the future."""

    places: Mapping[Group, int]
    holds: tuple[Hold, ...] = ()
    demands: tuple[Demand, ...] = ()

    def places_at(self, at_ms: int, extra: Iterable[Hold] = ()) -> dict[Group, int]:
        """Places that sessions running now leave free at ``at_ms``."""
        left = dict(self.places)
        for hold in (*self.holds, *extra):
            if hold.until_ms > at_ms and hold.group in left:
                left[hold.group] -= 1
        return left

    def demand_at(self, at_ms: int) -> Counter[str]:
        return Counter(d.title for d in self.demands if d.start_ms <= at_ms < d.end_ms)

    def sweep(self, start_ms: int, end_ms: int) -> Iterator[tuple[int, Counter[str]]]:
        """Moments in ``[start, end)`` at which more may be needed than just before, each with what is needed then."""
        ends = sorted((d.end_ms, d.title) for d in self.demands if d.start_ms < end_ms and d.end_ms > start_ms)
        starts = sorted((d.start_ms, d.title) for d in self.demands if start_ms < d.start_ms < end_ms)
        demand = self.demand_at(start_ms)
        yield start_ms, demand
        ended = 0
        for at_ms, several in itertools.groupby(starts, key=lambda each: each[0]):
            while ended < len(ends) and ends[ended][0] <= at_ms:
                demand[ends[ended][1]] -= 1
                ended += 1
            demand.update(title for _, title in several)
            yield at_ms, demand


def can_meet(places: Mapping[Group, int], demand: Mapping[str, int]) -> bool:
    """Does every demand find a place? Augmenting paths over titles and groups."""
    left = {group: max(0, count) for group, count in places.items()}
    used: dict[tuple[str, Group], int] = Counter()
    return all(_place(title, left, used) for title, count in sorted(demand.items()) for _ in range(count))


def _place(title: str, left: dict[Group, int], used: dict[tuple[str, Group], int]) -> bool:
    """Give one more place to ``title``, moving others between groups where that helps."""
    came_from: dict[Group, tuple[str, Group | None]] = {}
    queue: deque[tuple[str, Group | None]] = deque([(title, None)])
    while queue:
        wanting, source = queue.popleft()
        for group in left:
            if wanting not in group or group in came_from:
                continue
            came_from[group] = (wanting, source)
            if left[group] > 0:
                left[group] -= 1
                _shift(group, came_from, used)
                return True
            queue.extend((other, group) for other in sorted(group) if used[other, group] > 0)
    return False


def _shift(group: Group, came_from: dict[Group, tuple[str, Group | None]], used: dict[tuple[str, Group], int]) -> None:
    where: Group | None = group
    while where is not None:
        wanting, source = came_from[where]
        used[wanting, where] += 1
        if source is not None:
            used[wanting, source] -= 1
        where = source


def fits(plan: Plan, wanted: Demand) -> bool:
    """May ``wanted`` be booked beside everything that is planned?"""
    for at_ms, planned in plan.sweep(wanted.start_ms, wanted.end_ms):
        if not can_meet(plan.places_at(at_ms), planned + Counter({wanted.title: 1})):
            return False
    return True


def with_demand(plan: Plan, wanted: Demand) -> Plan:
    return Plan(plan.places, plan.holds, (*plan.demands, wanted))


def next_window(plan: Plan, wanted: Demand, not_after_ms: int) -> Demand | None:
    """The earliest window of the same length, not before the wanted one, that can be booked.

    Room appears only when something ends, so that only the wanted time and the ends after it need to be looked at.
    """
    length = wanted.end_ms - wanted.start_ms
    ends = {d.end_ms for d in plan.demands} | {h.until_ms for h in plan.holds if h.until_ms < FOREVER_MS}
    candidates = sorted({wanted.start_ms, *(_on_grid(end) for end in ends if end > wanted.start_ms)})
    for start in candidates[:_MOST_PROPOSALS]:
        if start > not_after_ms:
            return None
        proposal = Demand(wanted.title, start, start + length)
        if fits(plan, proposal):
            return proposal
    return None


def latest_end(plan: Plan, group: Group, now_ms: int) -> int:
    """Until when a session that starts now on a host of ``group`` may run without taking a booked place.

    ``now_ms`` itself when there is no room at all; ``FOREVER_MS`` when no booking ever needs the place.
    """
    hold = Hold(group, FOREVER_MS)
    for at_ms, planned in plan.sweep(now_ms, FOREVER_MS):
        places = plan.places_at(at_ms, [hold])
        if places.get(group, -1) < 0 or not can_meet(places, planned):
            return at_ms
    return FOREVER_MS


@dataclass(frozen=True)
class Segment:
    """How many more sessions of a title could be booked in a stretch of time."""

    start_ms: int
    end_ms: int
    free: int


def segments(plan: Plan, title: str, start_ms: int, end_ms: int, most: int) -> list[Segment]:
    """Free places of ``title`` over time, at most ``most`` each; neighbours with the same number are one."""
    edges = {start_ms, end_ms}
    for demand in plan.demands:
        edges |= {demand.start_ms, demand.end_ms}
    edges |= {hold.until_ms for hold in plan.holds}
    cuts = sorted(edge for edge in edges if start_ms <= edge <= end_ms)
    found: list[Segment] = []
    for begin, finish in itertools.pairwise(cuts):
        free = _free(plan, title, begin, most)
        if found and found[-1].free == free:
            found[-1] = Segment(found[-1].start_ms, finish, free)
        else:
            found.append(Segment(begin, finish, free))
    return found


def _free(plan: Plan, title: str, at_ms: int, most: int) -> int:
    places, demand = plan.places_at(at_ms), plan.demand_at(at_ms)

    def too_many(count: int) -> bool:
        return not can_meet(places, demand + Counter({title: count}))

    return bisect.bisect_left(range(1, most + 1), True, key=too_many)


def _on_grid(at_ms: int) -> int:
    return -(-at_ms // _GRID_MS) * _GRID_MS
