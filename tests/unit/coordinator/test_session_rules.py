"""What reports, orders and time make of a session."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.coordinator.domain.model import (
    Heartbeat,
    Host,
    Invite,
    Member,
    Owner,
    QueueTicket,
    Session,
    Slot,
    places_of,
)
from runtime.coordinator.domain.queue import Outlook, has_left, order, standings
from runtime.coordinator.domain.recovery import Action, is_orphan, judge_session
from runtime.coordinator.domain.session import adopt, apply_report, enter, finish, joinable, lease, stop
from runtime.protocol.control import SessionReport
from runtime.protocol.states import (
    SESSION_TRANSITIONS,
    EndReason,
    IllegalTransitionError,
    Role,
    SessionState,
    StartStep,
)

S = SessionState
NOW = 1_000_000
BASE = Session(id="s" * 26, title="t", state=S.REQUESTED, created_ms=0, times={S.REQUESTED: 0})


def in_state(state: SessionState, **changes: Any) -> Session:
    placed = {} if state in (S.REQUESTED, S.QUEUED) else {"host": "h", "slot": 0}
    return replace(BASE, state=state, times={state: 1}, **{**placed, **changes})


def report(state: SessionState, **more: Any) -> SessionReport:
    return SessionReport(session_id=BASE.id, title="t", state=state, **more)


def apply(session: Session, said: SessionReport, sequence: int = 1, host: str = "h") -> Session | None:
    return apply_report(session, said, NOW, host=host, sequence=sequence)


REPORTS: list[tuple[SessionState, SessionState, SessionState]] = [
    (S.LEASED, S.STARTING, S.STARTING),
    (S.LEASED, S.READY, S.READY),
    (S.LEASED, S.STREAMING, S.STREAMING),
    (S.STARTING, S.LEASED, S.STARTING),  # older news
    (S.READY, S.STARTING, S.READY),
    (S.READY, S.STREAMING, S.STREAMING),
    (S.STREAMING, S.READY, S.READY),  # the last player has left
    (S.STREAMING, S.STARTING, S.STREAMING),
    (S.STOPPING, S.READY, S.STOPPING),
    (S.READY, S.STOPPING, S.STOPPING),
    (S.LEASED, S.ENDED, S.ENDED),
    (S.STOPPING, S.ENDED, S.ENDED),
]


@pytest.mark.parametrize(("before", "said", "after"), REPORTS)
def test_a_report_moves_a_session_forward_only(before: SessionState, said: SessionState, after: SessionState) -> None:
    found = apply(in_state(before), report(said))
    assert found is not None
    assert found.state is after
    if after in (S.READY, S.STREAMING) and before is S.LEASED:
        assert S.STARTING in found.times  # what was passed on the way is filled in


@pytest.mark.parametrize(
    ("session", "said", "sequence", "host"),
    [
        (in_state(S.ENDED), report(S.READY), 9, "h"),
        (in_state(S.FAILED), report(S.ENDED), 9, "h"),
        (in_state(S.READY), report(S.ENDED), 9, "another"),
        (in_state(S.READY, last_sequence=5), report(S.ENDED), 5, "h"),
        (in_state(S.READY, last_sequence=5), report(S.ENDED), 4, "h"),
        (in_state(S.QUEUED), report(S.READY), 1, "h"),
        (in_state(S.READY, build="b1"), report(S.READY, build="b1"), 0, "h"),  # a heartbeat that says nothing new
    ],
)
def test_reports_that_change_nothing(session: Session, said: SessionReport, sequence: int, host: str) -> None:
    assert apply(session, said, sequence, host) is None


@pytest.mark.parametrize(
    ("wanted", "said", "booked", "reason", "state"),
    [
        (None, EndReason.IDLE, False, EndReason.IDLE, S.ENDED),
        (EndReason.OWNER_ENDED, EndReason.OWNER_ENDED, False, EndReason.OWNER_ENDED, S.ENDED),
        (EndReason.OWNER_ENDED, None, False, EndReason.OWNER_ENDED, S.ENDED),
        (None, None, False, EndReason.APP_EXITED, S.ENDED),
        (EndReason.OWNER_ENDED, EndReason.APP_CRASHED, False, EndReason.OWNER_ENDED, S.ENDED),
        (None, EndReason.APP_CRASHED, False, EndReason.APP_CRASHED, S.FAILED),
        (None, EndReason.START_TIMEOUT, False, EndReason.START_TIMEOUT, S.FAILED),
        (None, EndReason.MAX_LENGTH, False, EndReason.MAX_LENGTH, S.ENDED),
        (None, EndReason.MAX_LENGTH, True, EndReason.BOOKING_OVER, S.ENDED),
    ],
)
def test_the_end_has_the_right_reason(
    wanted: EndReason | None, said: EndReason | None, booked: bool, reason: EndReason, state: SessionState
) -> None:
    session = in_state(S.STOPPING, reason=wanted, booking="b" if booked else None, participants=3)
    found = apply(session, report(S.ENDED, reason=said))
    assert found is not None
    assert (found.reason, found.state, found.participants, found.ended_ms) == (reason, state, 0, NOW)


@given(
    st.lists(st.tuples(st.sampled_from(list(S)), st.integers(0, 5)), max_size=12),
    st.sampled_from([S.LEASED, S.STARTING, S.READY, S.STREAMING, S.STOPPING]),
)
def test_whatever_hosts_say_in_whatever_order_no_illegal_step_is_made(
    said: list[tuple[SessionState, int]], begin: SessionState
) -> None:
    session = in_state(begin)
    for state, sequence in said:
        after = apply(session, report(state), sequence)
        if after is not None:
            path = [at for at in after.times if at not in session.times]
            assert after.state is session.state or path or SESSION_TRANSITIONS.allows(session.state, after.state)
            assert not session.is_final
            session = after


def test_an_illegal_step_is_refused_with_the_history() -> None:
    ended = enter(enter(BASE, S.LEASED, 5), S.ENDED, 9)
    with pytest.raises(IllegalTransitionError, match=r"requested@0 -> leased@5 -> ended@9"):
        enter(ended, S.READY, 10)


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (S.QUEUED, S.ENDED),
        (S.LEASED, S.STOPPING),
        (S.STARTING, S.STOPPING),
        (S.STREAMING, S.STOPPING),
        (S.STOPPING, None),
        (S.ENDED, None),
        (S.FAILED, None),
    ],
)
def test_an_order_to_end(state: SessionState, after: SessionState | None) -> None:
    found = stop(in_state(state), EndReason.OWNER_ENDED, NOW)
    assert (found and found.state) == after
    assert found is None or found.reason is EndReason.OWNER_ENDED


def test_a_session_is_finished_once() -> None:
    lost = finish(in_state(S.READY), EndReason.HOST_LOST, "gone", NOW)
    assert lost is not None
    assert (lost.state, lost.reason, lost.detail, lost.lease_expires_ms) == (
        S.FAILED,
        EndReason.HOST_LOST,
        "gone",
        None,
    )
    assert finish(lost, EndReason.OWNER_ENDED, None, NOW) is None


def test_length_counts_from_when_the_session_is_ready_unless_its_end_is_fixed() -> None:
    leased = lease(
        replace(BASE, max_length_seconds=60.0),
        host="h",
        slot=1,
        gpu=0,
        build="b",
        why="w",
        now_ms=NOW,
        lease_seconds=30,
    )
    assert (leased.lease_expires_ms, leased.steps) == (NOW + 30_000, {StartStep.LEASED: NOW})
    ready = apply_report(leased, report(S.READY), NOW + 5_000, host="h", sequence=1)
    assert ready is not None
    assert ready.ends_ms == NOW + 65_000
    fixed = apply_report(replace(leased, ends_ms=NOW + 7_000), report(S.READY), NOW + 5_000, host="h", sequence=1)
    assert fixed is not None
    assert fixed.ends_ms == NOW + 7_000


def test_a_warm_session_becomes_somebodys_once() -> None:
    owner = Owner(id="user:a", kind="user")
    warm = in_state(S.READY, warm=True)
    mine = adopt(warm, owner, NOW, 60.0)
    assert mine is not None
    assert (mine.owner, mine.ends_ms) == (owner, NOW + 60_000)
    assert adopt(mine, Owner(id="user:b", kind="user"), NOW, None) is None
    assert adopt(in_state(S.STOPPING, warm=True), owner, NOW, None) is None
    assert adopt(in_state(S.READY), owner, NOW, None) is None


@pytest.mark.parametrize(("state", "port", "may"), [(S.READY, 1, True), (S.READY, None, False), (S.STARTING, 1, False)])
def test_joinable(state: SessionState, port: int | None, may: bool) -> None:
    assert joinable(in_state(state, port=port)) is may


# --- recovery ---

LEASE = 60.0
RECENT = Heartbeat(at_ms=NOW - 10_000, sent_ms=0)
SILENT = Heartbeat(at_ms=NOW - 90_000, sent_ms=0)


def host(beat: Heartbeat | None) -> Host:
    return Host(name="h", control_url="http://h", edge_url="ws://h/{port}", capacity=1, heartbeat=beat)


JUDGED: list[tuple[str, Session, Host | None, int, Action, EndReason | None]] = [
    ("healthy", in_state(S.READY), host(RECENT), 0, Action.NOTHING, None),
    ("silent host", in_state(S.READY), host(SILENT), 0, Action.FINISH, EndReason.HOST_LOST),
    ("silent, but nobody listened", in_state(S.READY), host(SILENT), NOW - 30_000, Action.NOTHING, None),
    ("never heard, watched long", in_state(S.READY), host(None), NOW - 61_000, Action.FINISH, EndReason.HOST_LOST),
    ("host removed", in_state(S.READY), None, 0, Action.FINISH, EndReason.HOST_LOST),
    (
        "fresh lease",
        in_state(S.LEASED, changed_ms=NOW, lease_expires_ms=NOW + 1),
        host(RECENT),
        0,
        Action.NOTHING,
        None,
    ),
    (
        "lease whose starter died",
        in_state(S.LEASED, changed_ms=NOW - 6_000, lease_expires_ms=NOW + 1),
        host(RECENT),
        0,
        Action.RESUME,
        None,
    ),
    (
        "lease that expired",
        in_state(S.LEASED, lease_expires_ms=NOW - 1),
        host(RECENT),
        0,
        Action.FINISH,
        EndReason.START_FAILED,
    ),
    (
        "lease that expired while nobody watched",
        in_state(S.LEASED, lease_expires_ms=NOW - 1),
        host(RECENT),
        NOW - 1_000,
        Action.RESUME,
        None,
    ),
    ("stop to be sent again", in_state(S.STOPPING), host(RECENT), 0, Action.RESUME, None),
    ("stopping on a lost host", in_state(S.STOPPING), host(SILENT), 0, Action.FINISH, EndReason.HOST_LOST),
    ("queued", in_state(S.QUEUED), None, 0, Action.NOTHING, None),
    ("over", in_state(S.ENDED), None, 0, Action.NOTHING, None),
    ("within its length", in_state(S.READY, ends_ms=NOW), host(RECENT), 0, Action.NOTHING, None),
    ("over its length", in_state(S.READY, ends_ms=NOW - 20_000), host(RECENT), 0, Action.STOP, EndReason.MAX_LENGTH),
    (
        "over its booking",
        in_state(S.READY, ends_ms=NOW, booking="b"),
        host(RECENT),
        0,
        Action.STOP,
        EndReason.BOOKING_OVER,
    ),
]


@pytest.mark.parametrize(
    ("name", "session", "where", "watched", "action", "reason"), JUDGED, ids=[row[0] for row in JUDGED]
)
def test_what_the_reaper_does(
    name: str, session: Session, where: Host | None, watched: int, action: Action, reason: EndReason | None
) -> None:
    verdict = judge_session(session, where, NOW, lease_seconds=LEASE, watched_since_ms=watched)
    assert (verdict.action, verdict.reason) == (action, reason)


@pytest.mark.parametrize(
    ("session", "age", "orphan"),
    [
        (None, 20_000, True),
        (None, 1_000, False),  # its session may be about to be written
        (in_state(S.READY), 20_000, False),
        (in_state(S.READY, slot=1), 20_000, True),
        (in_state(S.READY, host="elsewhere"), 20_000, True),
        (in_state(S.ENDED), 20_000, True),
        (in_state(S.STOPPING), 20_000, False),
    ],
)
def test_orphaned_slots(session: Session | None, age: int, orphan: bool) -> None:
    slot = Slot(host="h", number=0, session=BASE.id, claimed_ms=NOW - age)
    assert is_orphan(slot, session, NOW) is orphan


@pytest.mark.parametrize(
    ("session", "age", "orphan"),
    [
        (None, 20_000, True),
        (None, 1_000, False),
        (in_state(S.READY), 20_000, False),
        (in_state(S.READY, host="elsewhere"), 20_000, False),  # it is the title's, wherever the session runs
        (in_state(S.READY, title="another"), 20_000, True),
        (in_state(S.ENDED), 20_000, True),
        (in_state(S.QUEUED), 20_000, True),
    ],
)
def test_orphaned_places_of_a_title(session: Session | None, age: int, orphan: bool) -> None:
    place = Slot(host=places_of(BASE.title), number=3, session=BASE.id, claimed_ms=NOW - age)
    assert is_orphan(place, session, NOW) is orphan


# --- queue ---


def ticket(number: int, owner: str, title: str = "t", seen: int = NOW) -> Session:
    return replace(
        BASE,
        id=f"{number}" * 26,
        title=title,
        state=S.QUEUED,
        owner=Owner(id=owner, kind="user"),
        queue=QueueTicket(queued_ms=number, seen_ms=seen),
    )


def test_everybodys_first_ticket_comes_before_anybodys_second() -> None:
    tickets = [ticket(1, "a"), ticket(2, "a"), ticket(3, "a"), ticket(4, "b"), ticket(5, "c"), ticket(6, "b")]
    assert [t.id[0] for t in order(reversed(tickets))] == ["1", "4", "5", "2", "6", "3"]


def test_only_those_who_need_the_same_hosts_count_as_ahead() -> None:
    tickets = [ticket(1, "a", "x"), ticket(2, "b", "y"), ticket(3, "c", "x")]
    assert list(standings(tickets, lambda one, other: one == other).values()) == [0, 0, 1]
    assert list(standings(tickets, lambda one, other: True).values()) == [0, 1, 2]


def _running(age_seconds: float, **more: Any) -> Session:
    return replace(in_state(S.READY, **more), times={S.LEASED: NOW - int(age_seconds * 1000)})


@pytest.mark.parametrize(
    ("ahead", "running", "free", "seconds"),
    [
        (0, [], 0, None),
        (0, [], 1, 0.0),
        (0, [_running(100)], 0, 500.0),
        (1, [_running(100)], 0, 1100.0),
        (0, [_running(100), _running(400)], 0, 200.0),
        (1, [_running(100), _running(400)], 0, 500.0),
        (2, [_running(100), _running(400)], 0, 800.0),
        (0, [_running(9000)], 0, 20.0),  # overdue: any moment
        (0, [_running(100, ends_ms=NOW + 60_000)], 0, 60.0),
    ],
)
def test_the_estimate_follows_from_who_runs_and_who_waits(
    ahead: int, running: list[Session], free: int, seconds: float | None
) -> None:
    outlook = Outlook(running, NOW, typical_seconds=600.0, free=free)
    assert outlook.wait_seconds(ahead) == seconds
    assert outlook.wait_seconds(ahead) == seconds, "asking changes nothing"


def test_a_place_is_given_up_only_when_its_page_was_looked_for_and_not_seen() -> None:
    away = ticket(1, "a", seen=NOW - 60_000)
    assert has_left(away, NOW, grace_seconds=30, watched_since_ms=0)
    assert not has_left(away, NOW, grace_seconds=30, watched_since_ms=NOW - 20_000)
    assert not has_left(ticket(1, "a", seen=NOW - 20_000), NOW, grace_seconds=30, watched_since_ms=0)


def test_records_of_people_in_a_session_keep_their_shape() -> None:
    session = replace(
        BASE,
        invites={"i": Invite(sha256="0", role=Role.WATCHER, created_ms=0, expires_ms=1)},
        members={"p": Member(role=Role.WATCHER, name="x", invite="i", joined_ms=0)},
    )
    ended = finish(session, EndReason.QUEUE_LEFT, None, NOW)
    assert ended is not None
    assert (ended.invites, ended.members) == (session.invites, session.members)
