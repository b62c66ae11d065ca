"""What the room asks its driver to do."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.protocol.room import CloseCode, ToClient, VoiceState


@dataclass(frozen=True)
class Tell:
    """Send to one participant's page."""

    participant_id: str
    message: ToClient


@dataclass(frozen=True)
class TellAll:
    """Send to every page, except to ``but``."""

    message: ToClient
    but: str | None = None


@dataclass(frozen=True)
class Dismiss:
    """Close every connection of a participant."""

    participant_id: str
    code: CloseCode
    message: str


@dataclass(frozen=True)
class RolesChanged:
    """Owner or holder of control is another one now."""


@dataclass(frozen=True)
class Acted:
    """A person did something."""

    participant_id: str


@dataclass(frozen=True)
class VoiceChanged:
    """``joins``: the page asks for a (new) connection."""

    participant_id: str
    voice: VoiceState
    joins: bool = False


Effect = Tell | TellAll | Dismiss | RolesChanged | Acted | VoiceChanged
