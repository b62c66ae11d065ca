"""Records as the viewer interface shows them (openapi.yaml). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runtime.protocol.control import IceServer
from runtime.protocol.states import Role, SessionState

from .config import Sessions
from .domain.access import Principal, may_start
from .domain.booking import Booking
from .domain.model import Invite, Session, Title
from .domain.session import REASON_TEXTS
from .scheduler import Availability

Json = dict[str, Any]


def title_json(
    title: Title, available: Availability, wait_seconds: float | None, principal: Principal, defaults: Sessions
) -> Json:
    limits = title.limits
    startable = may_start(principal, title)
    return {
        "name": title.name,
        "display_name": title.display_name or {"en": title.name},
        "description": title.description,
        "picture_url": picture_url(title),
        "availability": {
            "state": available.state,
            "free": available.free,
            "wait_seconds": wait_seconds if available.state == "busy" else None,
        },
        "limits": {
            "max_players": limits.max_players,
            "idle_seconds": limits.idle_seconds or defaults.idle_seconds,
            "idle_warning_seconds": limits.idle_warning_seconds or defaults.idle_warning_seconds,
            "max_length_seconds": limits.max_length_seconds or defaults.max_length_seconds,
        },
        "control_policy": title.control_policy,
        "tags": list(title.tags),
        "features": {
            "chat": title.features.chat,
            "voice": title.features.voice,
            "microphone": title.features.microphone,
        },
        "startable": startable,
        "bookable": startable and title.bookable,
    }


def picture_url(title: Title) -> str:
    if title.picture is not None and title.picture.startswith("/static/"):
        return title.picture
    return f"/api/v1/titles/{title.name}/picture?v={(title.picture or 'none')[:16]}"


def session_json(
    session: Session, role: Role | None, queue: tuple[int, float | None] | None, *, admin: bool = False
) -> Json:
    """``queue``: position and estimate of a queued session. ``admin`` adds what operators need."""
    shown: Json = {
        "id": session.id,
        "title": session.title,
        "state": session.state,
        "reason": session.reason,
        "reason_text": REASON_TEXTS[session.reason] if session.reason else None,
        "steps": [{"step": s, "at": at} for s, at in sorted(session.steps.items(), key=lambda item: item[1])],
        "queue": {"position": queue[0], "wait_seconds": queue[1]} if queue else None,
        "role": role,
        "created_at": session.created_ms,
        "ready_at": session.times.get(SessionState.READY),
        "ends_at": session.ends_ms,
        "ended_at": session.ended_ms,
        "participants": session.participants,
        "booking": session.booking,
    }
    if admin:
        owner = session.owner
        shown |= {
            "host": session.host,
            "owner": {"id": owner.id, "kind": owner.kind, "name": owner.name} if owner else None,
            "placement": session.placement,
            "detail": session.detail,
            "build": session.build,
            "warm": session.warm,
        }
    return shown


def invite_json(invite_id: str, invite: Invite, session: Session, url: str | None = None) -> Json:
    return {
        "id": invite_id,
        "role": invite.role,
        "url": url,
        "expires_at": invite.expires_ms,
        "revoked": invite.revoked_ms is not None,
        "created_at": invite.created_ms,
        "uses": sum(member.invite == invite_id for member in session.members.values()),
        "label": invite.label,
    }


def booking_json(
    booking: Booking, links: Mapping[str, str], *, open_before_seconds: float, public_url: str, admin: bool = False
) -> Json:
    """``links``: invitation id -> its address, right after the booking was made."""
    shown: Json = {
        "id": booking.id,
        "title": booking.title,
        "state": booking.state,
        "starts_at": booking.start_ms,
        "ends_at": booking.end_ms,
        "opens_at": booking.start_ms - int(open_before_seconds * 1000),
        "time_zone": booking.time_zone,
        "label": booking.label,
        "series": booking.series,
        "rrule": booking.rrule,
        "session": booking.session,
        "invitees": [
            {
                "invite": invitee.invite,
                "role": booking.invites[invitee.invite].role,
                "name": invitee.name,
                "email": invitee.email,
                "url": links.get(invitee.invite),
            }
            for invitee in booking.invitees
        ],
        "created_at": booking.created_ms,
        "calendar_url": f"{public_url}/api/v1/bookings/{booking.id}/calendar.ics",
    }
    if admin:
        shown["owner"] = {"id": booking.owner.id, "kind": booking.owner.kind, "name": booking.owner.name}
    return shown


def ice_json(servers: Iterable[IceServer]) -> list[Json]:
    shown = []
    for server in servers:
        entry: Json = {"urls": list(server.urls)}
        # Browsers refuse null where they expect a text.
        if server.username is not None:
            entry["username"] = server.username
        if server.credential is not None:
            entry["credential"] = server.credential
        shown.append(entry)
    return shown
