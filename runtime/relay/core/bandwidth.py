"""Which bitrate the streamer's encoder is asked for, given what each player can take."""

from __future__ import annotations

from enum import StrEnum


class BandwidthPolicy(StrEnum):
    """Title setting ``bandwidth``: whose link decides the quality that everybody sees."""

    PROTECT_CONTROLLER = "protect_controller"
    PROTECT_SLOWEST = "protect_slowest"
    FIXED = "fixed"
