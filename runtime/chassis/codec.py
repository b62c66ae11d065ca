"""JSON to typed wire shapes and back (msgspec), with errors that name the field."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from runtime.protocol.errors import ServiceError

T = TypeVar("T")


def decode(body: bytes | str, shape: type[T]) -> T:
    """Decode JSON into ``shape``; raise ``ServiceError`` ``bad_json`` or ``bad_request`` naming the field."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise ServiceError("bad_request", f"The request is not valid: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServiceError("bad_json", f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise ServiceError("bad_json", "The body is nested too deeply.") from None


def convert(value: Any, shape: type[T]) -> T:
    """Like :func:`decode` for an already parsed value."""
    try:
        return msgspec.convert(value, type=shape)
    except msgspec.ValidationError as error:
        raise ServiceError("bad_request", f"The request is not valid: {error}.") from None


def to_builtins(value: Any) -> Any:
    """Plain dicts, lists, strings and numbers of a wire shape."""
    return msgspec.to_builtins(value)


def encode(value: Any) -> bytes:
    """UTF-8 JSON."""
    return msgspec.json.encode(value)
