"""Who may send which data-channel message, and who gets what the streamer sends.

Judged by **name**, because a streamer's Protocol message may give a name any number. What has no rule is refused to
everyone but the participant in control.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum, auto


class Upward(Enum):
    """What happens to a player's message."""

    KEYFRAME = auto()  # the relay asks by RTCP
    OWNERSHIP = auto()  # the relay answers
    SETTINGS = auto()  # answered from the cache
    QUESTION = auto()  # forwarded for anyone at a low rate; the answer goes to who asked
    REFUSED = auto()  # would stop or start the picture for everybody
    COMMAND = auto()  # by its keys
    CONTROL = auto()  # only from the participant in control
    UNKNOWN = auto()  # no rule: as CONTROL, and no activity


_QUESTIONS = ("LatencyTest", "DataChannelLatencyTest", "TestEcho")
_UPWARD: Mapping[str, Upward] = {
    "IFrameRequest": Upward.KEYFRAME,
    "RequestQualityControl": Upward.OWNERSHIP,
    "RequestInitialSettings": Upward.SETTINGS,
    **dict.fromkeys(_QUESTIONS, Upward.QUESTION),
    "StartStreaming": Upward.REFUSED,
    "StopStreaming": Upward.REFUSED,
    "Command": Upward.COMMAND,
    **dict.fromkeys(
        (
            "UIInteraction",
            "TextboxEntry",
            "KeyDown",
            "KeyUp",
            "KeyPress",
            "MouseEnter",
            "MouseLeave",
            "MouseDown",
            "MouseUp",
            "MouseMove",
            "MouseWheel",
            "MouseDouble",
            "TouchStart",
            "TouchEnd",
            "TouchMove",
            "GamepadButtonPressed",
            "GamepadButtonReleased",
            "GamepadAnalog",
            "GamepadConnected",
            "GamepadDisconnected",
            "XRHMDTransform",
            "XREyeViews",
            "XRControllerTransform",
            "XRButtonPressed",
            "XRButtonReleased",
            "XRButtonTouched",
            "XRButtonTouchReleased",
            "XRAnalog",
            "XRSystem",
        ),
        Upward.CONTROL,
    ),
}
# Names only the relay or the streamer may use; from a browser they would be forgeries.
FORGED_NAMES = frozenset({"Multiplexed", "ChannelRelayStatus", "Protocol"})


def upward(name: str) -> Upward:
    return _UPWARD.get(name, Upward.UNKNOWN)


class Downward(Enum):
    """Who gets a streamer's message when all players share one channel to it."""

    EVERYONE = auto()
    REQUESTER = auto()  # whoever asked the question it answers
    CONTROLLER = auto()
    FILE = auto()  # the participant in control when the file began
    SETTINGS = auto()  # cached; everyone when it changed
    LOCAL = auto()  # says something about the relay's own player: the relay tells players itself
    FREEZE = auto()  # everyone, and replayed to joiners
    UNFREEZE = auto()


_DOWNWARD: Mapping[str, Downward] = {
    "QualityControlOwnership": Downward.LOCAL,
    "InputControlOwnership": Downward.LOCAL,
    "Response": Downward.EVERYONE,
    "Command": Downward.CONTROLLER,
    "FreezeFrame": Downward.FREEZE,
    "UnfreezeFrame": Downward.UNFREEZE,
    "VideoEncoderAvgQP": Downward.EVERYONE,
    "LatencyTest": Downward.REQUESTER,
    "InitialSettings": Downward.SETTINGS,
    "FileExtension": Downward.FILE,
    "FileMimeType": Downward.FILE,
    "FileContents": Downward.FILE,
    "TestEcho": Downward.REQUESTER,
    "GamepadResponse": Downward.REQUESTER,
    "DataChannelLatencyTest": Downward.REQUESTER,
}
# answer -> the question it belongs to
QUESTION_OF: Mapping[str, str] = {
    "LatencyTest": "LatencyTest",
    "TestEcho": "TestEcho",
    "DataChannelLatencyTest": "DataChannelLatencyTest",
    "GamepadResponse": "GamepadConnected",
}


def downward(name: str) -> Downward:
    """A name without a rule was declared by the title for its own page code: everyone."""
    return _DOWNWARD.get(name, Downward.EVERYONE)


class CommandKind(Enum):
    """What a ``Command`` message asks for, by its JSON keys."""

    RESOLUTION = auto()  # Resolution.*: the shape of the window of who is in control
    QUALITY = auto()  # Encoder.*, WebRTC.*: limits of the picture everybody gets
    CONSOLE = auto()  # anything Unreal's console understands
    MALFORMED = auto()


_SETTING_PREFIXES = ("Resolution.", "Encoder.", "WebRTC.")


def command_kind(text: str) -> CommandKind:
    """Judged by the most powerful key: one outside the settings makes the whole message a console command."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return CommandKind.MALFORMED
    if not isinstance(body, dict) or not body:
        return CommandKind.MALFORMED
    if all(key.startswith("Resolution.") for key in body):
        return CommandKind.RESOLUTION
    if all(key.startswith(_SETTING_PREFIXES) for key in body):
        return CommandKind.QUALITY
    return CommandKind.CONSOLE


# Control messages that arrive without anybody doing anything: they pass, but keep no session alive.
_NO_ACTIVITY = frozenset(
    {
        "MouseLeave",
        "GamepadConnected",
        "GamepadDisconnected",
        # Headsets report their pose for ever, also on a table.
        "XRHMDTransform",
        "XREyeViews",
        "XRControllerTransform",
        "XRSystem",
    }
)


def is_activity(name: str, values: tuple[object, ...]) -> bool:
    """Whether a control message shows that a person is there. ``GamepadAnalog`` is judged by its change instead."""
    if name == "MouseMove":
        # Browsers send a move without movement when the page changes under a resting pointer.
        return any(values[2:4])
    return name not in _NO_ACTIVITY
