"""The streamer's side of signalling: the relay as the one player of the one streamer."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from runtime.protocol import signalling as sig
from runtime.protocol.errors import ServiceError
from runtime.protocol.room import CloseCode
from runtime.relay.config import RelayConfig
from runtime.relay.rtc.interface import MediaError

from .channel import Mode
from .ports import MediaPlane, Peer

logger = logging.getLogger(__name__)

OUR_PLAYER_ID = "relay"
LEGACY_PLAYER_ID = 1  # Unreal 4.27 reads an integer
_MAX_ID_CHARACTERS = 128
_MEDIA_DEADLINE_SECONDS = 10.0
_MAX_ASKS = 4
_ASK_AGAIN_SECONDS = 2.0
# A video picture every few hundred ms is the least any streamer sends.
_DEAD_WITHOUT_SIGNALLING_SECONDS = 1.5
_STALLED_SECONDS = 5.0


class UpstreamOwner(Protocol):
    """What the session hears of its streamer."""

    def stream_described(self, mode: Mode) -> None:
        """A (new) streamer connection exists: players may be offered its media."""

    def stream_changed(self) -> None:
        """``Upstream.stream_state`` or ``streamer_state`` may be another one now."""

    def remove_player(self, player_id: str, reason: str) -> None:
        """The streamer wants this player gone."""


class Upstream:
    """Keeps a stream coming from whichever streamer socket is the newest. ``now`` is monotonic seconds."""

    def __init__(self, config: RelayConfig, media: MediaPlane, owner: UpstreamOwner) -> None:
        self._config, self._media, self._owner = config, media, owner
        self._socket: Peer | None = None
        self.streamer_id: str | None = None
        self._player_id: sig.PlayerId = OUR_PLAYER_ID
        self._asks = 0
        self._ask_at: float | None = None
        self._legacy_at: float | None = None
        self.is_described = False
        self._is_live = False
        self._is_stalled = False
        self._was_live = False
        self._packets = -1
        self._progress_at = 0.0
        self._looked_at = 0.0
        # Since when there has been no stream after there was one; a stall of a connected streamer does not count.
        self.lost_since: float | None = None

    # --- what others see ---

    @property
    def stream_state(self) -> str:
        """For pages: waiting, live or lost."""
        if self._is_live and not self._is_stalled:
            return "live"
        return "lost" if self._was_live else "waiting"

    @property
    def streamer_state(self) -> str:
        """For the session server: waiting, connected, live or lost."""
        state = self.stream_state
        return "connected" if state == "waiting" and self.streamer_id is not None else state

    def tell(self, message: sig.Message) -> None:
        if self._socket is not None:
            self._socket.send(sig.to_json_object(message))

    # --- the socket ---

    def connect(self, socket: Peer, now: float) -> None:
        """A streamer's socket is open. The newest wins: an old one is stale, however alive it looks."""
        if self._socket is not None:
            logger.info("a new streamer connection replaces the old one")
            self._socket.shut(CloseCode.SUPERSEDED, "Replaced by a newer connection.")
        self._socket, self.streamer_id, self._player_id = socket, None, OUR_PLAYER_ID
        self._asks, self._ask_at = 0, None
        self._legacy_at = now + self._config.limits.legacy_streamer_seconds
        self.tell(sig.Identify())
        self.tell(sig.Config())

    def disconnect(self, socket: Peer) -> None:
        """A streamer's socket is gone. Its media may go on: :meth:`tick` looks whether it does."""
        if socket is not self._socket:
            return
        self._socket, self.streamer_id = None, None
        self._ask_at = self._legacy_at = None
        logger.info("the streamer's signalling connection is gone")
        self._owner.stream_changed()

    def release(self, reason: str) -> None:
        """The session ends: let the streamer go."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.send(sig.to_json_object(sig.PlayerDisconnected(playerId=self._player_id)))
            socket.shut(CloseCode.SESSION_OVER, reason)

    async def receive(self, socket: Peer, message: sig.Message, now: float) -> None:
        """One message of the streamer; raise ``ServiceError`` for what it got wrong."""
        if socket is not self._socket:
            return
        match message:
            case sig.EndpointId():
                self._identified(message, now)
            case sig.Offer():
                await self._offered(message, now)
            case sig.Answer():
                await self._answered(message)
            case sig.Ping():
                self.tell(sig.Pong(time=message.time))
            case sig.DisconnectPlayer():
                self._disconnect_player(message, now)
            case _:
                # Candidates: an ICE-lite agent has no use for them. Layer preferences and pongs: nor have we.
                pass

    def _identified(self, message: sig.EndpointId, now: float) -> None:
        if not message.id or len(message.id) > _MAX_ID_CHARACTERS:
            raise ServiceError("bad_message", "The streamer's id is empty or too long.")
        again = message.id == self.streamer_id
        self.streamer_id, self._legacy_at = message.id, None
        self.tell(sig.EndpointIdConfirm(committedId=message.id))
        if again:
            return
        logger.info("streamer %r registered", message.id)
        self._player_id = OUR_PLAYER_ID
        self._ask(now)
        self._owner.stream_changed()

    def _ask(self, now: float) -> None:
        """Ask for an offer; asked again by :meth:`tick` until one comes."""
        if self._asks >= _MAX_ASKS and self._socket is not None:
            logger.warning("the streamer makes no usable offer; closing its connection")
            self._socket.shut(CloseCode.KICKED_BY_STREAMER, "No usable offer came.")
            self._ask_at = None
            return
        if self._asks:
            self.tell(sig.PlayerDisconnected(playerId=self._player_id))
        self._asks += 1
        self._ask_at = now + self._config.limits.streamer_offer_seconds * self._asks
        self.tell(sig.PlayerConnected(playerId=self._player_id, sfu=self._config.streamer_as_sfu))

    async def _offered(self, offer: sig.Offer, now: float) -> None:
        if offer.playerId is not None and str(offer.playerId) != str(self._player_id):
            logger.info("the streamer's offer is for another player; ignored")
            return
        try:
            async with asyncio.timeout(_MEDIA_DEADLINE_SECONDS):
                answer = await self._media.answer_streamer(offer.sdp)
        except (MediaError, TimeoutError) as error:
            self._ask_at = now + _ASK_AGAIN_SECONDS
            raise ServiceError("bad_message", f"The offer cannot be used: {error or 'no answer in time'}.") from None
        max_bitrate_bps = self._config.policy.max_bitrate_bps
        self.tell(sig.Answer(sdp=answer, playerId=offer.playerId, minBitrateBps=0, maxBitrateBps=max_bitrate_bps))
        self._described(self._mode_of(offer))

    def _mode_of(self, offer: sig.Offer) -> Mode:
        if offer.multiplex:
            return Mode.MULTIPLEX
        return Mode.PER_PLAYER if self._config.streamer_as_sfu else Mode.SHARED

    async def _answered(self, answer: sig.Answer) -> None:
        """Unreal 4.27 answers our offer."""
        try:
            async with asyncio.timeout(_MEDIA_DEADLINE_SECONDS):
                await self._media.accept_streamer_answer(answer.sdp)
        except (MediaError, TimeoutError) as error:
            raise ServiceError("bad_message", f"The answer cannot be used: {error or 'too late'}.") from None
        self._described(Mode.SHARED)

    def _described(self, mode: Mode) -> None:
        self._asks, self._ask_at = 0, None
        self.is_described, self._is_live, self._is_stalled = True, False, False
        self._owner.stream_described(mode)
        self._owner.stream_changed()

    def _disconnect_player(self, message: sig.DisconnectPlayer, now: float) -> None:
        reason = (message.reason or "The application has closed this connection.")[:120]
        if str(message.playerId) != str(self._player_id):
            self._owner.remove_player(str(message.playerId), reason)
            return
        logger.warning("the streamer disconnected the relay; asking it again")
        self._media_gone(now)
        self._ask_at = now + _ASK_AGAIN_SECONDS

    # --- the media ---

    def media_live(self, now: float) -> None:
        """The first video packet of this connection is here."""
        self._is_live, self._is_stalled, self._was_live = True, False, True
        self._progress_at, self._packets = now, -1
        self.lost_since = None
        self._owner.stream_changed()

    def media_closed(self, why: str, now: float) -> None:
        """The transport is gone by itself."""
        logger.warning("the streamer's media connection is gone: %s", why)
        self._media_gone(now)
        if self.streamer_id is not None:
            self._ask_at = now + _ASK_AGAIN_SECONDS

    def _media_gone(self, now: float) -> None:
        self._media.streamer_gone()
        self.is_described = self._is_live = self._is_stalled = False
        if self._was_live and self.lost_since is None:
            self.lost_since = now
        self._owner.stream_changed()

    async def tick(self, now: float) -> None:
        """Call a few times a second."""
        if self._ask_at is not None and now >= self._ask_at:
            self._ask(now)
        if self._legacy_at is not None and now >= self._legacy_at:
            await self._offer_legacy()
        if now - self._looked_at >= 0.5:
            self._looked_at = now
            if self._is_live:
                self._look_at_media(now)
            elif self._socket is None and self.is_described:
                self._media_gone(now)

    async def _offer_legacy(self) -> None:
        """No ``endpointId`` came: Unreal 4.26 or 4.27, which waits for a player's offer."""
        self._legacy_at, self._player_id = None, LEGACY_PLAYER_ID
        logger.info("the streamer does not name itself; offering to it as to Unreal 4.27")
        try:
            async with asyncio.timeout(_MEDIA_DEADLINE_SECONDS):
                offer = await self._media.offer_streamer()
        except (MediaError, TimeoutError) as error:
            logger.warning("no offer to the streamer: %s", error)
            return
        self.streamer_id = "DefaultStreamer"
        self.tell(sig.Offer(sdp=offer, playerId=LEGACY_PLAYER_ID))
        self._owner.stream_changed()

    def _look_at_media(self, now: float) -> None:
        """Does video still arrive? Without signalling its end is the end of the streamer."""
        streamer = self._media.stats().streamer
        packets = sum(s.packets for s in streamer.streams if s.kind == "video") if streamer is not None else 0
        if packets != self._packets:
            self._packets, self._progress_at = packets, now
        silent = now - self._progress_at
        if self._socket is None and silent >= _DEAD_WITHOUT_SIGNALLING_SECONDS:
            logger.warning("the streamer is gone")
            self._media_gone(now)
        elif self._is_stalled != (silent >= _STALLED_SECONDS):
            self._is_stalled = not self._is_stalled
            logger.warning("the streamer's video %s", "has stopped" if self._is_stalled else "goes on")
            self._owner.stream_changed()
