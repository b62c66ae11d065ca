"""Who wants to hear of which change. Changes are merged: a slow listener gets the newest state, never a backlog."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

TITLES = "titles"
HOSTS = "hosts"


def session_topic(session_id: str) -> str:
    return f"session:{session_id}"


class Listener:
    """One open stream."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()

    async def wait(self, seconds: float) -> bool:
        """True at a change since the last call, False after ``seconds`` without one."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class Hub:
    """Listeners by topic, in this process. Other instances learn of changes through the database."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}
        self._closed = False

    @contextmanager
    def listen(self, topic: str) -> Iterator[Listener]:
        listener = Listener()
        self._listeners.setdefault(topic, set()).add(listener)
        try:
            yield listener
        finally:
            there = self._listeners[topic]
            there.discard(listener)
            if not there:
                del self._listeners[topic]

    def publish(self, topic: str) -> None:
        for listener in self._listeners.get(topic, ()):
            listener.notify()

    def count(self, topic: str) -> int:
        return len(self._listeners.get(topic, ()))

    @property
    def total(self) -> int:
        return sum(len(there) for there in self._listeners.values())

    def topics(self) -> list[str]:
        """Topics that somebody listens to."""
        return list(self._listeners)

    @property
    def closed(self) -> bool:
        """Streams end when this is set, so that a stopping instance does not hold its clients."""
        return self._closed

    def close(self) -> None:
        self._closed = True
        for topic in self.topics():
            self.publish(topic)
