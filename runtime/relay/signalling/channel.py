"""The way up to the streamer's data channel: shared, multiplexed, or one channel for each player."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum

from runtime.protocol import datachannel as wire
from runtime.protocol import signalling as sig
from runtime.protocol.datachannel import MalformedMessageError
from runtime.relay.rtc.interface import MediaError

from .ports import MediaPlane

logger = logging.getLogger(__name__)


class Mode(Enum):
    """How the streamer tells players apart; chosen by what its offer says."""

    SHARED = "shared"  # it does not: the relay is its one player
    MULTIPLEX = "multiplex"  # Pixel Streaming 2: each message names its player
    PER_PLAYER = "per_player"  # Pixel Streaming 1 behind an SFU: negotiated channel pairs


class UpstreamChannel:
    """Hides the mode from the rest of the session."""

    def __init__(self, media: MediaPlane, tell_streamer: Callable[[sig.Message], None], sfu_id: str) -> None:
        self._media = media
        self._tell_streamer = tell_streamer
        self._sfu_id = sfu_id
        self.mode = Mode.SHARED

    def send(self, message: bytes, player_id: str) -> bool:
        """False: the message was dropped, because the channel is not open or its queue is full."""
        match self.mode:
            case Mode.SHARED:
                return self._media.send_to_streamer(message)
            case Mode.MULTIPLEX:
                return self._media.send_to_streamer(wire.multiplexed(player_id, message))
            case Mode.PER_PLAYER:
                return self._media.send_to_streamer(message, player_id)

    def received(self, message: bytes) -> tuple[str | None, bytes]:
        """(player it is for, message); None: for all. Raise ``MalformedMessageError``."""
        if self.mode is Mode.MULTIPLEX and message[:1] == bytes((wire.MULTIPLEXED_NUMBER,)):
            return wire.parse_multiplexed(message)
        if message[:1] and message[0] in wire.SFU_NUMBERS:
            raise MalformedMessageError("SFU framing on a channel that is not multiplexed")
        return None, message

    def player_open(self, player_id: str) -> None:
        """A player can send and receive: let the streamer know it apart."""
        if self.mode is Mode.MULTIPLEX:
            self._media.send_to_streamer(wire.channel_relay_status(player_id, True))
        elif self.mode is Mode.PER_PLAYER:
            try:
                streamer_sends, streamer_receives = self._media.open_streamer_channel(player_id)
            except MediaError as error:
                logger.warning("no channel to the streamer for player %s: %s", player_id, error)
                return
            self._tell_streamer(
                sig.StreamerDataChannels(
                    sfuId=self._sfu_id,
                    playerId=player_id,
                    sendStreamId=streamer_sends,
                    recvStreamId=streamer_receives,
                )
            )

    def player_gone(self, player_id: str) -> None:
        if self.mode is Mode.MULTIPLEX:
            self._media.send_to_streamer(wire.channel_relay_status(player_id, False))
        elif self.mode is Mode.PER_PLAYER:
            self._media.close_streamer_channel(player_id)
