"""Transitions of one session. Each function takes a record and gives the next one, or None when nothing changes."""

from __future__ import annotations

from dataclasses import replace

from runtime.protocol.control import SessionReport
from runtime.protocol.states import (
    FAILURE_REASONS,
    SESSION_TRANSITIONS,
    EndReason,
    SessionState,
    StartStep,
)

from .model import Owner, Session

_S = SessionState
# A host tells only the newest state; those it passed on the way are filled in along this line.
_FORWARD = (_S.LEASED, _S.STARTING, _S.READY, _S.STREAMING)
REASON_TEXTS: dict[EndReason, str] = {
    EndReason.OWNER_ENDED: "The owner ended the session.",
    EndReason.IDLE: "Nobody did anything for a while.",
    EndReason.MAX_LENGTH: "The session reached its maximum length.",
    EndReason.APP_EXITED: "The application was closed.",
    EndReason.APP_CRASHED: "The application stopped unexpectedly.",
    EndReason.RELAY_CRASHED: "The stream's relay stopped unexpectedly.",
    EndReason.START_TIMEOUT: "The application did not start in time.",
    EndReason.START_FAILED: "The application could not be started.",
    EndReason.HOST_LOST: "The streaming computer was lost.",
    EndReason.DRAINED: "The streaming computer is being serviced.",
    EndReason.ADMIN_ENDED: "An administrator ended the session.",
    EndReason.BOOKING_OVER: "The booked time is over.",
    EndReason.QUEUE_LEFT: "The place in the queue was given up.",
}


def enter(session: Session, state: SessionState, now_ms: int) -> Session:
    """``session`` in ``state``; raise ``IllegalTransitionError`` when the table forbids it."""
    SESSION_TRANSITIONS.check(f"session {session.id}", session.state, state, session.history())
    times = session.times if state in session.times else {**session.times, state: now_ms}
    return replace(session, state=state, times=times)


def lease(
    session: Session,
    *,
    host: str,
    slot: int,
    gpu: int | None,
    build: str,
    why: str,
    now_ms: int,
    lease_seconds: float,
    ends_ms: int | None = None,
) -> Session:
    """A requested or queued session that has got a slot; until ``ends_ms`` when a booking needs it then."""
    return replace(
        enter(session, _S.LEASED, now_ms),
        host=host,
        slot=slot,
        gpu=gpu,
        build=build,
        placement=why,
        queue=None,
        attempts=session.attempts + 1,
        steps={StartStep.LEASED: now_ms},
        lease_expires_ms=now_ms + int(lease_seconds * 1000),
        ends_ms=ends_ms,
    )


def move(
    session: Session, *, host: str, slot: int, gpu: int | None, build: str, why: str, now_ms: int, lease_seconds: float
) -> Session:
    """A leased session whose host would not start it, on another host."""
    assert session.state is _S.LEASED
    assert session.host is not None
    return replace(
        session,
        host=host,
        slot=slot,
        gpu=gpu,
        build=build,
        placement=why,
        attempts=session.attempts + 1,
        refused_by=(*session.refused_by, session.host),
        lease_expires_ms=now_ms + int(lease_seconds * 1000),
    )


def stop(session: Session, reason: EndReason, now_ms: int) -> Session | None:
    """What an order to end makes of a session: ``stopping`` while a host has it, else over at once."""
    if session.is_final or session.state is _S.STOPPING:
        return None
    if session.state in (_S.REQUESTED, _S.QUEUED):
        return finish(session, reason, None, now_ms)
    return replace(enter(session, _S.STOPPING, now_ms), reason=reason)


def finish(session: Session, reason: EndReason, detail: str | None, now_ms: int) -> Session | None:
    """``session`` over: ``failed`` when ``reason`` means that something broke. None when it was over already."""
    if session.is_final:
        return None
    final = _S.FAILED if reason in FAILURE_REASONS else _S.ENDED
    return replace(
        enter(session, final, now_ms),
        reason=reason,
        detail=detail if detail is not None else session.detail,
        ended_ms=now_ms,
        participants=0,
        queue=None,
        lease_expires_ms=None,
    )


def apply_report(session: Session, report: SessionReport, now_ms: int, *, host: str, sequence: int) -> Session | None:
    """What a host's report makes of a session. ``sequence`` 0: from a heartbeat, which has no order of its own.

    Reports about a session that is over, that lives elsewhere by now, or that are older than what is known, change
    nothing; that makes delivery at least once safe.
    """
    if session.is_final or session.host != host or not session.holds_slot:
        return None
    if 0 < sequence <= session.last_sequence:
        return None
    changed = replace(
        session,
        last_sequence=max(sequence, session.last_sequence),
        steps={**session.steps, **report.steps},
        port=report.port or session.port,
        build=report.build or session.build,
        participants=report.participants,
        detail=report.detail or session.detail,
    )
    if report.state in (_S.ENDED, _S.FAILED):
        # Whoever ordered the end ended it, even if the title crashed before the order arrived.
        ordered = session.reason if session.state is _S.STOPPING else None
        reason = ordered or report.reason or session.reason or EndReason.APP_EXITED
        if reason is EndReason.MAX_LENGTH and session.booking is not None:
            reason = EndReason.BOOKING_OVER  # to the relay, a booked time is a length like any other
        return finish(changed, reason, report.detail, now_ms)
    changed = _advance(changed, report.state, now_ms)
    if changed.state is _S.STOPPING and changed.reason is None:
        changed = replace(changed, reason=report.reason)
    changed = _length(changed, now_ms)
    # Not a change worth a write: the same facts once more.
    return None if replace(changed, last_sequence=session.last_sequence) == session and sequence == 0 else changed


def _advance(session: Session, state: SessionState, now_ms: int) -> Session:
    if session.state is _S.STOPPING or state is session.state or state not in (*_FORWARD, _S.STOPPING):
        return session
    if state is _S.STOPPING:
        return enter(session, state, now_ms)
    here, there = _FORWARD.index(session.state), _FORWARD.index(state)
    if there < here:
        # The only way back is from streaming to ready, when the last player has left.
        return enter(session, state, now_ms) if SESSION_TRANSITIONS.allows(session.state, state) else session
    for step in _FORWARD[here + 1 : there + 1]:
        session = enter(session, step, now_ms)
    return session


def _length(session: Session, now_ms: int) -> Session:
    """The end by maximum length counts from when the session could first be used; a warm one has none before it is
    somebody's."""
    if session.warm and session.owner is None:
        return session
    if session.ends_ms is None and session.max_length_seconds is not None and _S.READY in session.times:
        return replace(session, ends_ms=session.times[_S.READY] + int(session.max_length_seconds * 1000))
    return session


def adopt(session: Session, owner: Owner, now_ms: int, max_length_seconds: float | None) -> Session | None:
    """A warm session, or one on its way to be, that becomes somebody's; None when it cannot any more."""
    if not session.warm or session.owner is not None or session.state not in _FORWARD:
        return None
    ends = now_ms + int(max_length_seconds * 1000) if max_length_seconds is not None else None
    return replace(session, owner=owner, max_length_seconds=max_length_seconds, ends_ms=ends)


def extend(session: Session, ends_ms: int) -> Session | None:
    """A running session that is over later, and with it the invitations that were made for its time; None when it
    would not be later."""
    if session.state not in (_S.READY, _S.STREAMING) or session.ends_ms is None or ends_ms <= session.ends_ms:
        return None
    invites = {
        key: replace(invite, expires_ms=ends_ms) if invite.expires_ms == session.ends_ms else invite
        for key, invite in session.invites.items()
    }
    return replace(session, ends_ms=ends_ms, invites=invites)


def untold_end(session: Session, report: SessionReport) -> int | None:
    """The end that a host does not know of a session that runs there."""
    if session.is_final or report.state not in (_S.READY, _S.STREAMING):
        return None
    return session.ends_ms if session.ends_ms != report.ends_ms else None


def joinable(session: Session) -> bool:
    """May people enter now?"""
    return session.state in (_S.READY, _S.STREAMING) and session.port is not None
