"""One JSON file per process. Unknown keys, wrong types and missing values refuse to start and say which."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T", bound="Config")


class ConfigError(Exception):
    """The configuration cannot be used; the text names the file, the key and the fix."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every configuration section; type checkers want ``frozen=True, kw_only=True`` repeated on each."""


class Listen(Config, frozen=True, kw_only=True):
    """A TCP address to serve on. Port 0 lets the kernel choose."""

    address: str = "127.0.0.1"
    port: int = 0


def load(path: str | Path, shape: type[T]) -> T:
    """Read ``path`` as ``shape``; raise :class:`ConfigError`, never with the file's content in the text."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check the path and the file's owner.") from None
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{path}: {error}. Correct this key; docs/architecture.md names the configuration types."
        ) from None
    except msgspec.DecodeError:
        raise ConfigError(f"{path}: is not valid JSON.") from None
