"""When sessions end by themselves, second by second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.protocol.states import EndReason
from runtime.relay.core.activity import Effect, IdleCancelled, IdleWarned, SessionTimer, TimeToEnd, TimeWarned


def timer(
    idle: float = 10, warning: float = 5, length: float | None = None, length_warning: float = 300
) -> SessionTimer:
    made = SessionTimer(
        idle_seconds=idle,
        idle_warning_seconds=warning,
        max_length_seconds=length,
        length_warning_seconds=length_warning,
    )
    made.begin(0)
    return made


def run(t: SessionTimer, start: float, end: float, step: float = 0.25) -> list[tuple[float, Effect]]:
    out = []
    now = start
    while now <= end:
        out += [(now, effect) for effect in t.tick(now)]
        now += step
    return out


def test_the_countdown_starts_after_the_idle_time_and_ends_the_session() -> None:
    said = run(timer(), 0, 30)
    assert said == [
        (10, IdleWarned(5)),
        (11, IdleWarned(4)),
        (12, IdleWarned(3)),
        (13, IdleWarned(2)),
        (14, IdleWarned(1)),
        (15, TimeToEnd(EndReason.IDLE)),
    ]


def test_activity_cancels_the_countdown_and_it_can_run_again() -> None:
    t = timer()
    run(t, 0, 12)
    assert t.countdown == 3
    assert t.active(12.5, "ben") == [IdleCancelled("ben")]
    assert t.countdown is None
    assert t.active(12.6, "ben") == []
    assert run(t, 12.75, 22) == []
    assert (27.75, TimeToEnd(EndReason.IDLE)) in run(t, 22.25, 30, step=0.25)


def test_nothing_runs_before_the_beginning() -> None:
    t = SessionTimer(idle_seconds=1, idle_warning_seconds=0, max_length_seconds=1, length_warning_seconds=0)
    assert run(t, 0, 100) == []
    assert t.idle_seconds_left(50) is None
    t.begin(100)
    t.begin(200)
    assert run(t, 100, 102)[0] == (101, TimeToEnd(EndReason.MAX_LENGTH))


@pytest.mark.parametrize("idle", [0, -1])
def test_an_idle_time_of_zero_switches_the_clock_off(idle: float) -> None:
    t = timer(idle=idle)
    assert run(t, 0, 1000, step=10) == []
    assert t.idle_seconds_left(5) is None


def test_length_is_announced_and_ends_the_session_however_active_people_are() -> None:
    t = timer(length=400)
    said = []
    for second in range(500):
        t.active(second, "anna")
        said += [(second, effect) for effect in t.tick(second)]
    assert said == [
        (100, TimeWarned(300)),
        (340, TimeWarned(60)),
        (390, TimeWarned(10)),
        (400, TimeToEnd(EndReason.MAX_LENGTH)),
    ]


def test_a_late_tick_says_one_warning_not_three() -> None:
    assert timer(idle=0, length=400).tick(395) == [TimeWarned(5)]


@given(st.lists(st.tuples(st.floats(0, 4), st.booleans()), max_size=60))
def test_the_end_never_comes_sooner_than_promised(steps: list[tuple[float, bool]]) -> None:
    t, now, active_at = timer(), 0.0, 0.0
    for wait, acts in steps:
        now += wait
        for effect in t.tick(now):
            if isinstance(effect, TimeToEnd):
                assert now - active_at >= 15 - 1e-6
                return
            if isinstance(effect, IdleWarned):
                assert now - active_at >= 10 - 1e-6
        if acts:
            t.active(now, None)
            active_at = now
            assert t.countdown is None


def test_another_end_replaces_the_length_and_is_warned_of_anew() -> None:
    t = timer(idle=0, length=100, length_warning=30)
    assert [effect for _, effect in run(t, 0, 80)] == [TimeWarned(60), TimeWarned(30)]
    assert t.end_in(80, 120) == [TimeWarned(120)]
    assert t.seconds_until_length_end(80) == 120
    # The same end once more, seconds later by another clock, is no news.
    assert t.end_in(82, 117) == []
    said = run(t, 82, 250)
    assert said == [
        (139, TimeWarned(60)),
        (169, TimeWarned(30)),
        (189, TimeWarned(10)),
        (199, TimeToEnd(EndReason.MAX_LENGTH)),
    ]
    assert t.end_in(201, 60) == [], "what is over stays over"


def test_an_end_may_be_given_before_anybody_has_come_and_to_a_session_without_length() -> None:
    t = SessionTimer(idle_seconds=0, idle_warning_seconds=0, max_length_seconds=None, length_warning_seconds=0)
    assert t.end_in(0, 50) == [TimeWarned(50)]
    assert run(t, 0, 100) == []
    t.begin(20)
    assert (50, TimeToEnd(EndReason.MAX_LENGTH)) in run(t, 20, 60)
