"""The transition tables say what the design says."""

from __future__ import annotations

import itertools

import pytest

from runtime.protocol.states import (
    BOOKING_TRANSITIONS,
    FAILURE_REASONS,
    FINAL_SESSION_STATES,
    HOLDING_SESSION_STATES,
    HOST_TRANSITIONS,
    SESSION_TRANSITIONS,
    BookingState,
    EndReason,
    HostState,
    IllegalTransitionError,
    SessionState,
)

PATH = [
    SessionState.REQUESTED,
    SessionState.QUEUED,
    SessionState.LEASED,
    SessionState.STARTING,
    SessionState.READY,
    SessionState.STREAMING,
    SessionState.STOPPING,
    SessionState.ENDED,
]


def test_the_designed_path_is_allowed_and_never_backwards_to_an_earlier_claim() -> None:
    for current, wanted in itertools.pairwise(PATH):
        SESSION_TRANSITIONS.check("s", current, wanted)
    # A session whose players all left streams no more but is still ready.
    assert SESSION_TRANSITIONS.allows(SessionState.STREAMING, SessionState.READY)
    for later, earlier in ((SessionState.READY, SessionState.LEASED), (SessionState.LEASED, SessionState.QUEUED)):
        assert not SESSION_TRANSITIONS.allows(later, earlier)


def test_a_session_can_fail_from_every_state_that_is_not_final() -> None:
    for state in SessionState:
        assert SESSION_TRANSITIONS.allows(state, SessionState.FAILED) == (state not in FINAL_SESSION_STATES)


def test_final_states_are_the_ones_without_a_way_out() -> None:
    assert {s for s in SessionState if SESSION_TRANSITIONS.is_final(s)} == FINAL_SESSION_STATES
    assert not HOLDING_SESSION_STATES & FINAL_SESSION_STATES
    assert all(not HOST_TRANSITIONS.is_final(state) for state in HostState)
    assert {s for s in BookingState if BOOKING_TRANSITIONS.is_final(s)} == {
        BookingState.USED,
        BookingState.MISSED,
        BookingState.CANCELLED,
    }


def test_an_illegal_transition_tells_the_history() -> None:
    with pytest.raises(
        IllegalTransitionError, match=r"abc: ended -> ready is not allowed \(history: leased -> ended\)"
    ):
        SESSION_TRANSITIONS.check("abc", SessionState.ENDED, SessionState.READY, ["leased", "ended"])


def test_sources_are_the_inverse_of_the_table() -> None:
    for wanted in SessionState:
        for current in SessionState:
            assert (current in SESSION_TRANSITIONS.sources(wanted)) == SESSION_TRANSITIONS.allows(current, wanted)


def test_every_failure_reason_is_a_reason() -> None:
    assert set(EndReason) > FAILURE_REASONS
    assert EndReason.IDLE not in FAILURE_REASONS
