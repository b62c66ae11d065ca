"""The course of a session as a table: what happens to it in each phase, and what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from runtime.protocol.control import RelayStatus, SessionPolicy, StartTimeouts
from runtime.protocol.states import EndReason, IllegalTransitionError, SessionState, StartStep
from runtime.session_server.policy.course import RELAY_SILENCE_SECONDS, Course, RestartRelay, Restarts
from runtime.session_server.policy.ending import End, Stage, escalation

WAITING = RelayStatus(version=1, streamer="waiting", participants=0, players=0)
CONNECTED = replace(WAITING, streamer="connected")
LIVE = replace(WAITING, streamer="live", first_frame_ms=777)
WATCHED = replace(LIVE, players=2)
LOST = replace(LIVE, streamer="lost")


def new_course(**changes: object) -> Course:
    course = Course(
        policy=SessionPolicy(streamer_grace_seconds=30),
        timeouts=StartTimeouts(
            relay_up_seconds=10, process_up_seconds=20, streamer_connected_seconds=30, first_frame_seconds=40
        ),
        restarts=Restarts(2, 600),
        now=0,
        **changes,  # type: ignore[arg-type]
    )
    if not changes:
        course.begin(0)
    return course


def relay_up(course: Course) -> None:
    course.relay_up(1, 100)


def process_up(course: Course) -> None:
    relay_up(course)
    course.process_up(2, 200)


def connected(course: Course) -> None:
    process_up(course)
    assert course.relay_status(CONNECTED, 3, 300) is None


def live(course: Course) -> None:
    connected(course)
    assert course.relay_status(LIVE, 4, 400) is None


def watched(course: Course) -> None:
    live(course)
    assert course.relay_status(WATCHED, 5, 500) is None


def nothing(course: Course) -> None:
    pass


PHASES: list[tuple[Callable[[Course], None], SessionState, StartStep | None]] = [
    (nothing, SessionState.STARTING, StartStep.RELAY_UP),
    (relay_up, SessionState.STARTING, StartStep.PROCESS_UP),
    (process_up, SessionState.STARTING, StartStep.STREAMER_CONNECTED),
    (connected, SessionState.STARTING, StartStep.FIRST_FRAME),
    (live, SessionState.READY, None),
    (watched, SessionState.STREAMING, None),
]


@pytest.mark.parametrize(("phase", "state", "next_step"), PHASES)
def test_phases_follow_each_other(
    phase: Callable[[Course], None], state: SessionState, next_step: StartStep | None
) -> None:
    course = new_course()
    phase(course)
    assert (course.state, course.next_step) == (state, next_step)
    assert set(course.steps) == {step for step in StartStep if step is not StartStep.LEASED} if not next_step else True


@pytest.mark.parametrize(("phase", "state", "next_step"), PHASES)
@pytest.mark.parametrize("code", [0, 3, -9, None])
def test_title_ends(
    phase: Callable[[Course], None], state: SessionState, next_step: StartStep | None, code: int | None
) -> None:
    course = new_course()
    phase(course)
    end = course.program_exit(code)
    if code == 0:
        assert end.reason is (EndReason.START_FAILED if next_step else EndReason.APP_EXITED)
    else:
        assert end.reason is EndReason.APP_CRASHED
    assert end.state is (SessionState.ENDED if end.reason is EndReason.APP_EXITED else SessionState.FAILED)
    assert end.detail is not None
    if code is not None:
        assert str(abs(code)) in end.detail or code == 0


@pytest.mark.parametrize(("phase", "state", "next_step"), PHASES)
def test_relay_ends(phase: Callable[[Course], None], state: SessionState, next_step: StartStep | None) -> None:
    course = new_course()
    phase(course)
    assert course.relay_exit(0, End(EndReason.IDLE), 10) == End(EndReason.IDLE)
    assert course.relay_exit(-9, None, 10) == RestartRelay(0.25)
    assert course.relay_exit(-9, None, 20) == RestartRelay(1.0)
    end = course.relay_exit(-9, None, 30)
    assert isinstance(end, End)
    assert end.reason is EndReason.RELAY_CRASHED
    # Long after, it may crash again.
    assert isinstance(course.relay_exit(-9, None, 700), RestartRelay)
    refused = course.relay_exit(2, None, 10_000)
    assert isinstance(refused, End), "a configuration that is refused once is refused always"


@pytest.mark.parametrize(("phase", "state", "next_step"), PHASES)
def test_patience_ends(phase: Callable[[Course], None], state: SessionState, next_step: StartStep | None) -> None:
    course = new_course()
    phase(course)
    pending = course.deadline()
    if next_step is None:
        assert pending is None
        assert course.time_passed(1e9) is None
        return
    assert pending is not None
    moment, end = pending
    assert course.time_passed(moment - 0.001) is None
    assert course.time_passed(moment) == end
    assert end.reason is EndReason.START_TIMEOUT
    assert end.detail is not None
    assert end.detail.startswith(f"{next_step} was not reached")


def test_each_step_has_its_own_time() -> None:
    course = new_course()
    moments = []
    for step in (relay_up, process_up, connected):
        moments.append(course.deadline())
        fresh = new_course()
        step(fresh)
        course = fresh
    moments.append(course.deadline())
    assert [moment for moment, _ in filter(None, moments)] == [10, 1 + 20, 2 + 30, 3 + 40]


def test_lost_title_has_its_grace() -> None:
    course = new_course()
    watched(course)
    assert course.relay_status(LOST, 100, 0) is None
    pending = course.deadline()
    assert pending is not None
    assert (pending[0], pending[1].reason) == (130, EndReason.APP_CRASHED)
    assert course.relay_status(LOST, 110, 0) is None, "told again"
    assert course.deadline() == pending, "the grace does not begin anew"
    assert course.relay_status(WATCHED, 120, 0) is None
    assert course.deadline() is None


def test_relay_started_again_waits_for_the_title_within_the_grace() -> None:
    course = new_course()
    watched(course)
    assert isinstance(course.relay_exit(-11, None, 50), RestartRelay)
    course.relay_up(51, 0)
    assert course.relay_status(WAITING, 51, 0) is None
    pending = course.deadline()
    assert pending is not None
    assert pending[0] == 81
    course.relay_status(replace(LIVE, version=3), 52, 0)
    assert course.deadline() is None
    assert course.state is SessionState.READY


@pytest.mark.parametrize(("phase", "state", "next_step"), PHASES[1:])
def test_relay_started_again_must_come_up(
    phase: Callable[[Course], None], state: SessionState, next_step: StartStep | None
) -> None:
    course = new_course()
    phase(course)
    assert course.relay_exit(-9, None, 5) == RestartRelay(0.25)
    pending = course.deadline()
    assert pending is not None
    assert (pending[0], pending[1].reason) == (5.25 + 10, EndReason.RELAY_CRASHED)
    course.relay_up(6, 0)
    again = course.deadline()
    assert again is None or again[1].reason is not EndReason.RELAY_CRASHED


def test_relay_must_be_found_after_an_adoption() -> None:
    steps = dict.fromkeys((step for step in StartStep if step is not StartStep.LEASED), 1)
    course = new_course(state=SessionState.READY, steps=steps)
    pending = course.deadline()
    assert pending is not None
    assert (pending[0], pending[1].reason) == (10, EndReason.RELAY_CRASHED)


def test_relay_decides_the_end() -> None:
    course = new_course()
    watched(course)
    over = replace(WATCHED, end_reason=EndReason.MAX_LENGTH, end_detail="Time is over.")
    assert course.relay_status(over, 60, 0) == End(EndReason.MAX_LENGTH, "Time is over.")


def test_silence_of_a_running_relay() -> None:
    course = new_course()
    assert not course.relay_is_silent(1000), "it is not up yet"
    watched(course)
    assert not course.relay_is_silent(5 + RELAY_SILENCE_SECONDS)
    assert course.relay_is_silent(5.1 + RELAY_SILENCE_SECONDS)
    course.relay_exit(-9, None, 60)
    assert not course.relay_is_silent(1000), "it is known to be gone"


def test_first_frame_has_the_relays_time() -> None:
    course = new_course()
    live(course)
    assert course.steps == {
        StartStep.RELAY_UP: 100,
        StartStep.PROCESS_UP: 200,
        StartStep.STREAMER_CONNECTED: 300,
        StartStep.FIRST_FRAME: 777,
    }


def test_adopted_course_goes_on() -> None:
    steps = {StartStep.RELAY_UP: 1, StartStep.PROCESS_UP: 2}
    course = new_course(state=SessionState.STARTING, steps=steps)
    assert course.next_step is StartStep.STREAMER_CONNECTED
    course.relay_up(5, 0)
    course.relay_status(LIVE, 6, 600)
    assert course.state is SessionState.READY
    assert course.steps[StartStep.RELAY_UP] == 1
    course.stop()
    with pytest.raises(IllegalTransitionError):
        course.begin(7)


def test_status_after_the_decision_to_stop_changes_nothing() -> None:
    course = new_course()
    live(course)
    course.stop()
    assert course.relay_status(WATCHED, 9, 0) is None
    assert course.state is SessionState.STOPPING
    assert course.deadline() is None


def test_escalation_is_gentle_first() -> None:
    plan = escalation(StartTimeouts(stop_ask_seconds=1, stop_terminate_seconds=2, stop_kill_seconds=3))
    assert [(entry.stage, entry.seconds) for entry in plan] == [(Stage.ASK, 1), (Stage.TERMINATE, 2), (Stage.KILL, 3)]
