"""What the relay tells its session server, with a long poll."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from runtime.chassis import codec
from runtime.chassis.files import replace_patiently
from runtime.protocol.control import RelayStatus


class StatusBoard:
    """The present :class:`RelayStatus`; its version rises whenever another field changes."""

    def __init__(self) -> None:
        self._status = RelayStatus(version=1, streamer="waiting", participants=0, players=0)
        self._changed = asyncio.Event()
        self.end_was_read = asyncio.Event()

    @property
    def now(self) -> RelayStatus:
        return self._status

    def update(self, new: RelayStatus) -> None:
        """``new.version`` is ignored. How long idleness may still last is told with other changes, not as one."""
        old = self._status
        if replace(new, version=old.version, idle_seconds_left=old.idle_seconds_left) == old:
            self._status = replace(old, idle_seconds_left=new.idle_seconds_left)
            return
        self._status = replace(new, version=old.version + 1)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, seen: int | None, wait_seconds: float) -> RelayStatus:
        """The status, as soon as its version is not ``seen``, at the latest after ``wait_seconds``."""
        try:
            async with asyncio.timeout(wait_seconds):
                while self._status.version == seen:
                    await self._changed.wait()
        except TimeoutError:
            pass
        if self._status.end_reason is not None:
            self.end_was_read.set()
        return self._status


def write_json_file(path: str, value: object) -> None:
    """Write atomically: readers see the old content or the new one. Raise ``OSError``."""
    target = Path(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(codec.encode(value))
        replace_patiently(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
