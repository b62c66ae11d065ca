"""Who may do what. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.protocol.states import Role

from .model import Member, Owner, Session, Title

ANONYMOUS, USER, OIDC, KEY = "anonymous", "user", "oidc", "key"
# What an API key may be limited to. ``admin`` includes all.
SCOPES = ("titles:read", "sessions:read", "sessions:write", "bookings:read", "bookings:write", "admin")


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who is asking. ``scopes`` None: not a key, so everything a person may do."""

    id: str  # "anonymous:...", "user:...", "oidc:...", "key:..."
    kind: str
    name: str = ""
    groups: frozenset[str] = frozenset()
    admin: bool = False
    scopes: frozenset[str] | None = None
    # May do more than follow an invitation.
    entitled: bool = True

    def has_scope(self, scope: str) -> bool:
        return self.scopes is None or scope in self.scopes or "admin" in self.scopes

    def owner(self) -> Owner:
        return Owner(id=self.id, kind=self.kind, name=self.name)


def may_start(principal: Principal, title: Title) -> bool:
    """May start (and book) sessions of the title."""
    if title.retired or not principal.entitled:
        return False
    return principal.admin or not title.access.groups or bool(principal.groups & set(title.access.groups))


def may_see(principal: Principal, title: Title) -> bool:
    """Finds the title in the catalogue."""
    if title.retired or not principal.entitled:
        return False
    return title.access.listed or may_start(principal, title)


def owns(principal: Principal, session: Session) -> bool:
    return session.owner is not None and session.owner.id == principal.id


def may_end(principal: Principal, session: Session) -> bool:
    return principal.admin or owns(principal, session)


def standing_role(principal: Principal, session: Session, member: Member | None, now_ms: int) -> Role | None:
    """The role of somebody who brings no invitation: the owner's, or that of an earlier one which still holds.

    An administrator may watch, which the audit log keeps.
    """
    if owns(principal, session):
        return Role.OWNER
    if member is not None:
        invite = session.invites.get(member.invite)
        if invite is not None and invite.revoked_ms is None and invite.expires_ms > now_ms:
            return member.role
    return Role.WATCHER if principal.admin else None
