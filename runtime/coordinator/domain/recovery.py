"""What a reaper must do with one session or slot, given what is known. Pure; repeating an action does no harm."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runtime.protocol.states import EndReason, SessionState

from .model import Host, Session, Slot, places_of

# A slot is claimed just before its session is written; only an older claim without a session is an orphan.
ORPHAN_AFTER_MS = 15_000
# The instance that changed a session last brings it on its way; others step in after this long.
RESUME_AFTER_MS = 5_000
OVERTIME_MS = 15_000
_S = SessionState


class Action(StrEnum):
    NOTHING = "nothing"
    RESUME = "resume"  # send the start or stop request again
    STOP = "stop"  # order the end
    FINISH = "finish"  # write the end


@dataclass(frozen=True)
class Verdict:
    action: Action
    reason: EndReason | None = None
    detail: str | None = None


_NOTHING = Verdict(Action.NOTHING)


def judge_session(
    session: Session, host: Host | None, now_ms: int, *, lease_seconds: float, watched_since_ms: int
) -> Verdict:
    """``watched_since_ms``: from when on heartbeats could be received and kept without a gap. Silence from before that
    proves nothing, so that an outage of coordinator or database ends no session."""
    if not session.holds_slot:
        return _NOTHING
    lease_ms = int(lease_seconds * 1000)
    if host is None:
        return Verdict(Action.FINISH, EndReason.HOST_LOST, "The host is no longer in the registry.")
    heard_ms = max(host.heartbeat.at_ms if host.heartbeat else 0, watched_since_ms)
    if session.state is _S.LEASED:
        # The start request itself is bounded by the lease; a host that is silent may still be answering requests.
        expired = now_ms > max(session.lease_expires_ms or 0, watched_since_ms + lease_ms)
        if expired:
            return Verdict(Action.FINISH, EndReason.START_FAILED, f"The host {host.name} did not start it in time.")
        return _resume(session, now_ms)
    if now_ms - heard_ms > lease_ms:
        return Verdict(
            Action.FINISH,
            EndReason.HOST_LOST,
            f"The host {host.name} was not heard of for {(now_ms - heard_ms) // 1000} s.",
        )
    if session.state is _S.STOPPING:
        return _resume(session, now_ms)
    return _over(session, now_ms)


def _over(session: Session, now_ms: int) -> Verdict:
    """The relay ends a session by length itself, after warning; this is for one that does not."""
    if session.ends_ms is None:
        return _NOTHING
    if session.booking is not None and now_ms >= session.ends_ms:
        return Verdict(Action.STOP, EndReason.BOOKING_OVER)
    if now_ms >= session.ends_ms + OVERTIME_MS:
        return Verdict(Action.STOP, EndReason.MAX_LENGTH)
    return _NOTHING


def _resume(session: Session, now_ms: int) -> Verdict:
    return Verdict(Action.RESUME) if now_ms - session.changed_ms >= RESUME_AFTER_MS else _NOTHING


def is_orphan(slot: Slot, session: Session | None, now_ms: int) -> bool:
    """Does a taken slot belong to no session that holds it?"""
    if now_ms - slot.claimed_ms < ORPHAN_AFTER_MS:
        return False
    if session is None or not session.holds_slot:
        return True
    return slot.host != places_of(session.title) and (session.host, session.slot) != (slot.host, slot.number)
