"""Waiting for a place: a fair order, positions, and an honest guess of the time. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence

from runtime.protocol.states import SessionState

from .model import Session

# What a session is assumed to last when nothing is known of the title yet.
ASSUMED_SECONDS = 15 * 60.0
_SOONEST_SECONDS = 20.0  # a session that is overdue may end any moment


def order(tickets: Iterable[Session]) -> list[Session]:
    """Queued sessions in the order of their turns: everybody's first request before anybody's second, then by time."""
    by_time = sorted(
        (s for s in tickets if s.state is SessionState.QUEUED and s.queue is not None),
        key=lambda s: (s.queue.queued_ms if s.queue else 0, s.id),
    )
    counts: dict[str, int] = {}
    ranked: list[tuple[int, int, Session]] = []
    for place, session in enumerate(by_time):
        owner = session.owner.id if session.owner else session.id
        ranked.append((counts.get(owner, 0), place, session))
        counts[owner] = counts.get(owner, 0) + 1
    return [session for _, _, session in sorted(ranked, key=lambda item: item[:2])]


def standings(ordered: Sequence[Session], competes: Callable[[str, str], bool]) -> dict[str, int]:
    """For every ticket how many wait before it for hosts that its title needs too. ``competes(a, b)``: titles share a
    host; it is asked once for each pair of titles."""
    before: dict[str, int] = {}  # title -> tickets that a newcomer for it would be behind
    rivals: dict[str, list[str]] = {}
    titles = {session.title for session in ordered}
    found: dict[str, int] = {}
    for session in ordered:
        found[session.id] = before.get(session.title, 0)
        if session.title not in rivals:
            rivals[session.title] = [title for title in titles if competes(session.title, title)]
        for title in rivals[session.title]:
            before[title] = before.get(title, 0) + 1
    return found


class Outlook:
    """When places come free on the hosts in question, reckoned once for everybody who waits for them.

    Running sessions are taken to last ``typical_seconds`` or until their fixed end.
    """

    def __init__(self, running: Iterable[Session], now_ms: int, *, typical_seconds: float, free: int = 0) -> None:
        self._typical_seconds = typical_seconds
        self._ends = [0.0] * free + [_remaining(session, now_ms, typical_seconds) for session in running]
        heapq.heapify(self._ends)
        self._waits: list[float] = []  # by the number of others before

    def wait_seconds(self, ahead: int) -> float | None:
        """Estimate until it is the turn of somebody with ``ahead`` others before. None: nothing runs and nothing is
        free, so that there is nothing to reckon from."""
        if not self._ends:
            return None
        while len(self._waits) <= ahead:
            # Whoever is before takes the place that comes free first, and keeps it a typical time.
            self._waits.append(round(self._ends[0], 1))
            heapq.heapreplace(self._ends, self._ends[0] + self._typical_seconds)
        return self._waits[ahead]


def _remaining(session: Session, now_ms: int, typical_seconds: float) -> float:
    since = session.times.get(SessionState.LEASED, session.created_ms)
    remaining = typical_seconds - (now_ms - since) / 1000
    if session.ends_ms is not None:
        remaining = min(remaining, (session.ends_ms - now_ms) / 1000)
    if session.state is SessionState.STOPPING:
        remaining = 0.0
    return max(_SOONEST_SECONDS, remaining)


def has_left(session: Session, now_ms: int, *, grace_seconds: float, watched_since_ms: int) -> bool:
    """Is nobody waiting at this ticket any more? Nothing is concluded from a time when nobody could be seen."""
    if session.queue is None:
        return False
    seen = max(session.queue.seen_ms, watched_since_ms)
    return now_ms - seen > grace_seconds * 1000
