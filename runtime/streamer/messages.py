"""Data-channel messages as the sample title takes and sends them, in terms of the shared vocabulary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from runtime.protocol.datachannel import (
    CHANNEL_RELAY_STATUS_NUMBER,
    FROM_STREAMER,
    MAX_PLAYER_ID_BYTES,
    MULTIPLEXED_NUMBER,
    Direction,
    MalformedMessageError,
    Shape,
    Vocabulary,
    parse_multiplexed,
    protocol_message,
    text_message,
)
from runtime.protocol.datachannel import TO_STREAMER as BUILT_IN

# Longest string taken; the page's longest is a UIInteraction.
MAX_STRING_UNITS = 16_384
# From this number on messages say what a person did; below it they are questions about the session.
_FIRST_CONTROL_NUMBER = 50

# Epic's page sends one JSON string here although its built-in layout is empty, so ours says so.
_VOCABULARY = Vocabulary.built_in(Direction.TO_STREAMER).with_learned([Shape("DataChannelLatencyTest", 9, ("string",))])
_SHAPES: dict[str, Shape] = {name: shape for name in BUILT_IN if (shape := _VOCABULARY.named(name)) is not None}
_SENT = (
    "QualityControlOwnership", "Response", "Command", "VideoEncoderAvgQP", "LatencyTest", "InitialSettings", "TestEcho",
    "InputControlOwnership", "GamepadResponse", "DataChannelLatencyTest", "Protocol",
)  # fmt: skip


@dataclass(frozen=True)
class Message:
    """One decoded message; ``values`` as its layout says, strings as ``str``.

    ``player`` is set when it came wrapped for one player by an SFU.
    """

    name: str
    values: tuple[Any, ...] = ()
    player: str | None = None


def is_control(message: Message) -> bool:
    """Whether a person did this, as opposed to a question about the session."""
    shape = _SHAPES.get(message.name)
    return shape is not None and shape.number >= _FIRST_CONTROL_NUMBER and message.name != "Command"


def parse(data: bytes, *, from_sfu: bool = False) -> Message:
    """Decode one message towards the streamer; raise ``MalformedMessageError``.

    Only an SFU may wrap messages for other players: from a browser that would forge somebody else's input.
    """
    if not data:
        raise MalformedMessageError("empty message")
    if from_sfu and data[0] == MULTIPLEXED_NUMBER:
        player, inner = parse_multiplexed(data)
        message = parse(inner)
        return Message(message.name, message.values, player)
    if from_sfu and data[0] == CHANNEL_RELAY_STATUS_NUMBER:
        return _relay_status(data)
    shape = _VOCABULARY.numbered(data[0])
    if shape is None:
        raise MalformedMessageError(f"unknown message number {data[0]}")
    if len(data) > 3 + 2 * MAX_STRING_UNITS:
        raise MalformedMessageError(f"{shape.name} is {len(data)} bytes long")
    return Message(shape.name, shape.values(data))


def _relay_status(data: bytes) -> Message:
    """A player behind the SFU came (1) or went (0)."""
    size = int.from_bytes(data[1:3], "little")
    if len(data) < 4 + size or size > MAX_PLAYER_ID_BYTES:
        raise MalformedMessageError("ChannelRelayStatus is cut short")
    return Message("ChannelRelayStatus", (data[3 + size],), data[3 : 3 + size].decode("utf-16-le", "replace"))


def from_player(name: str, *values: Any) -> bytes:
    """What a player sends; for tests and for whoever drives the scene by program."""
    return _SHAPES[name].message(*values)


def text(name: str, value: str) -> bytes:
    """A message from the streamer whose payload is text."""
    return text_message(FROM_STREAMER[name][0], value)


def as_json(name: str, value: Any) -> bytes:
    """A message from the streamer whose payload is JSON text."""
    return text(name, json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def flag(name: str, value: bool) -> bytes:
    """A message from the streamer whose payload is one boolean byte."""
    return bytes((FROM_STREAMER[name][0], int(value)))


def empty(name: str) -> bytes:
    """A message from the streamer without payload."""
    return bytes((FROM_STREAMER[name][0],))


def protocol_messages() -> tuple[bytes, bytes]:
    """The two ``Protocol`` messages that open the conversation: to the streamer, then from it."""
    numbers = {"QualityControlOwnership": ("uint8",), "InputControlOwnership": ("uint8",), "TestEcho": ()}
    sent = (Shape(name, FROM_STREAMER[name][0], numbers.get(name, ("string",))) for name in _SENT)
    return protocol_message(Direction.TO_STREAMER, _SHAPES.values()), protocol_message(Direction.FROM_STREAMER, sent)
