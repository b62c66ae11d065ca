"""Data channels with a bound: messages to a peer that does not read are dropped, and a peer that never reads is
given up."""

from __future__ import annotations

from collections.abc import Callable

from .aiortc_adapter import Channel
from .interface import MAX_MESSAGE_BYTES


class DataQueue:
    """The outgoing side of one peer's channel, and the channel itself once it exists."""

    def __init__(self, limit_bytes: int, stall_seconds: float) -> None:
        self.dropped = 0
        self._limit_bytes = limit_bytes
        self._stall_seconds = stall_seconds
        self._channel: Channel | None = None
        self._accepted_bytes = 0
        self._drained: tuple[int, float] = (0, 0.0)

    def use(self, channel: Channel, on_open: Callable[[], None], on_message: Callable[[bytes], None]) -> None:
        """Send on ``channel`` from now on and take its messages. ``on_open`` runs at once if it is open already.

        Text messages have no meaning in Epic's binary protocol; they are dropped.
        """
        if self._channel is not None and self._channel.is_open:
            previous = self._channel
            channel.on_message = previous.on_message
            return

        def received(message: bytes | str) -> None:
            if isinstance(message, bytes):
                on_message(message)
            else:
                self.dropped += 1

        channel.on_open = on_open
        channel.on_message = received
        self._channel = channel
        if channel.is_open:
            on_open()

    @property
    def is_open(self) -> bool:
        return self._channel is not None and self._channel.is_open

    @property
    def queued_bytes(self) -> int:
        return self._channel.queued_bytes if self._channel is not None else 0

    def send(self, message: bytes) -> bool:
        """False: dropped, because the channel is not open, the message too long, or the queue full."""
        channel = self._channel
        if channel is None or not channel.is_open or len(message) > MAX_MESSAGE_BYTES:
            self.dropped += 1
            return False
        if channel.queued_bytes + len(message) > self._limit_bytes:
            self.dropped += 1
            return False
        try:
            channel.send(message)
        except ValueError:  # longer than this peer said it takes
            self.dropped += 1
            return False
        self._accepted_bytes += len(message)
        return True

    def stalled(self, now: float) -> bool:
        """True if messages wait and none of them was taken for ``stall_seconds``. Call it about once a second."""
        queued = self.queued_bytes
        drained = self._accepted_bytes - queued
        if queued == 0 or drained != self._drained[0]:
            self._drained = (drained, now)
            return False
        return now - self._drained[1] > self._stall_seconds
