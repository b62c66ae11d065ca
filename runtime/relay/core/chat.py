"""The chat of one session: bounded history, one rate limit per participant."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from runtime.protocol.errors import ServiceError
from runtime.protocol.room import ChatMessage

from .plain_text import clean_text
from .rates import TokenBucket

_MAX_CLIENT_ID_CHARACTERS = 64
_MAX_RATE_LIMITED_PARTICIPANTS = 4096


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    enabled: bool = True
    history: int = 200
    characters: int = 2000
    messages_per_second: float = 1.0
    messages_burst: float = 8.0


class ChatLog:
    def __init__(self, settings: ChatSettings) -> None:
        self._settings = settings
        self._messages: deque[ChatMessage] = deque(maxlen=settings.history)
        self._buckets: dict[str, TokenBucket] = {}
        self._count = 0

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        return tuple(self._messages)

    def say(
        self, participant: str, name: str, text: str, client_id: str | None, *, now: float, now_ms: int
    ) -> ChatMessage:
        """The message to pass on; raise ``ServiceError`` ``forbidden``, ``bad_message`` or ``rate_limited``."""
        settings = self._settings
        if not settings.enabled:
            raise ServiceError("forbidden", "Chat is off in this session.")
        if len(text) > settings.characters:
            raise ServiceError("bad_message", f"A chat message has at most {settings.characters} characters.")
        shown = clean_text(text, settings.characters)
        if not shown:
            raise ServiceError("bad_message", "The chat message is empty.")
        if not self._bucket(participant).take(now):
            raise ServiceError("rate_limited", "You are writing too fast.", retry_after_seconds=1.0)
        self._count += 1
        message = ChatMessage(
            id=f"m{self._count}",
            participant=participant,
            name=name,
            text=shown,
            at=now_ms,
            client_id=client_id[:_MAX_CLIENT_ID_CHARACTERS] if client_id else None,
        )
        self._messages.append(message)
        return message

    def _bucket(self, participant: str) -> TokenBucket:
        # Kept when a participant leaves, so that reconnecting does not refill it.
        bucket = self._buckets.pop(participant, None)
        if bucket is None:
            bucket = TokenBucket(self._settings.messages_per_second, self._settings.messages_burst)
            if len(self._buckets) >= _MAX_RATE_LIMITED_PARTICIPANTS:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[participant] = bucket
        return bucket
