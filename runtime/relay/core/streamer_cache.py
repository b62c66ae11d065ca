"""What a shared streamer channel said that later players need, and whom its answers belong to."""

from __future__ import annotations

import struct
from collections import deque

MAX_FREEZE_FRAME_BYTES = 8 * 1024 * 1024
_MAX_OPEN_QUESTIONS = 64
_QUESTION_SECONDS = 10.0
_SIZE_HEADER_BYTES = 5  # message number, int32 total size


def announced_size(message: bytes) -> int | None:
    """The total size in a FreezeFrame's or FileContents' header; None when it has none."""
    if len(message) < _SIZE_HEADER_BYTES:
        return None
    (size,) = struct.unpack_from("<i", message, 1)
    return int(size) if size >= 0 else None


class FreezeFrame:
    """The still picture shown instead of video, in the messages it came in, so that joiners see it too."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._size = 0
        self._missing = 0

    def add(self, message: bytes) -> None:
        """One FreezeFrame message. A picture that is too big is not kept; joiners then see video instead."""
        size = announced_size(message)
        if size is None or size > MAX_FREEZE_FRAME_BYTES:
            self.clear()
            return
        if self._missing <= 0 or size != self._size:
            self.clear()
            self._size = self._missing = size
        self._messages.append(message)
        self._missing -= max(1, len(message) - _SIZE_HEADER_BYTES)

    def clear(self) -> None:
        self._messages, self._size, self._missing = [], 0, 0

    @property
    def messages(self) -> tuple[bytes, ...]:
        return tuple(self._messages)


class FileTransfer:
    """A file under way: extension, type and contents all go to those who were there for its first message."""

    def __init__(self) -> None:
        self._recipients: frozenset[str] | None = None
        self._missing: int | None = None

    def recipients(self, name: str, message: bytes, if_new: frozenset[str]) -> frozenset[str]:
        """Who gets this message of the file."""
        starts = self._recipients is None or (name == "FileExtension" and self._missing is not None)
        if starts:
            self._recipients, self._missing = if_new, None
        found = self._recipients or frozenset()
        if name == "FileContents":
            if self._missing is None:
                self._missing = announced_size(message) or 0
            self._missing -= max(1, len(message) - _SIZE_HEADER_BYTES)
            if self._missing <= 0:
                self.clear()
        return found

    def clear(self) -> None:
        self._recipients, self._missing = None, None


class OpenQuestions:
    """Who asked what on a channel that does not say whom an answer is for: first asked, first answered."""

    def __init__(self) -> None:
        self._asked: dict[str, deque[tuple[str, float]]] = {}

    def asked(self, question: str, player_id: str, now: float) -> None:
        self._asked.setdefault(question, deque(maxlen=_MAX_OPEN_QUESTIONS)).append((player_id, now))

    def answered(self, question: str, now: float) -> str | None:
        """The player to whom the next answer belongs; None when nobody waits."""
        waiting = self._asked.get(question)
        while waiting:
            player_id, at = waiting.popleft()
            if now - at <= _QUESTION_SECONDS:
                return player_id
        return None

    def clear(self) -> None:
        self._asked.clear()
