"""The players' side of signalling: each browser's offer, answer and return."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runtime.chassis.lifecycle import Background
from runtime.protocol import signalling as sig
from runtime.protocol.errors import ServiceError
from runtime.protocol.room import CloseCode
from runtime.relay.core.rates import TokenBucket
from runtime.relay.rtc.interface import BadDescriptionError, MediaError, MediaNotReadyError, UnknownPlayerError

from .ports import MediaPlane, Peer

logger = logging.getLogger(__name__)
_MEDIA_DEADLINE_SECONDS = 10.0
_PUSH_ANSWERS_SECONDS = 2.0
# A connection that breaks again and again is left to the page's own reconnecting.
_RESTARTS_PER_SECOND, _RESTARTS_BURST = 1 / 20, 3.0


# Each description costs an ICE agent and a DTLS handshake; a page needs one now and then.
_DESCRIPTIONS_PER_SECOND, _DESCRIPTIONS_BURST = 0.5, 8.0


@dataclass(kw_only=True)
class Player:
    """One browser's stream."""

    player_id: str
    participant_id: str
    peer: Peer
    options: dict[str, Any]  # the page's RTCConfiguration
    subscribed: bool = False
    asked: bool = False  # for the list, which was empty
    pushed_at: float = float("-inf")  # a list it did not ask for
    offer: str | None = None  # BrowserSendOffer: what the page offered last
    was_described: bool = False  # the page's connection has seen a description and serves no other
    has_description: bool = False  # an offer of ours was accepted, or its own answered
    has_media: bool = False
    restarts: TokenBucket = field(default_factory=lambda: TokenBucket(_RESTARTS_PER_SECOND, _RESTARTS_BURST))
    descriptions: TokenBucket = field(
        default_factory=lambda: TokenBucket(_DESCRIPTIONS_PER_SECOND, _DESCRIPTIONS_BURST)
    )
    # Apart from these, so that an offer that was granted can also be answered.
    answers: TokenBucket = field(default_factory=lambda: TokenBucket(_DESCRIPTIONS_PER_SECOND, _DESCRIPTIONS_BURST))

    def tell(self, message: sig.Message) -> None:
        self.peer.send(sig.to_json_object(message))


class Players:
    """All players of the session. ``streamer_id`` says whom to list: None while there is nothing to offer."""

    def __init__(self, media: MediaPlane, streamer_id: Callable[[], str | None], work: Background) -> None:
        self._media = media
        self._streamer_id = streamer_id
        self._work = work
        self._players: dict[str, Player] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._players)

    def get(self, player_id: str) -> Player | None:
        return self._players.get(player_id)

    def of(self, participant_id: str) -> list[Player]:
        """A participant's players, the oldest first."""
        return [p for p in self._players.values() if p.participant_id == participant_id]

    def all(self) -> list[Player]:
        return list(self._players.values())

    def add(self, participant_id: str, peer: Peer, options: dict[str, Any]) -> Player:
        """A player's socket is open. ``config`` must be the first it hears: without it the page breaks on a list."""
        self._count += 1
        player = Player(player_id=str(self._count), participant_id=participant_id, peer=peer, options=options)
        self._players[player.player_id] = player
        self._tell_config(player)
        return player

    def _tell_config(self, player: Player) -> None:
        player.tell(sig.Config(peerConnectionOptions=player.options))

    def remove(self, player_id: str) -> None:
        """Its socket is gone. The browser keeps its media connection open, so ours must be closed here."""
        if self._players.pop(player_id, None) is not None:
            self._media.remove_player(player_id)

    async def receive(self, player: Player, message: sig.Message, now: float) -> None:
        """One message of a player; raise ``ServiceError`` for what it got wrong."""
        match message:
            case sig.ListStreamers():
                player.asked = True
                # Its question may have crossed a pushed list, and a second list would make it start twice.
                if player.subscribed or now - player.pushed_at > _PUSH_ANSWERS_SECONDS:
                    player.tell(self._list())
            case sig.Subscribe() | sig.Offer() if not player.descriptions.take(now):
                raise ServiceError("rate_limited", "This page asks for a connection too often.")
            case sig.Answer() if not player.answers.take(now):
                raise ServiceError("rate_limited", "This page answers too often.")
            case sig.Subscribe():
                player.subscribed = True
                if self._streamer_id() is not None:
                    await self._offer(player)
            case sig.Unsubscribe():
                player.subscribed = player.has_description = player.has_media = False
                self._media.remove_player(player.player_id)
            case sig.Answer():
                await self._answered(player, message)
            case sig.Offer():
                player.offer, player.subscribed = message.sdp, True
                if self._streamer_id() is not None:
                    await self._answer(player)
            case sig.LayerPreference():
                self._prefer(player, message)
            case sig.Ping():
                player.tell(sig.Pong(time=message.time))
            case _:
                # Candidates: an ICE-lite agent has no use for them. dataChannelRequest: our channel is opened in-band.
                pass

    def _prefer(self, player: Player, wish: sig.LayerPreference) -> None:
        """The quality menu of Epic's page, which it shows for an ``sfu`` offer: 0 is the best layer. Its temporal layer
        means nothing there (it is always 0); which of them a player gets follows from its link."""
        layers = self._media.layers
        if layers > 1:
            limit = max(1, layers - wish.spatialLayer) if wish.spatialLayer > 0 else None
            self._media.limit_layers(player.player_id, limit)

    def _list(self) -> sig.StreamerList:
        streamer_id = self._streamer_id()
        return sig.StreamerList(ids=(streamer_id,) if streamer_id is not None else ())

    # --- the streamer comes and goes ---

    def stream_described(self, now: float) -> None:
        """There is something to offer. Players with a connection go on by themselves or hear ``reoffer``."""
        for player in self.all():
            if not player.subscribed:
                if player.asked:
                    self._push(player, now)
            elif player.has_description:
                continue
            elif player.was_described:
                self.reoffer(player.player_id, now)
            else:
                self._later(player)

    def _push(self, player: Player, now: float) -> None:
        player.pushed_at = now
        player.tell(self._list())

    def reoffer(self, player_id: str, now: float) -> None:
        """Start this player's connection anew: a pushed list makes the page close its own and subscribe again."""
        player = self._players.get(player_id)
        if player is None:
            return
        player.has_description = player.has_media = False
        if player.offer is not None:
            # A page that offers does so anew for every config.
            player.offer = None
            self._tell_config(player)
        elif self._streamer_id() is not None:
            player.subscribed = False
            self._push(player, now)

    def media_closed(self, player_id: str, why: str, now: float) -> None:
        """The transport is gone although the socket is not: a network change, a laptop that slept."""
        player = self._players.get(player_id)
        if player is None:
            return
        player.has_media = player.has_description = False
        if player.restarts.take(now):
            logger.info("player %s lost its media connection (%s); offering again", player_id, why)
            self.reoffer(player_id, now)
        else:
            logger.info("player %s lost its media connection again (%s); closing it", player_id, why)
            player.peer.shut(CloseCode.KICKED_BY_STREAMER, "The connection was lost.")

    # --- descriptions ---

    def _later(self, player: Player) -> None:
        async def describe() -> None:
            try:
                await (self._offer(player) if player.offer is None else self._answer(player))
            except ServiceError as error:
                logger.info("player %s: %s", player.player_id, error.message)

        self._work.spawn(f"offer to player {player.player_id}", describe())

    async def _offer(self, player: Player) -> None:
        player.has_description = player.has_media = False
        try:
            async with asyncio.timeout(_MEDIA_DEADLINE_SECONDS):
                sdp = await self._media.offer_player(player.player_id)
        except MediaNotReadyError:
            return  # offered when there is something to offer
        except (MediaError, TimeoutError) as error:
            logger.warning("no offer to player %s: %s", player.player_id, error or "took too long")
            player.tell(sig.SubscribeFailed(message="The stream cannot be offered to you. Reload the page."))
            return
        if self._players.get(player.player_id) is not player:
            self._media.remove_player(player.player_id)  # it left meanwhile
            return
        player.was_described = True
        player.tell(sig.Offer(sdp=sdp, playerId=player.player_id, sfu=self._media.layers > 1))

    async def _answered(self, player: Player, answer: sig.Answer) -> None:
        try:
            async with asyncio.timeout(_MEDIA_DEADLINE_SECONDS):
                await self._media.accept_player_answer(player.player_id, answer.sdp)
        except UnknownPlayerError:
            return  # an answer to an offer that is no longer current
        except (BadDescriptionError, TimeoutError) as error:
            raise ServiceError("bad_message", f"The answer cannot be used: {error or 'took too long'}.") from None
        player.has_description = True

    async def _answer(self, player: Player) -> None:
        if player.offer is None:
            return
        try:
            async with asyncio.timeout(_MEDIA_DEADLINE_SECONDS):
                sdp = await self._media.answer_player(player.player_id, player.offer)
        except MediaNotReadyError:
            return
        except (MediaError, TimeoutError) as error:
            raise ServiceError("bad_message", f"The offer cannot be used: {error or 'took too long'}.") from None
        if self._players.get(player.player_id) is not player:
            self._media.remove_player(player.player_id)
            return
        player.was_described = player.has_description = True
        player.tell(sig.Answer(sdp=sdp))
