"""The streamer, the players, and everything between them: signalling, media events, data channels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from runtime.chassis.clock import Clock
from runtime.chassis.lifecycle import Background
from runtime.protocol import signalling as sig
from runtime.protocol.control import IceServer
from runtime.protocol.datachannel import MalformedMessageError
from runtime.protocol.room import CloseCode
from runtime.relay.config import RelayConfig
from runtime.relay.core import data_effects
from runtime.relay.core.datachannel import DataLimits, DataRouter
from runtime.relay.rtc.interface import MediaEvents

from .channel import Mode, UpstreamChannel
from .players import Player, Players
from .ports import MediaPlane, Peer
from .upstream import OUR_PLAYER_ID, Upstream

logger = logging.getLogger(__name__)


class StageOwner(Protocol):
    """What the session hears of its stage."""

    def active(self, participant_id: str) -> None:
        """A person did something in the stream."""

    def stage_changed(self) -> None:
        """The stream's state, or who sees it, may be another one now."""

    def player_left(self, player: Player) -> None:
        """A player is gone (told once, whoever caused it)."""


class Stage:
    """Implements ``MediaEvents`` and ``UpstreamOwner``. The constructor does no input or output."""

    def __init__(
        self,
        config: RelayConfig,
        clock: Clock,
        media: Callable[[MediaEvents], MediaPlane],
        owner: StageOwner,
        work: Background,
    ) -> None:
        limits = config.limits
        self._clock, self._owner = clock, owner
        self._ice_servers = config.ice_servers
        self.router = DataRouter(
            DataLimits(
                messages_per_second=limits.data_messages_per_second,
                messages_burst=limits.data_messages_burst,
                bytes_per_second=limits.data_bytes_per_second,
                bytes_burst=limits.data_bytes_burst,
            ),
            allow_commands=config.policy.allow_commands,
        )
        self.media = media(self)
        self.upstream = Upstream(config, self.media, self)
        self._channel = UpstreamChannel(self.media, self.upstream.tell, OUR_PLAYER_ID)
        self.players = Players(self.media, self._offerable_streamer, work)
        self._holder: str | None = None
        self.first_frame_ms: int | None = None
        self.first_player_ms: int | None = None

    def hang_up(self, code: CloseCode, text: str) -> None:
        """Close every player and let the streamer go."""
        for player in self.players.all():
            player.peer.shut(code, text)
            self.players.remove(player.player_id)
        self.upstream.release(text)

    # --- players ---

    def add_player(self, participant_id: str, peer: Peer, ice_servers: Sequence[IceServer] = ()) -> Player:
        """``ice_servers`` are this participant's own, beside those of the session."""
        player = self.players.add(participant_id, peer, _peer_options([*self._ice_servers, *ice_servers]))
        self.router.player_added(player.player_id, participant_id)
        self._tell_media_who_controls()
        return player

    def drop_player(self, player: Player) -> None:
        """Its socket is gone, or is to be taken for gone. Again does nothing."""
        if self.players.get(player.player_id) is not player:
            return
        self.players.remove(player.player_id)
        self._apply(self.router.player_removed(player.player_id))
        self._channel.player_gone(player.player_id)
        self._tell_media_who_controls()
        self._owner.player_left(player)

    def dismiss(self, player: Player, code: CloseCode, text: str, *, for_good: bool) -> None:
        """Close a player. ``for_good``: also keep Epic's page from reconnecting."""
        if for_good:
            player.tell(sig.SubscribeFailed(message=text))
        player.peer.shut(code, text)
        self.drop_player(player)

    def set_roles(self, owner: str | None, holder: str | None) -> None:
        """Participants who own the session and who are in control now."""
        self._holder = holder
        self._apply(self.router.set_roles(owner=owner, holder=holder))
        self._tell_media_who_controls()

    def _tell_media_who_controls(self) -> None:
        held = self.players.of(self._holder) if self._holder is not None else []
        self.media.set_controller(frozenset(player.player_id for player in held))

    def _apply(self, effects: list[data_effects.Effect]) -> None:
        for effect in effects:
            match effect:
                case data_effects.ToStreamer(message, player_id):
                    if not self._channel.send(message, player_id):
                        self.router.counters["streamer_not_reading"] += 1
                case data_effects.ToPlayer(player_id, message):
                    if not self.media.send_to_player(player_id, message):
                        self.router.counters["player_not_reading"] += 1
                case data_effects.Active(participant_id):
                    self._owner.active(participant_id)
                case data_effects.WantKeyframe(player_id):
                    self.media.request_keyframe(player_id)
                case data_effects.Flooding(player_id):
                    if (player := self.players.get(player_id)) is not None:
                        logger.warning("player %s floods its data channel; closing it", player_id)
                        text = "This page sent too much. Reload it to go on."
                        self.dismiss(player, CloseCode.REFUSED, text, for_good=True)

    # --- UpstreamOwner ---

    def _offerable_streamer(self) -> str | None:
        return (self.upstream.streamer_id or "streamer") if self.upstream.is_described else None

    def stream_described(self, mode: Mode) -> None:
        self._channel.mode = mode
        self.router.addressed = mode is not Mode.SHARED
        self.router.streamer_reset()
        self.players.stream_described(self._clock.monotonic())

    def stream_changed(self) -> None:
        self._owner.stage_changed()

    def remove_player(self, player_id: str, reason: str) -> None:
        player = self.players.get(player_id)
        if player is not None:
            self.dismiss(player, CloseCode.KICKED_BY_STREAMER, reason, for_good=False)

    # --- MediaEvents ---

    def on_player_open(self, player_id: str) -> None:
        if self.players.get(player_id) is not None:
            self._channel.player_open(player_id)
            self._apply(self.router.player_open(player_id))

    def on_player_media(self, player_id: str) -> None:
        player = self.players.get(player_id)
        if player is not None:
            player.has_media = True
            self._note_first_player()
            self._owner.stage_changed()

    def _note_first_player(self) -> None:
        flows = self.first_frame_ms is not None and any(player.has_media for player in self.players.all())
        if self.first_player_ms is None and flows:
            self.first_player_ms = self._clock.now_ms()

    def on_player_data(self, player_id: str, message: bytes) -> None:
        self._apply(self.router.from_player(player_id, message, self._clock.monotonic()))

    def on_player_closed(self, player_id: str, why: str) -> None:
        self._player_closed(player_id)
        self.players.media_closed(player_id, why, self._clock.monotonic())

    def on_reoffer(self, player_id: str) -> None:
        self._player_closed(player_id)
        self.players.reoffer(player_id, self._clock.monotonic())

    def _player_closed(self, player_id: str) -> None:
        self._apply(self.router.player_closed(player_id))
        self._channel.player_gone(player_id)

    def on_streamer_open(self) -> None:
        for player_id in self.router.open_players():
            self._channel.player_open(player_id)
        self._apply(self.router.streamer_open())

    def on_streamer_media(self) -> None:
        self.first_frame_ms = self.first_frame_ms or self._clock.now_ms()
        self._note_first_player()
        self.upstream.media_live(self._clock.monotonic())

    def on_streamer_data(self, message: bytes) -> None:
        try:
            player_id, inner = self._channel.received(message)
        except MalformedMessageError:
            self.router.counters["streamer_malformed"] += 1
            return
        if player_id is None:
            self._apply(self.router.from_streamer(inner, self._clock.monotonic()))
        else:
            self._apply(self.router.from_streamer_to(player_id, inner))

    def on_streamer_player_data(self, player_id: str, message: bytes) -> None:
        self._apply(self.router.from_streamer_to(player_id, message))

    def on_streamer_closed(self, why: str) -> None:
        self.upstream.media_closed(why, self._clock.monotonic())

    # --- figures ---

    def player_owners(self) -> Mapping[str, str]:
        return {player.player_id: player.participant_id for player in self.players.all()}


def _peer_options(ice_servers: Sequence[IceServer]) -> dict[str, Any]:
    """``RTCConfiguration`` for pages. ``urls`` is always a list: Epic's page iterates it."""
    servers: list[dict[str, Any]] = []
    for server in ice_servers:
        entry: dict[str, Any] = {"urls": list(server.urls)}
        if server.username is not None:
            entry |= {"username": server.username, "credential": server.credential or ""}
        servers.append(entry)
    return {"iceServers": servers} if servers else {}
