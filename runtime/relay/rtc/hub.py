"""The media plane of one session: one streamer, its players, one UDP port."""

from __future__ import annotations

from .interface import (
    MAX_MESSAGE_BYTES,
    BadDescriptionError,
    MediaError,
    MediaEvents,
    MediaNotReadyError,
    MediaSettings,
    MediaStats,
    UnknownPlayerError,
)

__all__ = [
    "MAX_MESSAGE_BYTES",
    "BadDescriptionError",
    "MediaError",
    "MediaEvents",
    "MediaHub",
    "MediaNotReadyError",
    "MediaSettings",
    "MediaStats",
    "UnknownPlayerError",
]


class MediaHub:
    """Everything between the streamer's UDP packets and the players' (see docs/architecture.md).

    The constructor does no input or output. All methods must be called on the event loop that ran ``start``.
    Candidates that peers trickle need not be passed on: an ICE-lite agent never sends checks of its own (RFC 8445
    section 2.5).
    """

    def __init__(self, settings: MediaSettings, events: MediaEvents) -> None:
        self._settings = settings
        self._events = events

    @property
    def port(self) -> int:
        """The UDP port number, the same on every address; known after ``start``."""
        raise NotImplementedError

    async def start(self) -> None:
        """Bind the UDP port on every address. Raises OSError when one is taken; then nothing stays bound."""
        raise NotImplementedError

    async def close(self) -> None:
        """Say goodbye to every peer (DTLS close_notify) and free the port. Idempotent."""
        raise NotImplementedError

    async def answer_streamer(self, offer_sdp: str) -> str:
        """The streamer's offer -> our answer. A second call replaces the streamer: players that can carry its media
        go on by themselves, for the others ``on_reoffer`` is called. Raises BadDescriptionError."""
        raise NotImplementedError

    async def offer_streamer(self) -> str:
        """For a streamer that wants to be offered to (Unreal 4.27): our offer to receive. Replaces as
        ``answer_streamer``."""
        raise NotImplementedError

    async def accept_streamer_answer(self, sdp: str) -> None:
        """The streamer's answer to ``offer_streamer``. Raises BadDescriptionError, MediaNotReadyError without an
        offer."""
        raise NotImplementedError

    def streamer_gone(self) -> None:
        """The streamer's signalling says it left: close its transport, keep the players waiting for its return."""
        raise NotImplementedError

    async def offer_player(self, player_id: str) -> str:
        """Our offer: the one codec in use (with RTX), Opus, a data channel. Another call for the same player starts its
        connection anew. Raises MediaNotReadyError before the streamer's media is known."""
        raise NotImplementedError

    async def accept_player_answer(self, player_id: str, sdp: str) -> None:
        """Raises UnknownPlayerError, BadDescriptionError."""
        raise NotImplementedError

    async def answer_player(self, player_id: str, offer_sdp: str) -> str:
        """For a player that offers (BrowserSendOffer). Raises MediaNotReadyError, BadDescriptionError."""
        raise NotImplementedError

    def remove_player(self, player_id: str) -> None:
        """Close the player's connection. Unknown ids are ignored."""
        raise NotImplementedError

    def send_to_player(self, player_id: str, message: bytes) -> bool:
        """Queue one data-channel message. False: dropped (not open, queue full, too long, or unknown player)."""
        raise NotImplementedError

    def send_to_streamer(self, message: bytes, player_id: str | None = None) -> bool:
        """As ``send_to_player``; with ``player_id`` on that player's own channel if ``open_streamer_channel`` made
        one."""
        raise NotImplementedError

    def open_streamer_channel(self, player_id: str) -> tuple[int, int]:
        """Open a negotiated channel pair to the streamer for one player (``streamerDataChannels``, Pixel Streaming 1).

        Returns (stream the streamer sends on, stream the streamer receives on). Raises MediaNotReadyError when the
        streamer has no association.
        """
        raise NotImplementedError

    def close_streamer_channel(self, player_id: str) -> None:
        """Unknown ids are ignored."""
        raise NotImplementedError

    def request_keyframe(self, cause: str) -> None:
        """Ask the streamer for a keyframe; ``cause`` is a short word for the statistics. Merged and throttled."""
        raise NotImplementedError

    def set_controller(self, player_ids: frozenset[str]) -> None:
        """Whose links the policy ``protect_controller`` protects. Empty: nobody holds control."""
        raise NotImplementedError

    def stats(self) -> MediaStats:
        raise NotImplementedError
