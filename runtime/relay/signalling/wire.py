"""One JSON message off a socket, as its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from runtime.chassis import codec
from runtime.protocol.errors import ServiceError

M = TypeVar("M")


class UnknownMessageError(Exception):
    """A well-formed message of a type that this socket does not know; the text is the type."""


def decode(data: str | bytes, table: Mapping[str, type[M]]) -> M:
    """Raise ``ServiceError`` ``bad_message``, or :class:`UnknownMessageError`.

    Clients since Unreal 5.0 may send binary frames; their bytes are UTF-8.
    """
    try:
        body = codec.decode(data, dict[str, Any])
        kind = body.pop("type", None)
        if not isinstance(kind, str):
            raise ServiceError("bad_message", "The message has no type.")
        if kind not in table:
            raise UnknownMessageError(kind[:40])
        return codec.convert(body, table[kind])
    except RecursionError:
        raise ServiceError("bad_message", "The message is nested too deeply.") from None
    except ServiceError as error:
        if error.code == "bad_message":
            raise
        raise ServiceError("bad_message", error.message) from None
