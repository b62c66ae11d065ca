"""Settings that a player may change through ``Command`` messages, and the ``InitialSettings`` that announce them.

Keys as Epic's page sends them (PixelStreamingInfrastructure, Frontend): ``Resolution.*``, ``Encoder.*``, ``WebRTC.*``,
and ``ConsoleCommand``, which is obeyed only when the title was started with ``-AllowPixelStreamingCommands``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from .config import MAX_BITRATE_BPS, MIN_BITRATE_BPS, StreamerOptions
from .ratecontrol import RateControl
from .video import VideoPipeline


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one command changes; None leaves a setting alone. QP as H.264 counts, 0..51."""

    size: tuple[int, int] | None = None
    fps: int | None = None
    min_qp: int | None = None
    max_qp: int | None = None
    min_bitrate_bps: int | None = None
    max_bitrate_bps: int | None = None


def parse(text: str, *, allow_console: bool) -> Change:
    """Read a ``Command`` message's JSON; raise ``ValueError`` when it is none. Unknown keys change nothing."""
    try:
        body = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(body, dict):
        raise ValueError("a command is a JSON object")
    width, height = _whole(body, "Resolution.Width"), _whole(body, "Resolution.Height")
    size = (width, height) if width is not None and height is not None and width > 0 and height > 0 else None
    if allow_console and size is None:
        size = _console_size(body.get("ConsoleCommand"))
    min_quality, max_quality = _whole(body, "Encoder.MinQuality"), _whole(body, "Encoder.MaxQuality")
    fps = _whole(body, "WebRTC.Fps", "WebRTC.MaxFps")
    return Change(
        size=size,
        fps=fps if fps is not None and fps > 0 else None,
        # Quality runs the other way: the best quality allowed is the smallest quantiser.
        min_qp=_whole(body, "Encoder.MinQP") if max_quality is None else quality_to_qp(max_quality),
        max_qp=_whole(body, "Encoder.MaxQP") if min_quality is None else quality_to_qp(min_quality),
        min_bitrate_bps=_bitrate(body, "WebRTC.MinBitrate"),
        max_bitrate_bps=_bitrate(body, "WebRTC.MaxBitrate"),
    )


def quality_to_qp(quality: int) -> int:
    """Quantiser of a quality 0..100, as Pixel Streaming 2 counts."""
    return round(51 * (1 - min(100, max(0, quality)) / 100))


def qp_to_quality(quantiser: int) -> int:
    """The inverse of ``quality_to_qp``."""
    return round(100 * (1 - quantiser / 51))


def _whole(body: dict[str, Any], *keys: str) -> int | None:
    """The first of the keys that holds a number; the page sends some numbers as text."""
    for key in keys:
        value = body.get(key)
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,12}", value):
            return int(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
            return int(value)
    return None


def _bitrate(body: dict[str, Any], key: str) -> int | None:
    """Bits per second within what the encoders take; 0 and less mean "not set" on Epic's page."""
    value = _whole(body, key)
    return None if value is None or value <= 0 else min(MAX_BITRATE_BPS, max(MIN_BITRATE_BPS, value))


def _console_size(command: Any) -> tuple[int, int] | None:
    """The size of ``r.SetRes 1920x1080[w|f]``."""
    match = (
        re.fullmatch(r"\s*r\.SetRes\s+(\d{2,5})x(\d{2,5})[wf]?\s*", command, re.I) if isinstance(command, str) else None
    )
    return (int(match[1]), int(match[2])) if match else None


def initial_settings(options: StreamerOptions, video: VideoPipeline, rate: RateControl) -> dict[str, Any]:
    """The body of ``InitialSettings``: both generations' names, because the page takes what it knows."""
    settings = video.settings
    return {
        "PixelStreaming": {"AllowPixelStreamingCommands": options.allow_commands, "DisableLatencyTest": False},
        "Encoder": {
            "TargetBitrate": rate.target_bps,
            "MaxBitrate": rate.max_bps,
            "MinQP": settings.min_qp,
            "MaxQP": settings.max_qp,
            "MinQuality": qp_to_quality(settings.max_qp),
            "MaxQuality": qp_to_quality(settings.min_qp),
            "RateControl": "CBR",
            "FillerData": False,
            "MultiPass": "DISABLED",
        },
        "WebRTC": {
            "DegradationPref": "MAINTAIN_FRAMERATE",
            "FPS": video.fps,
            "MaxFPS": options.fps,
            "MinBitrate": rate.min_bps,
            "MaxBitrate": rate.max_bps,
            "LowQP": 25,
            "HighQP": 37,
        },
        # The scene draws where the pointer is; a page must not catch the mouse for it.
        "ConfigOptions": {"DefaultToHover": True},
    }
