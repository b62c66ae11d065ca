"""Epic's data-channel messages: names, numbers, layouts, and the ``Protocol`` message that may redefine them.

Source: EpicGames/PixelStreamingInfrastructure (MIT), ``Frontend/library/src/UeInstanceMessage`` and the SFU's framing.
Byte 0 of every message is its number; integers are little-endian. A ``string`` towards the streamer is a uint16 count
of UTF-16 code units and then UTF-16LE; text from the streamer is UTF-16LE from byte 1 to the end.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

PROTOCOL_NUMBER = 255
MULTIPLEXED_NUMBER = 199
CHANNEL_RELAY_STATUS_NUMBER = 198
# Only an SFU may send these towards a streamer; from a browser they would forge another player's input.
SFU_NUMBERS = frozenset({MULTIPLEXED_NUMBER, CHANNEL_RELAY_STATUS_NUMBER})

MAX_NAMES = 256  # one byte numbers them
MAX_NAME_CHARACTERS = 64
MAX_PLAYER_ID_BYTES = 512

_FORMATS: Mapping[str, str] = {
    "uint8": "B",
    "int8": "b",
    "uint16": "H",
    "int16": "h",
    "uint32": "I",
    "int32": "i",
    "float": "f",
    "double": "d",
}
_OPEN_ENDED = frozenset({"string", "raw", "file"})
_KINDS = _OPEN_ENDED.union(_FORMATS)
# Unreal 5.1 and 5.2 name these without their layout; the page keeps its own then, and so do we.
_LAYOUT_MAY_BE_OMITTED = frozenset({"UIInteraction", "Command", "LatencyTest"})


class Direction(IntEnum):
    """The ``Direction`` member of a ``Protocol`` message."""

    TO_STREAMER = 0
    FROM_STREAMER = 1


class MalformedMessageError(ValueError):
    """Bytes that do not follow the vocabulary. The text says what is wrong and never shows content."""


@dataclass(frozen=True)
class Shape:
    """One message: its name, number and layout; ``layout`` is None when it is not known."""

    name: str
    number: int
    layout: tuple[str, ...] | None
    fixed: struct.Struct | None = field(default=None, compare=False, repr=False)

    def values(self, message: bytes) -> tuple[Any, ...]:
        """What the message carries; () when the layout is unknown or open-ended in a way we do not read.

        Raise :class:`MalformedMessageError` when the message is shorter than its layout.
        """
        if self.fixed is not None:
            if len(message) < 1 + self.fixed.size:
                raise MalformedMessageError(f"{self.name} is {len(message)} bytes long, not {1 + self.fixed.size}")
            return self.fixed.unpack_from(message, 1)
        if self.layout is None:
            return ()
        return self._open_values(message)

    def _open_values(self, message: bytes) -> tuple[Any, ...]:
        found: list[Any] = []
        offset = 1
        for kind in self.layout or ():
            if kind == "string":
                text, offset = _read_string(message, offset, self.name)
                found.append(text)
            elif kind in _OPEN_ENDED:
                found.append(message[offset:])
                break
            else:
                code = "<" + _FORMATS[kind]
                size = struct.calcsize(code)
                if len(message) < offset + size:
                    raise MalformedMessageError(f"{self.name} ends inside a value")
                found.extend(struct.unpack_from(code, message, offset))
                offset += size
        return tuple(found)

    def message(self, *values: Any) -> bytes:
        """Encode; raise :class:`MalformedMessageError` when the values do not fit the layout."""
        layout = self.layout or ()
        if len(values) != len(layout):
            raise MalformedMessageError(f"{self.name} takes {len(layout)} values, not {len(values)}")
        parts = [bytes((self.number,))]
        try:
            for kind, value in zip(layout, values, strict=True):
                if kind == "string":
                    parts.append(_string(value))
                elif kind in _OPEN_ENDED:
                    parts.append(value)
                else:
                    parts.append(struct.pack("<" + _FORMATS[kind], value))
        except (struct.error, TypeError, AttributeError):
            raise MalformedMessageError(f"{self.name}: a value does not fit its layout") from None
        return b"".join(parts)


def _shape(name: str, number: int, layout: Iterable[str] | None) -> Shape:
    kinds = None if layout is None else tuple(layout)
    fixed = None
    if kinds is not None and not _OPEN_ENDED.intersection(kinds):
        fixed = struct.Struct("<" + "".join(_FORMATS[kind] for kind in kinds))
    return Shape(name, number, kinds, fixed)


def _read_string(message: bytes, offset: int, name: str) -> tuple[str, int]:
    if len(message) < offset + 2:
        raise MalformedMessageError(f"{name} has no string length")
    (units,) = struct.unpack_from("<H", message, offset)
    end = offset + 2 + 2 * units
    if len(message) < end:
        raise MalformedMessageError(f"{name} is shorter than its string")
    # JavaScript strings may hold lone surrogates; they become the replacement character.
    return message[offset + 2 : end].decode("utf-16-le", "replace"), end


def _string(text: str) -> bytes:
    units = text.encode("utf-16-le", "surrogatepass")
    return struct.pack("<H", len(units) // 2) + units


_BUTTON_AT = ("uint8", "uint16", "uint16")
_TOUCH = ("uint8", "uint16", "uint16", "uint8", "uint8", "uint8")

# name -> (number, layout), as the stock page has them built in before any Protocol message.
TO_STREAMER: Mapping[str, tuple[int, tuple[str, ...] | None]] = {
    "IFrameRequest": (0, ()),
    "RequestQualityControl": (1, ()),
    "FpsRequest": (2, ()),
    "AverageBitrateRequest": (3, ()),
    "StartStreaming": (4, ()),
    "StopStreaming": (5, ()),
    "LatencyTest": (6, ("string",)),
    "RequestInitialSettings": (7, ()),
    "TestEcho": (8, ()),
    # Declared empty by the page, which yet sends one JSON string: the layout is the streamer's to say.
    "DataChannelLatencyTest": (9, None),
    "UIInteraction": (50, ("string",)),
    "Command": (51, ("string",)),
    "TextboxEntry": (52, ("string",)),
    "KeyDown": (60, ("uint8", "uint8")),
    "KeyUp": (61, ("uint8",)),
    "KeyPress": (62, ("uint16",)),
    "MouseEnter": (70, ()),
    "MouseLeave": (71, ()),
    "MouseDown": (72, _BUTTON_AT),
    "MouseUp": (73, _BUTTON_AT),
    "MouseMove": (74, ("uint16", "uint16", "int16", "int16")),
    "MouseWheel": (75, ("int16", "uint16", "uint16")),
    "MouseDouble": (76, _BUTTON_AT),
    "TouchStart": (80, _TOUCH),
    "TouchEnd": (81, _TOUCH),
    "TouchMove": (82, _TOUCH),
    "GamepadButtonPressed": (90, ("uint8", "uint8", "uint8")),
    "GamepadButtonReleased": (91, ("uint8", "uint8", "uint8")),
    "GamepadAnalog": (92, ("uint8", "uint8", "double")),
    "GamepadConnected": (93, ()),
    "GamepadDisconnected": (94, ("uint8",)),
}

FROM_STREAMER: Mapping[str, tuple[int, tuple[str, ...] | None]] = {
    "QualityControlOwnership": (0, None),
    "Response": (1, None),
    "Command": (2, None),
    "FreezeFrame": (3, None),
    "UnfreezeFrame": (4, None),
    "VideoEncoderAvgQP": (5, None),
    "LatencyTest": (6, None),
    "InitialSettings": (7, None),
    "FileExtension": (8, None),
    "FileMimeType": (9, None),
    "FileContents": (10, None),
    "TestEcho": (11, None),
    "InputControlOwnership": (12, None),
    "GamepadResponse": (13, None),
    "DataChannelLatencyTest": (14, None),
    "Protocol": (PROTOCOL_NUMBER, None),
}


class Vocabulary:
    """The messages of one direction: the built-in ones, overridden by what a streamer's Protocol message says."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        self._by_number = {shape.number: shape for shape in shapes}
        self._by_name = {shape.name: shape for shape in self._by_number.values()}

    @classmethod
    def built_in(cls, direction: Direction) -> Vocabulary:
        table = TO_STREAMER if direction is Direction.TO_STREAMER else FROM_STREAMER
        return cls(_shape(name, number, layout) for name, (number, layout) in table.items())

    def numbered(self, number: int) -> Shape | None:
        return self._by_number.get(number)

    def named(self, name: str) -> Shape | None:
        return self._by_name.get(name)

    def with_learned(self, learned: Iterable[Shape]) -> Vocabulary:
        """A vocabulary in which ``learned`` replace what had their name or number before."""
        new = list(learned)
        names, numbers = {shape.name for shape in new}, {shape.number for shape in new}
        kept = [s for s in self._by_number.values() if s.name not in names and s.number not in numbers]
        return Vocabulary([*kept, *new])


@dataclass(frozen=True)
class ProtocolMessage:
    """A parsed Protocol message: what it says of one direction."""

    direction: Direction
    shapes: tuple[Shape, ...]


def parse_protocol(message: bytes) -> ProtocolMessage:
    """Read a Protocol message (number 255); raise :class:`MalformedMessageError`.

    Entries that cannot be used (no number, a number outside a byte, an unknown type in the layout) are left out:
    refusing them alone keeps everything else working.
    """
    try:
        body = json.loads(text_of(message))
    except (ValueError, RecursionError):
        raise MalformedMessageError("Protocol is not JSON") from None
    if not isinstance(body, dict) or body.get("Direction") not in (0, 1) or isinstance(body["Direction"], bool):
        raise MalformedMessageError("Protocol has no Direction 0 or 1")
    direction = Direction(int(body["Direction"]))
    built_in = TO_STREAMER if direction is Direction.TO_STREAMER else FROM_STREAMER
    shapes: dict[int, Shape] = {}
    for name, entry in list(body.items())[: MAX_NAMES + 1]:
        shape = _learned(name, entry, built_in)
        if shape is not None:
            shapes[shape.number] = shape
    return ProtocolMessage(direction, tuple(shapes.values()))


def _learned(name: str, entry: Any, built_in: Mapping[str, tuple[int, tuple[str, ...] | None]]) -> Shape | None:
    if name == "Direction" or not isinstance(entry, dict) or len(name) > MAX_NAME_CHARACTERS:
        return None
    number = entry.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 255:
        return None
    layout = entry.get("structure")
    known = built_in.get(name, (number, None))[1]
    if layout is None or (not layout and name in _LAYOUT_MAY_BE_OMITTED):
        return _shape(name, number, known)
    if not isinstance(layout, list) or not all(
        kind in _FORMATS or kind in _OPEN_ENDED for kind in layout if _text(kind)
    ):
        return None
    if not all(_text(kind) for kind in layout):
        return None
    return _shape(name, number, layout)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def protocol_message(direction: Direction, shapes: Iterable[Shape]) -> bytes:
    """A Protocol message that says ``shapes``."""
    body: dict[str, Any] = {"Direction": int(direction)}
    body.update({s.name: {"id": s.number, "structure": list(s.layout or ())} for s in shapes})
    return text_message(PROTOCOL_NUMBER, json.dumps(body, separators=(",", ":")))


def text_of(message: bytes) -> str:
    """The text of a message from the streamer."""
    return message[1:].decode("utf-16-le", "replace")


def text_message(number: int, text: str) -> bytes:
    """A message from the streamer whose payload is text."""
    return bytes((number,)) + text.encode("utf-16-le", "surrogatepass")


def multiplexed(player_id: str, message: bytes) -> bytes:
    """``message`` wrapped for or from one player: number 199, uint16 length of the id in **bytes**, id, message."""
    return _sfu_header(MULTIPLEXED_NUMBER, player_id) + message


def channel_relay_status(player_id: str, is_open: bool) -> bytes:
    """Tell a multiplexing streamer that a player came or went."""
    return _sfu_header(CHANNEL_RELAY_STATUS_NUMBER, player_id) + bytes((int(is_open),))


def _sfu_header(number: int, player_id: str) -> bytes:
    identity = player_id.encode("utf-16-le", "surrogatepass")
    return struct.pack("<BH", number, len(identity)) + identity


def parse_multiplexed(message: bytes) -> tuple[str, bytes]:
    """(player id, inner message) of a message numbered 199; raise :class:`MalformedMessageError`."""
    if len(message) < 3:
        raise MalformedMessageError("Multiplexed has no player id")
    (size,) = struct.unpack_from("<H", message, 1)
    if size > MAX_PLAYER_ID_BYTES or size % 2 or len(message) <= 3 + size:
        raise MalformedMessageError("Multiplexed is cut short")
    inner = message[3 + size :]
    if inner[0] in SFU_NUMBERS:
        raise MalformedMessageError("Multiplexed inside Multiplexed")
    return message[3 : 3 + size].decode("utf-16-le", "replace"), inner
