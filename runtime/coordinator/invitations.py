"""Invitations: links whose secret is kept as a hash, found by a part of it. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping

from runtime.protocol.errors import ServiceError
from runtime.protocol.states import Role

from .domain.model import Invite

_LABEL_CHARACTERS = 100
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def new_invite(secret: str, role: Role, now_ms: int, expires_ms: int, label: str) -> tuple[str, Invite]:
    """The id and record of an invitation whose link ends with ``secret``."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    invite = Invite(
        sha256=digest, role=role, created_ms=now_ms, expires_ms=expires_ms, label=clean(label, _LABEL_CHARACTERS)
    )
    return _id(digest), invite


def match(invites: Mapping[str, Invite], secret: str, now_ms: int) -> tuple[str, Invite]:
    """The invitation that ``secret`` opens; raise ``invite_not_found``, ``invite_revoked`` or ``invite_expired``."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    invite_id = _id(digest)
    found = invites.get(invite_id)
    if found is None or not hmac.compare_digest(found.sha256, digest):
        raise ServiceError("invite_not_found")
    if found.revoked_ms is not None:
        raise ServiceError("invite_revoked")
    if found.expires_ms <= now_ms:
        raise ServiceError("invite_expired")
    return invite_id, found


def invite_id_of(secret: str) -> str:
    """The id of the invitation whose link ends with ``secret``."""
    return _id(hashlib.sha256(secret.encode()).hexdigest())


def clean(text: str, characters: int) -> str:
    """One line without control and direction characters, which could disguise a name as another."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split())[:characters]


def _id(digest: str) -> str:
    return base64.b32encode(bytes.fromhex(digest)).decode("ascii").lower()[:16]
