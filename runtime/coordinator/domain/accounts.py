"""People, programs, and what administrators did. Times are epoch milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """Somebody who signs in with a password."""

    name: str
    password_hash: str  # argon2id, PHC form
    display_name: str = ""
    groups: tuple[str, ...] = ()
    admin: bool = False
    disabled: bool = False
    # Cookies issued before this no longer hold: a changed password signs out everywhere.
    valid_from_ms: int = 0
    created_ms: int = 0
    version: int = 1
    changed_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A program's key. Only its hash is kept: it has 256 random bits, so that nothing slower is needed."""

    id: str
    name: str
    sha256: str
    scopes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    created_by: str = ""
    created_ms: int = 0
    expires_ms: int | None = None
    revoked_ms: int | None = None
    version: int = 1
    changed_ms: int = 0

    def holds(self, now_ms: int) -> bool:
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """One action of an administrator, or one sign-in."""

    id: str
    at_ms: int
    by: str  # principal id
    by_name: str
    action: str  # "host.drain", "session.end", "user.put", "sign_in" ...
    subject: str
    address: str
    request_id: str
    details: dict[str, str] = field(default_factory=dict)
    version: int = 1
    changed_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class IdempotencyClaim:
    """A create request that carried an Idempotency-Key."""

    id: str  # hash of principal and key
    body_sha256: str
    session: str  # what it creates: a session, or a (first) booking
    created_ms: int
    version: int = 1
    changed_ms: int = 0
