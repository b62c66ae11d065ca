"""What the data-channel rules ask their driver to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ToPlayer:
    player_id: str
    message: bytes


@dataclass(frozen=True)
class ToStreamer:
    """``player_id`` is on whose behalf; a shared channel has no use for it."""

    message: bytes
    player_id: str


@dataclass(frozen=True)
class WantKeyframe:
    player_id: str


@dataclass(frozen=True)
class Active:
    """A person did something."""

    participant_id: str


@dataclass(frozen=True)
class Flooding:
    """This player sends more than anybody's hands can cause: close it."""

    player_id: str


Effect = ToPlayer | ToStreamer | WantKeyframe | Active | Flooding
