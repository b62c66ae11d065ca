"""Unguessable identifiers and secrets, from the operating system's generator."""

from __future__ import annotations

import base64
import secrets


def _base32(byte_count: int, characters: int) -> str:
    return base64.b32encode(secrets.token_bytes(byte_count)).decode("ascii").lower()[:characters]


def new_session_id() -> str:
    """26 characters, 130 bits; matches ``runtime.protocol.ids.SESSION_ID``."""
    return _base32(17, 26)


def new_participant_id() -> str:
    """16 characters, 80 bits; matches ``runtime.protocol.ids.PARTICIPANT_ID``."""
    return _base32(10, 16)


def new_event_id() -> str:
    """26 characters, 130 bits."""
    return _base32(17, 26)


def new_secret() -> str:
    """43 URL-safe characters, 256 bits."""
    return secrets.token_urlsafe(32)
