"""Stable error codes of every interface, each with its HTTP status, a sentence and what to do.

Codes never change meaning; clients translate by code. ``message`` may be replaced by a more precise one where raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ErrorKind:
    status: int
    message: str
    fix: str


ERRORS: dict[str, ErrorKind] = {
    "bad_request": ErrorKind(400, "The request is not valid.", "Correct the named fields and send it again."),
    "bad_json": ErrorKind(
        400, "The body is not valid JSON.", "Send one JSON object, UTF-8, Content-Type application/json."
    ),
    "unauthenticated": ErrorKind(401, "You are not signed in.", "Sign in and try again."),
    "sign_in_failed": ErrorKind(401, "Name or password is wrong.", "Check both, and the keyboard's language."),
    "sign_in_unavailable": ErrorKind(
        502, "The sign-in service does not answer.", "Try again; tell an operator if it stays."
    ),
    "csrf_failed": ErrorKind(
        403, "The request carries no valid CSRF token.", "Reload the page; send X-CSRF-Token from /api/v1/me."
    ),
    "forbidden": ErrorKind(403, "You may not do this.", "Ask the session's owner or an administrator."),
    "origin_refused": ErrorKind(
        403, "This site may not use the service.", "Ask an operator to add the origin to the CORS list."
    ),
    "not_found": ErrorKind(404, "There is nothing here.", "Check the address."),
    "title_not_found": ErrorKind(404, "This title does not exist.", "Choose one from the catalogue."),
    "session_not_found": ErrorKind(404, "This session does not exist.", "It may have ended long ago; start a new one."),
    "invite_not_found": ErrorKind(404, "This invitation does not exist.", "Ask for a new link."),
    "method_not_allowed": ErrorKind(405, "This method is not offered here.", "See /docs."),
    "conflict": ErrorKind(409, "Something else changed this at the same time.", "Read it again and retry."),
    "idempotency_mismatch": ErrorKind(
        409, "This Idempotency-Key was used with another body.", "Use a new key for a new request."
    ),
    "session_ended": ErrorKind(410, "This session has ended.", "Start a new one."),
    "invite_expired": ErrorKind(410, "This invitation has expired.", "Ask for a new link."),
    "invite_revoked": ErrorKind(410, "This invitation was withdrawn.", "Ask for a new link."),
    "precondition_failed": ErrorKind(
        412, "It has been changed since you read it.", "Read it again and repeat the change on that."
    ),
    "too_large": ErrorKind(413, "The request is too large.", "Send less."),
    "rate_limited": ErrorKind(429, "Too many requests.", "Wait for the time in Retry-After."),
    "session_not_ready": ErrorKind(409, "The session is still starting.", "Wait for state ready, then join."),
    "no_capacity": ErrorKind(
        503, "Every host that can run this title is busy.", "Try again later, or wait in the queue."
    ),
    "no_host": ErrorKind(503, "No host that can run this title is online.", "Try again later or tell an operator."),
    "host_unreachable": ErrorKind(
        502, "The streaming host did not answer.", "Try again; tell an operator if it stays."
    ),
    "database_unavailable": ErrorKind(503, "The database does not answer.", "Try again in a few seconds."),
    "internal": ErrorKind(500, "Something went wrong on our side.", "Try again; give the request id to an operator."),
    "queue_full": ErrorKind(503, "The queue is full.", "Try again in a few minutes."),
    "session_limit": ErrorKind(
        409, "You already have as many sessions as one person may have.", "End one of them first."
    ),
    "extension_refused": ErrorKind(
        409, "The session cannot be given more time.", "Start or book another one when this one is over."
    ),
    "booking_not_found": ErrorKind(404, "This booking does not exist.", "Check the address."),
    "booking_limit": ErrorKind(409, "You have booked as much as one person may.", "Cancel a booking first."),
    "window_taken": ErrorKind(409, "This window is taken.", "Take the next free one, or another title."),
    # control interface
    "control_unsigned": ErrorKind(
        401, "The control request carries no valid signature.", "Check control_secret and host name on both sides."
    ),
    "control_expired": ErrorKind(
        401, "The control request's signature is out of date.", "Set the clocks of both machines."
    ),
    "control_replayed": ErrorKind(401, "This control request was already used.", "Sign every request anew."),
    "control_mismatch": ErrorKind(
        401, "The signature belongs to another request.", "Sign method, path and body of this request."
    ),
    "host_unknown": ErrorKind(
        404, "This host is not in the registry.", "Run playbooks/deploy.yml, or correct the host name."
    ),
    "host_full": ErrorKind(409, "The host has no free slot.", "Place the session elsewhere."),
    "draining": ErrorKind(409, "The host takes no new sessions.", "Place the session elsewhere, or resume the host."),
    "title_unavailable": ErrorKind(
        409, "The host cannot run this title.", "Check the executable path in the inventory."
    ),
    # relay
    "token_missing": ErrorKind(
        401, "The address carries no join token.", "Open the session from the catalogue or an invite link."
    ),
    "token_invalid": ErrorKind(401, "The join token is not valid for this session.", "Open the link again."),
    "token_expired": ErrorKind(401, "The join token has expired.", "Open the link again."),
    "session_full": ErrorKind(403, "The session is full.", "Try again when somebody has left."),
    "session_locked": ErrorKind(403, "The owner has locked the session.", "Ask the owner to unlock it."),
    "kicked": ErrorKind(403, "The owner has removed you from the session.", "Ask the owner for a new invitation."),
    "not_in_control": ErrorKind(403, "Somebody else is in control.", "Ask for control."),
    "unknown_message": ErrorKind(400, "This message type is not known.", "See docs/room-protocol.md."),
    "bad_message": ErrorKind(400, "The message is not valid.", "See docs/room-protocol.md."),
}


class ServiceError(Exception):
    """An error with a stable code, raised by domain code and rendered once at the edge."""

    def __init__(
        self, code: str, message: str | None = None, *, details: Any = None, retry_after_seconds: float | None = None
    ):
        kind = ERRORS[code]
        super().__init__(message or kind.message)
        self.code = code
        self.status = kind.status
        self.message = message or kind.message
        self.fix = kind.fix
        self.details = details
        self.retry_after_seconds = retry_after_seconds

    def body(self) -> dict[str, Any]:
        """The JSON shape of an error, without the request id."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "fix": self.fix}
        if self.details is not None:
            error["details"] = self.details
        return {"error": error}
