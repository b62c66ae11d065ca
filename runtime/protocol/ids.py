"""Identifiers. Generation needs entropy and so lives in ``runtime.chassis.entropy``; the shapes are here."""

from __future__ import annotations

import re

# 26 characters of RFC 4648 base32, lower case: 130 bits, unguessable, safe in URLs, paths and file names.
SESSION_ID = re.compile(r"[a-z2-7]{26}")
# Names that operators choose: titles and hosts.
NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
PARTICIPANT_ID = re.compile(r"[a-z2-7]{16,26}")


def is_session_id(text: str) -> bool:
    return SESSION_ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None


def is_participant_id(text: str) -> bool:
    return PARTICIPANT_ID.fullmatch(text) is not None
