"""The media plane of one session: one streamer, its players, one UDP port."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from runtime.relay.core import sdp
from runtime.relay.core.bandwidth import target_bps

from . import aiortc_adapter, snapshot, srtp
from .batch import BatchSender
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
from .legs import PlayerLeg, StreamerLeg, limits_of
from .peer import Peer
from .udp import UdpPort
from .voice import VoiceEvents, VoiceHub

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

logger = logging.getLogger(__name__)

FAST_TICK_SECONDS = 0.05
SLOW_TICK_SECONDS = 1.0
GOODBYE_SECONDS = 1.0
# REMB is sent at once when the target falls by this share, else with the next slow tick.
DECREASE = 0.97


class MediaHub:
    """Everything between the streamer's UDP packets and the players' (see docs/architecture.md).

    The constructor does no input or output. All methods must be called on the event loop that ran ``start``.
    Candidates that peers trickle need not be passed on: an ICE-lite agent never sends checks of its own (RFC 8445
    section 2.5).
    """

    def __init__(self, settings: MediaSettings, events: MediaEvents) -> None:
        self._settings = settings
        self._events = events
        self._port = UdpPort(settings.addresses, settings.port, settings.segmentation, settings.consent_seconds)
        self._sender = BatchSender(self._port.counters)
        self._certificate: aiortc_adapter.Certificate | None = None
        self._streamer: StreamerLeg | None = None
        self._players: dict[str, PlayerLeg] = {}
        self._controllers: frozenset[str] = frozenset()
        self._limits = limits_of(settings)
        self._timers: list[asyncio.TimerHandle] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def port(self) -> int:
        """The UDP port number, the same on every address; known after ``start``."""
        return self._port.number

    async def start(self) -> None:
        """Bind the UDP port on every address. Raises OSError when one is taken; then nothing stays bound."""
        srtp.self_test()
        self._certificate = aiortc_adapter.new_certificate()
        self._port.open()
        loop = asyncio.get_running_loop()
        self._timers = [
            loop.call_later(FAST_TICK_SECONDS, self._fast_tick),
            loop.call_later(SLOW_TICK_SECONDS, self._slow_tick),
        ]
        logger.info("media port %d on %s", self.port, ", ".join(bound.host for bound in self._port.sockets))

    async def close(self) -> None:
        """Say goodbye to every peer (DTLS close_notify) and free the port. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        for player_id in list(self._players):
            self.remove_player(player_id)
        self.streamer_gone()
        if self._closing:
            await asyncio.wait(self._closing, timeout=GOODBYE_SECONDS)
        self._port.close()

    # The streamer.

    async def answer_streamer(self, offer_sdp: str) -> str:
        """The streamer's offer -> our answer. A second call replaces the streamer: players that can carry its media
        go on by themselves, for the others ``on_reoffer`` is called. Raises BadDescriptionError."""
        offer = _parse(offer_sdp)
        leg = self._new_streamer()
        try:
            answer = leg.answer(offer)
        except MediaError:
            self._part(leg.peer, "bad offer")
            raise
        self._replace_streamer(leg)
        return answer

    async def offer_streamer(self) -> str:
        """For a streamer that wants to be offered to (Unreal 4.27): our offer to receive. Replaces as
        ``answer_streamer``."""
        leg = self._new_streamer()
        self._replace_streamer(leg)
        return leg.offer()

    async def accept_streamer_answer(self, sdp: str) -> None:
        """The streamer's answer to ``offer_streamer``. Raises BadDescriptionError, MediaNotReadyError without an
        offer."""
        leg = self._streamer
        if leg is None or leg.peer.started:
            raise MediaNotReadyError("there is no offer to the streamer that waits for an answer")
        leg.accept(_parse(sdp))
        self._resume_players()

    def open_voice(self, events: VoiceEvents) -> VoiceHub:
        """The participants' voice call on the same port. Raises MediaError before ``start``; close it before this."""
        return VoiceHub(self._port, self._own_certificate(), self._sender, self._settings, events)

    def streamer_gone(self) -> None:
        """The streamer's signalling says it left: close its transport, keep the players waiting for its return."""
        leg, self._streamer = self._streamer, None
        if leg is None:
            return
        for player in self._players.values():
            if player.egress is not None:
                player.egress.stop()
        leg.peer.on_closed = _ignore
        leg.stop("the streamer left")
        self._track(leg.peer)

    def send_to_streamer(self, message: bytes, player_id: str | None = None) -> bool:
        """As ``send_to_player``; with ``player_id`` on that player's own channel if ``open_streamer_channel`` made
        one."""
        return self._streamer is not None and self._streamer.send(message, player_id)

    def open_streamer_channel(self, player_id: str) -> tuple[int, int]:
        """Open a negotiated channel pair to the streamer for one player (``streamerDataChannels``, Pixel Streaming 1).

        Returns (stream the streamer sends on, stream the streamer receives on). Raises MediaNotReadyError when there
        is no streamer.
        """
        if self._streamer is None:
            raise MediaNotReadyError("there is no streamer")
        return self._streamer.open_channel(player_id)

    def close_streamer_channel(self, player_id: str) -> None:
        """Unknown ids are ignored."""
        if self._streamer is not None:
            self._streamer.close_channel(player_id)

    # Players.

    async def offer_player(self, player_id: str) -> str:
        """Our offer: the one codec in use (with RTX), Opus, a data channel. Another call for the same player starts its
        connection anew. Raises MediaNotReadyError before the streamer's media is known."""
        streamer = self._ready_streamer()
        return self._new_player(player_id).offer(streamer.tracks)

    async def accept_player_answer(self, player_id: str, sdp: str) -> None:
        """Raises UnknownPlayerError, BadDescriptionError."""
        leg = self._players.get(player_id)
        if leg is None or leg.peer.started:
            raise UnknownPlayerError(f"no offer to player {player_id} waits for an answer")
        leg.accept(_parse(sdp))

    async def answer_player(self, player_id: str, offer_sdp: str) -> str:
        """For a player that offers (BrowserSendOffer). Raises MediaNotReadyError, BadDescriptionError."""
        streamer = self._ready_streamer()
        offer = _parse(offer_sdp)
        leg = self._new_player(player_id)
        try:
            return leg.answer(offer, streamer.tracks)
        except MediaError:
            self.remove_player(player_id)
            raise

    def remove_player(self, player_id: str) -> None:
        """Close the player's connection. Unknown ids are ignored."""
        leg = self._players.pop(player_id, None)
        if leg is not None:
            leg.peer.on_closed = _ignore
            leg.stop("removed")
            self._track(leg.peer)
            self._route_microphone()

    def send_to_player(self, player_id: str, message: bytes) -> bool:
        """Queue one data-channel message. False: dropped (not open, queue full, too long, or unknown player)."""
        leg = self._players.get(player_id)
        return leg is not None and leg.queue.send(message)

    def request_keyframe(self, player_id: str) -> None:
        """A player asks for a keyframe: merged and throttled as its RTCP is. Unknown ids are ignored."""
        leg = self._players.get(player_id)
        if leg is not None and leg.egress is not None:
            leg.egress.request_keyframe(time.perf_counter())

    def set_controller(self, player_ids: frozenset[str]) -> None:
        """Whose links the policy ``protect_controller`` protects. Empty: nobody holds control."""
        self._controllers = player_ids
        for player_id, leg in self._players.items():
            if leg.egress is not None:
                leg.egress.controls = player_id in player_ids
        self._route_microphone()

    @property
    def layers(self) -> int:
        """How many simulcast layers the streamer has described; 0 before it described anything."""
        tracks = self._streamer.tracks if self._streamer is not None else ()
        return max((len(track.rids) or 1 for track in tracks if track.kind == "video"), default=0)

    def limit_layers(self, player_id: str, layers: int | None, temporal: int | None = None) -> None:
        """Use at most this many of the streamer's simulcast layers for a player, counted from the worst, and temporal
        layers up to this one; None: all."""
        leg = self._players.get(player_id)
        if leg is not None:
            leg.limit_layers(layers, temporal)

    def stats(self) -> MediaStats:
        """A snapshot; cheap enough to take every second."""
        now = time.perf_counter()
        players = tuple(snapshot.player(leg, now) for leg in self._players.values())
        streamer = snapshot.streamer(self._streamer) if self._streamer is not None else None
        modes = {bound.mode for bound in self._port.sockets}
        return MediaStats(
            streamer=streamer,
            players=players,
            counters=dict(self._port.counters),
            segmentation=modes.pop() if len(modes) == 1 else "mixed",
        )

    # Inside.

    def _new_streamer(self) -> StreamerLeg:
        leg = StreamerLeg(self._port, self._own_certificate(), self._settings, self._sender)
        leg.on_video = lambda: self._soon(self._events.on_streamer_media)
        leg.on_open = lambda: self._notify(self._events.on_streamer_open)
        leg.on_data = lambda message: self._notify(self._events.on_streamer_data, message)
        leg.on_player_data = lambda player, message: self._notify(self._events.on_streamer_player_data, player, message)
        leg.on_connected = self._route_microphone
        leg.peer.on_closed = lambda why: self._streamer_closed(leg, why)
        return leg

    def _replace_streamer(self, leg: StreamerLeg) -> None:
        self.streamer_gone()
        self._streamer = leg
        if leg.ingest is not None:
            self._resume_players()

    def _resume_players(self) -> None:
        """Players whose connection carries the new streamer's media go on, the others need a new offer."""
        streamer = self._streamer
        if streamer is None or streamer.ingest is None:
            return
        for player_id, player in list(self._players.items()):
            if not player.carries(streamer.tracks):
                self._soon(self._events.on_reoffer, player_id)
            elif player.egress is not None and player.peer.connected:
                player.egress.follow(streamer.ingest, "switch")

    def _streamer_closed(self, leg: StreamerLeg, why: str) -> None:
        if leg is self._streamer:
            self.streamer_gone()
            self._soon(self._events.on_streamer_closed, why)

    def _ready_streamer(self) -> StreamerLeg:
        if self._streamer is None or not self._streamer.tracks:
            raise MediaNotReadyError("the streamer has not described its media yet")
        return self._streamer

    def _new_player(self, player_id: str) -> PlayerLeg:
        self.remove_player(player_id)
        if len(self._players) >= self._settings.max_players:
            raise MediaError("too many players for one relay")
        leg = PlayerLeg(player_id, self._port, self._own_certificate(), self._settings, self._sender)
        leg.on_open = lambda: self._notify(self._events.on_player_open, player_id)
        leg.on_data = lambda message: self._notify(self._events.on_player_data, player_id, message)
        leg.peer.on_connected = lambda: self._player_connected(leg)
        leg.peer.on_closed = lambda why: self._player_closed(leg, why)
        self._players[player_id] = leg
        return leg

    def _player_connected(self, leg: PlayerLeg) -> None:
        streamer = self._streamer
        usable = streamer is not None and leg.carries(streamer.tracks)
        leg.connected()
        if leg.egress is not None:
            leg.egress.controls = leg.player_id in self._controllers
            leg.egress.start(streamer.ingest if streamer is not None and usable else None)
        self._route_microphone()
        self._soon(self._events.on_player_media, leg.player_id)

    def _route_microphone(self) -> None:
        """The application hears who is in control, if the title allows it and that player sends sound."""
        if self._streamer is None:
            return
        speaking = (leg.microphone for player_id, leg in self._players.items() if player_id in self._controllers)
        microphone = next((m for m in speaking if m is not None and m.peer.connected), None)
        self._streamer.listen_to(microphone.source("audio") if microphone is not None else None)

    def _player_closed(self, leg: PlayerLeg, why: str) -> None:
        if self._players.get(leg.player_id) is leg:
            self.remove_player(leg.player_id)
            self._soon(self._events.on_player_closed, leg.player_id, why)

    def _own_certificate(self) -> aiortc_adapter.Certificate:
        if self._certificate is None or self._closed:
            raise MediaError("the media plane is not running")
        return self._certificate

    def _part(self, peer: Peer, why: str) -> None:
        peer.on_closed = _ignore
        peer.close(why)
        self._track(peer)

    def _track(self, peer: Peer) -> None:
        """Keep a reference to the farewell until it is over, so that ``close`` can wait for it."""
        if peer.closing is not None:
            self._closing.add(peer.closing)
            peer.closing.add_done_callback(self._closing.discard)

    def _soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Call an event from the loop, not from inside whatever is going on now."""
        if not self._closed:
            asyncio.get_running_loop().call_soon(self._notify, callback, *arguments)

    def _notify(self, callback: Callable[..., None], *arguments: Any) -> None:
        if self._closed:
            return
        try:
            callback(*arguments)
        except Exception:
            logger.exception("a media event was not handled")

    def _fast_tick(self) -> None:
        self._timers[0] = asyncio.get_running_loop().call_later(FAST_TICK_SECONDS, self._fast_tick)
        ingest = self._streamer.ingest if self._streamer is not None else None
        if ingest is not None and ingest.peer.connected:
            ingest.fast_tick(time.perf_counter())
            target = self._target()
            if target < DECREASE * ingest.target_bps:
                ingest.ask_bitrate(target)

    def _slow_tick(self) -> None:
        self._timers[1] = asyncio.get_running_loop().call_later(SLOW_TICK_SECONDS, self._slow_tick)
        now = time.perf_counter()
        for player in list(self._players.values()):
            if player.egress is not None:
                player.egress.measure(now)
                player.egress.adapt(now)
            if player.microphone is not None and player.peer.connected:
                player.microphone.report(now)
            if player.queue.stalled(now):
                player.peer.close("it does not read its data channel")
        ingest = self._streamer.ingest if self._streamer is not None else None
        if ingest is not None and ingest.peer.connected:
            ingest.report(now)
            ingest.measure(now)
            ingest.ask_bitrate(self._target())

    def _target(self) -> int:
        now = time.perf_counter()
        streamer = self._streamer
        if streamer is not None and streamer.ingest is not None and streamer.ingest.layered:
            return self._limits.maximum_bps  # each player gets the layer that fits it
        links = [
            (e.controls, e.link.usable_bps(now)) for leg in self._players.values() if (e := leg.egress) is not None
        ]
        return target_bps(self._settings.bandwidth, self._limits, links)


def _parse(text: str) -> sdp.Description:
    try:
        return sdp.parse(text)
    except sdp.SdpError as error:
        raise BadDescriptionError(str(error)) from error


def _ignore(why: str) -> None:
    """The owner asked for the end itself."""
