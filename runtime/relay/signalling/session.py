"""One session: its people, its streamer and its players, joined. Everything else asks or tells it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_secret
from runtime.chassis.lifecycle import Background
from runtime.protocol import room as wire
from runtime.protocol.control import JoinClaims, RelayStatus
from runtime.protocol.errors import ServiceError
from runtime.protocol.room import CloseCode
from runtime.protocol.states import EndReason
from runtime.relay.config import RelayConfig
from runtime.relay.core import activity, room_effects
from runtime.relay.core.activity import SessionTimer
from runtime.relay.core.chat import ChatSettings
from runtime.relay.core.room import Room, RoomSettings
from runtime.relay.core.seats import Door
from runtime.relay.rtc.interface import MediaEvents

from .admission import Gate
from .endings import END_MESSAGES
from .players import Player
from .ports import MediaPlane, Peer
from .stage import Stage
from .statistics import room_stats
from .status import StatusBoard
from .voice import VoiceDesk

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.2
_STATS_SECONDS = 2.0


class RoomPeer(Peer, Protocol):
    """The room socket of one participant."""

    participant_id: str


class Session:
    """Runs on one event loop; methods that take effect return at once. Constructors do no input or output."""

    def __init__(self, config: RelayConfig, clock: Clock, media: Callable[[MediaEvents], MediaPlane]) -> None:
        """``media`` makes the media plane that reports to the given events."""
        policy, limits = config.policy, config.limits
        self.config, self.clock = config, clock
        self.work = Background()
        self.room = Room(
            RoomSettings(
                control=policy.control,
                max_players=policy.max_players,
                players_per_participant=limits.players_per_participant,
                grace_seconds=policy.reconnect_grace_seconds,
                linger_seconds=limits.away_linger_seconds,
                owner_participant=config.owner_participant,
                voice=policy.voice,
                chat=ChatSettings(
                    enabled=policy.chat,
                    history=limits.chat_history,
                    characters=limits.chat_characters,
                    messages_per_second=limits.chat_messages_per_second,
                    messages_burst=limits.chat_messages_burst,
                ),
            )
        )
        self.timer = SessionTimer(
            idle_seconds=policy.idle_seconds,
            idle_warning_seconds=policy.idle_warning_seconds,
            max_length_seconds=policy.max_length_seconds,
            length_warning_seconds=policy.length_warning_seconds,
        )
        self.gate = Gate(config, self.room.seats, clock)
        self.stage = Stage(config, clock, media, self, self.work)
        self.voice = VoiceDesk(self)
        self.board = StatusBoard()
        self.socket_counters: Counter[str] = Counter()
        self.ended = asyncio.Event()
        self._rooms: dict[str, RoomPeer] = {}
        self._open: set[Peer] = set()
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._end: tuple[EndReason, str] | None = None
        self._stream_state = "waiting"
        self._had_participant = False
        self._stats_at = 0.0

    # --- parts of a service ---

    async def start(self) -> None:
        self.work.spawn("session clock", self._run())

    async def close(self) -> None:
        await self.work.close(deadline_seconds=1.0)

    async def _run(self) -> None:
        while True:
            try:
                await self.tick()
            except Exception:
                logger.exception("a session tick failed")
            await asyncio.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        """Whatever is due."""
        if self._end is not None:
            return
        now = self.clock.monotonic()
        await self.stage.upstream.tick(now)
        self.apply_room(self.room.tick(now))
        self._begin_when_usable(now)
        self._apply_timer(self.timer.tick(now))
        lost_since = self.stage.upstream.lost_since
        if lost_since is not None and now - lost_since >= self.config.policy.streamer_grace_seconds:
            self.end(EndReason.APP_CRASHED, "The application stopped and did not come back.")
        if now - self._stats_at >= _STATS_SECONDS:
            self._stats_at = now
            self._tell_stats()
        self.update_status()

    def _begin_when_usable(self, now: float) -> None:
        """Its time runs as soon as there is a stream and somebody it is meant for.

        A session started ahead of time for nobody in particular waits without a clock until somebody comes.
        """
        if self.timer.has_begun or self.stage.upstream.stream_state == "waiting":
            return
        if self._had_participant or self.config.owner_participant is not None:
            self.timer.begin(now)

    # --- the end ---

    def end_in(self, seconds: float) -> None:
        """Give the session another end by length, and tell everybody."""
        self._apply_timer(self.timer.end_in(self.clock.monotonic(), seconds))

    @property
    def end_reason(self) -> EndReason | None:
        return self._end[0] if self._end is not None else None

    def end(self, reason: EndReason, message: str | None = None) -> None:
        """Tell everybody, close everything. Only the first call counts."""
        if self._end is not None:
            return
        text = message or END_MESSAGES[reason]
        self._end = reason, text
        logger.info("the session ends: %s (%s)", reason, text)
        self.update_status()
        self.tell_all(wire.Ended(reason=reason, message=text))
        self._hang_up(CloseCode.SESSION_OVER, text)
        self.ended.set()

    def restart(self) -> None:
        """The process is going away but the session is not: pages come back by themselves."""
        self._hang_up(CloseCode.RESTART, "The relay restarts.")

    def _hang_up(self, code: CloseCode, text: str) -> None:
        for peer in list(self._rooms.values()):
            peer.shut(code, text)
        self.stage.hang_up(code, text)

    def opened(self, peer: Peer) -> None:
        """A socket of any kind is up."""
        self._open.add(peer)
        self._nobody.clear()

    def gone(self, peer: Peer) -> None:
        self._open.discard(peer)
        if not self._open:
            self._nobody.set()

    async def all_gone(self) -> None:
        """Wait until every socket is closed."""
        await self._nobody.wait()

    # --- the room ---

    def enter_room(self, peer: RoomPeer, claims: JoinClaims, name: str | None) -> None:
        """``hello`` was right. Raise ``ServiceError`` when the participant may not come in."""
        self._check_running()
        self.room.check_admission(claims, Door.ROOM)
        older = self._rooms.pop(claims.participant_id, None)
        if older is not None:
            older.shut(CloseCode.SUPERSEDED, "You have opened this session elsewhere.")
            self.voice_lost(claims.participant_id)  # the call belonged to that page
        peer.participant_id = claims.participant_id
        self._had_participant = True
        self.apply_room(self.room.enter(claims, Door.ROOM, resume=new_secret(), now_ms=self.clock.now_ms(), name=name))
        self._rooms[claims.participant_id] = peer
        peer.send(wire.to_json_object(self._welcome(claims.participant_id)))
        self.update_status()

    def leave_room(self, peer: RoomPeer, *, said_goodbye: bool) -> None:
        if self._rooms.get(peer.participant_id) is not peer:
            return  # superseded
        del self._rooms[peer.participant_id]
        now = self.clock.monotonic()
        self.apply_room(self.room.leave(peer.participant_id, Door.ROOM, said_goodbye=said_goodbye, now=now))
        self.update_status()

    def room_message(self, peer: RoomPeer, message: wire.FromClient) -> None:
        """Raise ``ServiceError`` for the sender."""
        if self._rooms.get(peer.participant_id) is not peer:
            return
        if isinstance(message, wire.VoiceAnswer):
            self.voice.answered(peer.participant_id, message)
            return
        self.apply_room(
            self.room.handle(peer.participant_id, message, now=self.clock.monotonic(), now_ms=self.clock.now_ms())
        )

    def _welcome(self, participant_id: str) -> wire.Welcome:
        seat = self.room.seats.get(participant_id)
        policy, now = self.config.policy, self.clock.monotonic()
        left = self.timer.seconds_until_length_end(now)
        countdown = self.timer.countdown
        has_idle = policy.idle_seconds > 0
        return wire.Welcome(
            version=wire.VERSION,
            you=participant_id,
            session=wire.SessionFacts(
                id=self.config.session_id,
                title=self.config.title,
                ends_at=self.clock.now_ms() + int(left * 1000) if left is not None else None,
                idle_seconds=policy.idle_seconds if has_idle else None,
                idle_warning_seconds=policy.idle_warning_seconds if has_idle else None,
                chat=policy.chat,
                voice=policy.voice,
                microphone=policy.microphone,
                max_players=policy.max_players,
            ),
            participants=self.room.participants(),
            control=self.room.control_state(),
            chat=self.room.chat.messages,
            locked=self.room.seats.locked,
            idle=wire.IdleState(seconds_left=countdown) if countdown is not None else None,
            stream=self.stage.upstream.stream_state,
            resume=seat.resume if seat is not None else "",
        )

    def tell_all(self, message: wire.ToClient, but: str | None = None) -> None:
        body = wire.to_json_object(message)
        for participant_id, peer in list(self._rooms.items()):
            if participant_id != but:
                peer.send(body)

    def tell(self, participant_id: str, message: wire.ToClient) -> None:
        if (peer := self._rooms.get(participant_id)) is not None:
            peer.send(wire.to_json_object(message))

    def voice_lost(self, participant_id: str) -> None:
        self.apply_room(self.room.voice_lost(participant_id))

    def apply_room(self, effects: list[room_effects.Effect]) -> None:
        for effect in effects:
            match effect:
                case room_effects.TellAll(message, but):
                    self.tell_all(message, but)
                case room_effects.Tell(participant_id, message):
                    self.tell(participant_id, message)
                case room_effects.RolesChanged():
                    self.stage.set_roles(self.room.owner, self.room.desk.holder)
                case room_effects.Acted(participant_id):
                    self.active(participant_id)
                case room_effects.Dismiss(participant_id, code, text):
                    self._dismiss(participant_id, code, text)
                case room_effects.VoiceChanged():
                    self.voice.changed(effect)

    def _dismiss(self, participant_id: str, code: CloseCode, text: str) -> None:
        peer = self._rooms.pop(participant_id, None)
        if peer is not None:
            peer.shut(code, text)
        for player in self.stage.players.of(participant_id):
            self.stage.dismiss(player, code, text, for_good=True)

    def active(self, participant_id: str | None) -> None:
        """A person did something."""
        self._apply_timer(self.timer.active(self.clock.monotonic(), participant_id))

    def _apply_timer(self, effects: list[activity.Effect]) -> None:
        for effect in effects:
            match effect:
                case activity.IdleWarned(seconds_left):
                    self.tell_all(wire.IdleWarning(seconds_left=seconds_left))
                case activity.IdleCancelled(by):
                    self.tell_all(wire.IdleCancelled(by=by))
                case activity.TimeWarned(seconds_left):
                    self.tell_all(wire.TimeWarning(seconds_left=seconds_left))
                case activity.TimeToEnd(reason):
                    self.end(reason)

    # --- players ---

    def add_player(self, peer: Peer, claims: JoinClaims) -> Player:
        """A player's socket is open. Raise ``ServiceError`` when its participant may not come in."""
        self._check_running()
        if self.room.check_admission(claims, Door.PLAYER):
            oldest = self.stage.players.of(claims.participant_id)[0]
            text = "You have opened this stream elsewhere."
            self.stage.dismiss(oldest, CloseCode.SUPERSEDED, text, for_good=True)
        player = self.stage.add_player(claims.participant_id, peer, claims.ice_servers)
        self._had_participant = True
        self.apply_room(self.room.enter(claims, Door.PLAYER, resume=new_secret(), now_ms=self.clock.now_ms()))
        self.update_status()
        return player

    # --- StageOwner ---

    def player_left(self, player: Player) -> None:
        now = self.clock.monotonic()
        self.apply_room(self.room.leave(player.participant_id, Door.PLAYER, said_goodbye=False, now=now))
        self.update_status()

    def stage_changed(self) -> None:
        state = self.stage.upstream.stream_state
        if state != self._stream_state:
            self._stream_state = state
            logger.info("stream %s", state)
            if self._end is None:
                self.tell_all(wire.Stream(state=state))
        self.update_status()

    # --- what others see ---

    def _check_running(self) -> None:
        if self._end is not None:
            raise ServiceError("session_ended", self._end[1])

    def update_status(self) -> None:
        reason, detail = self._end if self._end is not None else (None, None)
        self.board.update(
            RelayStatus(
                version=0,
                streamer=self.stage.upstream.streamer_state,
                participants=len(self.room.seats.listed()),
                players=len(self.stage.players),
                first_frame_ms=self.stage.first_frame_ms,
                first_player_ms=self.stage.first_player_ms,
                idle_seconds_left=self.timer.idle_seconds_left(self.clock.monotonic()),
                end_reason=reason,
                end_detail=detail,
            )
        )

    def _tell_stats(self) -> None:
        if not self._rooms:
            return
        everything, own = room_stats(self.stage.media.stats(), self.stage.player_owners())
        nothing = replace(everything, players=())
        for participant_id, peer in list(self._rooms.items()):
            told = everything if participant_id == self.room.owner else own.get(participant_id, nothing)
            peer.send(wire.to_json_object(told))
