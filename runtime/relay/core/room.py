"""The people of one session and what they do to each other: roles, control, chat, hands, voice flags, removal.

Events in, effects out; no clock, no sockets. The rules are written down in docs/room-protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.protocol import room as wire
from runtime.protocol.control import JoinClaims
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import Role

from .chat import ChatLog, ChatSettings
from .control import ControlDesk, Standing
from .plain_text import clean_name
from .rates import TokenBucket
from .room_effects import Acted, Dismiss, Effect, RolesChanged, Tell, TellAll, VoiceChanged
from .seats import Departure, Door, Seat, Seats

_MAX_MUTED = 4096
# Hands, names, requests: as fast as a person clicks.
_GESTURES_PER_SECOND, _GESTURES_BURST = 1.0, 10.0


@dataclass(frozen=True, kw_only=True)
class RoomSettings:
    control: str = "ask"
    max_players: int = 20
    players_per_participant: int = 4
    grace_seconds: float = 60.0
    linger_seconds: float = 3.0
    owner_participant: str | None = None
    voice: bool = True
    chat: ChatSettings = field(default_factory=ChatSettings)


class Room:
    def __init__(self, settings: RoomSettings) -> None:
        self._settings = settings
        self.seats = Seats(max_players=settings.max_players, players_per_participant=settings.players_per_participant)
        self.desk = ControlDesk(settings.control)
        self.chat = ChatLog(settings.chat)
        self.owner: str | None = None
        # Who gets the ownership back after an absence; changed only by a transfer.
        self._rightful = settings.owner_participant
        self._vacant = False  # an owner was here and left for good
        self._muted: dict[str, None] = {}
        self._gestures: dict[str, TokenBucket] = {}
        self._handlers: dict[type[Any], Callable[[Seat, Any, float, int], list[Effect]]] = {
            wire.Say: self._say,
            wire.ControlRequest: self._request,
            wire.ControlGrant: self._grant,
            wire.ControlDeny: self._deny,
            wire.ControlTake: self._take,
            wire.ControlRelease: self._release,
            wire.Hand: self._hand,
            wire.Rename: self._rename,
            wire.Activity: lambda *_: [],
            wire.Kick: self._kick,
            wire.Mute: self._mute,
            wire.Lock: self._lock,
            wire.OwnerTransfer: self._transfer,
            wire.VoiceJoin: self._voice_join,
            wire.VoiceLeave: self._voice_leave,
            wire.VoiceMute: self._voice_mute,
        }

    # --- coming and going ---

    def check_admission(self, claims: JoinClaims, door: Door) -> bool:
        """See :meth:`Seats.check`."""
        return self.seats.check(claims, door, is_owner=self._is_rightful(claims))

    def enter(
        self, claims: JoinClaims, door: Door, *, resume: str, now_ms: int, name: str | None = None
    ) -> list[Effect]:
        """A connection of an admitted participant is up. ``resume`` is used only when the seat is new."""
        chosen, given = clean_name(name or ""), clean_name(claims.name) or "Guest"
        seat = self.seats.take(claims, given, resume, now_ms)
        seat.gone_at, seat.said_goodbye = None, False
        if chosen and not seat.is_named:
            # Only the first time: later the page repeats it, and the seat remembers a rename.
            seat.name, seat.is_named = self.seats.free_name(chosen, seat.participant_id), True
        if door is Door.ROOM:
            seat.in_room = True
        else:
            seat.players += 1
        if seat.is_listed:
            return [self._updated(seat)]
        seat.is_listed = True
        seat.voice = wire.VoiceState(muted_by_owner=seat.participant_id in self._muted)
        joined = TellAll(wire.ParticipantJoined(participant=self.describe(seat)), but=seat.participant_id)
        roles = [*self._seat_owner(claims, seat), *self._control_on_arrival(seat)]
        return [joined, Acted(seat.participant_id), *roles]

    def leave(self, participant_id: str, door: Door, *, said_goodbye: bool, now: float) -> list[Effect]:
        """A connection is gone. ``said_goodbye``: the page closed the room because its person left."""
        seat = self.seats.get(participant_id)
        if seat is None:
            return []
        if door is Door.ROOM:
            seat.in_room, seat.said_goodbye = False, said_goodbye
        else:
            seat.players = max(0, seat.players - 1)
        out: list[Effect] = []
        if door is Door.ROOM and seat.voice.joined:
            out += self._set_voice(seat, replace(seat.voice, joined=False))
        if seat.is_connected:
            return [*out, self._updated(seat)]
        seat.gone_at = now
        if seat.said_goodbye:
            return [*out, *self._unlist(seat, Departure.LEFT), *self._forget(seat)]
        return [*out, self._updated(seat)]

    def tick(self, now: float) -> list[Effect]:
        """Call about once a second: absences become departures, departures are forgotten."""
        out: list[Effect] = []
        for seat in self.seats:
            if seat.gone_at is None:
                continue
            away = now - seat.gone_at
            if seat.is_listed and away >= min(self._settings.linger_seconds, self._settings.grace_seconds):
                out += self._unlist(seat, Departure.DISCONNECTED)
            if away >= self._settings.grace_seconds:
                out += self._forget(seat)
        return out

    def _unlist(self, seat: Seat, why: Departure) -> list[Effect]:
        seat.is_listed, seat.hand = False, False
        self.desk.withdraw(seat.participant_id)
        out: list[Effect] = [TellAll(wire.ParticipantLeft(id=seat.participant_id, reason=why.value))]
        if self.desk.holder == seat.participant_id:
            seat.had_control = True
            out += self._move_control(None, None, "kicked" if why is Departure.KICKED else "left")
        return out

    def _forget(self, seat: Seat) -> list[Effect]:
        self.seats.remove(seat.participant_id)
        self._gestures.pop(seat.participant_id, None)
        return self._succeed() if self.owner == seat.participant_id else []

    def _control_on_arrival(self, seat: Seat) -> list[Effect]:
        returns, seat.had_control = seat.had_control, False
        if self.desk.holder is None and (returns or seat.participant_id == self.owner):
            return self._move_control(seat.participant_id, None, "returned" if returns else "joined")
        return []

    # --- ownership ---

    def _is_rightful(self, claims: JoinClaims) -> bool:
        if claims.participant_id in (self.owner, self._rightful):
            return True
        return self._rightful is None and claims.role is Role.OWNER

    def _seat_owner(self, claims: JoinClaims, seat: Seat) -> list[Effect]:
        if self._rightful is None and claims.role is Role.OWNER:
            self._rightful = seat.participant_id
        inherits = claims.role is Role.OWNER or (self._vacant and claims.role is Role.CONTROLLER)
        if self._is_rightful(claims) or (self.owner is None and inherits):
            return self._move_ownership(seat.participant_id)
        return []

    def _succeed(self) -> list[Effect]:
        """The owner is gone for good: whoever is in control, else the longest here of those invited to control."""
        heirs = [s for s in self.seats.listed() if s.participant_id == self.desk.holder]
        heirs += sorted((s for s in self.seats.listed() if s.role is not Role.WATCHER), key=lambda s: s.order)
        self._vacant = not heirs
        return self._move_ownership(heirs[0].participant_id if heirs else None)

    def _move_ownership(self, to: str | None) -> list[Effect]:
        before, self.owner = self.owner, to
        if before == to:
            return []
        if to is not None:
            self._vacant = False
        changed = [s for s in map(self.seats.get, filter(None, (before, to))) if s is not None and s.is_listed]
        return [*map(self._updated, changed), RolesChanged()]

    # --- messages ---

    def handle(self, participant_id: str, message: wire.FromClient, *, now: float, now_ms: int) -> list[Effect]:
        """Obey a message of a participant in the room; raise ``ServiceError`` for the sender."""
        seat = self.seats.get(participant_id)
        handler = self._handlers.get(type(message))
        if seat is None or handler is None:
            raise ServiceError("unknown_message")
        return [*handler(seat, message, now, now_ms), Acted(participant_id)]

    def _say(self, seat: Seat, message: wire.Say, now: float, now_ms: int) -> list[Effect]:
        said = self.chat.say(seat.participant_id, seat.name, message.text, message.client_id, now=now, now_ms=now_ms)
        return [TellAll(wire.Chat(message=said))]

    def _request(self, seat: Seat, _: wire.ControlRequest, now: float, __: int) -> list[Effect]:
        self._gesture(seat, now)
        if not self.desk.request(self._standing(seat)):
            return []
        return [TellAll(wire.ControlRequested(participant=seat.participant_id))]

    def _grant(self, seat: Seat, message: wire.ControlGrant, _: float, __: int) -> list[Effect]:
        self.desk.check_hand_over(self._standing(seat))
        to = self._someone(message.participant)
        return self._move_control(to.participant_id, seat.participant_id, "granted")

    def _deny(self, seat: Seat, message: wire.ControlDeny, _: float, __: int) -> list[Effect]:
        self.desk.check_hand_over(self._standing(seat))
        asker = message.participant
        if not self.desk.withdraw(asker):
            raise ServiceError("bad_message", "This participant has not asked for control.")
        return [Tell(asker, wire.ControlDenied()), TellAll(wire.ControlWithdrawn(participant=asker), but=asker)]

    def _take(self, seat: Seat, _: wire.ControlTake, now: float, __: int) -> list[Effect]:
        self._gesture(seat, now)
        self.desk.check_take(self._standing(seat), owner_is_here=self._owner_is_here)
        return self._move_control(seat.participant_id, seat.participant_id, "taken")

    def _release(self, seat: Seat, _: wire.ControlRelease, __: float, ___: int) -> list[Effect]:
        if self.desk.holder == seat.participant_id:
            return self._move_control(None, seat.participant_id, "released")
        if self.desk.withdraw(seat.participant_id):
            return [TellAll(wire.ControlWithdrawn(participant=seat.participant_id))]
        raise ServiceError("not_in_control")

    def _hand(self, seat: Seat, message: wire.Hand, now: float, _: int) -> list[Effect]:
        self._gesture(seat, now)
        seat.hand = message.raised
        return [self._updated(seat)]

    def _rename(self, seat: Seat, message: wire.Rename, now: float, _: int) -> list[Effect]:
        self._gesture(seat, now)
        name = clean_name(message.name)
        if not name:
            raise ServiceError("bad_message", "The name is empty.")
        seat.name, seat.is_named = self.seats.free_name(name, seat.participant_id), True
        return [self._updated(seat)]

    def _kick(self, seat: Seat, message: wire.Kick, _: float, __: int) -> list[Effect]:
        self._check_owner(seat)
        if message.participant == seat.participant_id:
            raise ServiceError("bad_message", "You cannot remove yourself.")
        gone = self.seats.get(message.participant)
        if gone is None:
            raise ServiceError("bad_message", "This participant is not here.")
        out = self._unlist(gone, Departure.KICKED)
        if gone.voice.joined:
            out.append(VoiceChanged(gone.participant_id, wire.VoiceState()))
        self.seats.kick(gone.participant_id)
        return [*out, Dismiss(gone.participant_id, wire.CloseCode.KICKED, "The owner has removed you.")]

    def _mute(self, seat: Seat, message: wire.Mute, _: float, __: int) -> list[Effect]:
        self._check_owner(seat)
        target = self._someone(message.participant)
        if message.muted and len(self._muted) < _MAX_MUTED:
            self._muted[target.participant_id] = None
        elif not message.muted:
            self._muted.pop(target.participant_id, None)
        return self._set_voice(target, replace(target.voice, muted_by_owner=message.muted))

    def _lock(self, seat: Seat, message: wire.Lock, _: float, __: int) -> list[Effect]:
        self._check_owner(seat)
        if self.seats.locked == message.locked:
            return []
        self.seats.locked = message.locked
        return [TellAll(wire.Locked(locked=message.locked))]

    def _transfer(self, seat: Seat, message: wire.OwnerTransfer, _: float, __: int) -> list[Effect]:
        self._check_owner(seat)
        heir = self._someone(message.participant)
        self._rightful = heir.participant_id
        return self._move_ownership(heir.participant_id)

    def _voice_join(self, seat: Seat, _: wire.VoiceJoin, now: float, __: int) -> list[Effect]:
        self._gesture(seat, now)
        if not self._settings.voice:
            raise ServiceError("forbidden", "Voice is off in this session.")
        return self._set_voice(seat, replace(seat.voice, joined=True), joins=True)

    def _voice_leave(self, seat: Seat, _: wire.VoiceLeave, __: float, ___: int) -> list[Effect]:
        return self._set_voice(seat, replace(seat.voice, joined=False))

    def _voice_mute(self, seat: Seat, message: wire.VoiceMute, now: float, _: int) -> list[Effect]:
        self._gesture(seat, now)
        return self._set_voice(seat, replace(seat.voice, muted=message.muted))

    def voice_lost(self, participant_id: str) -> list[Effect]:
        """The voice connection of a participant is gone by itself."""
        seat = self.seats.get(participant_id)
        return self._set_voice(seat, replace(seat.voice, joined=False)) if seat is not None else []

    # --- pieces ---

    def describe(self, seat: Seat) -> wire.Participant:
        role = Role.CONTROLLER if seat.participant_id == self.desk.holder else Role.WATCHER
        return wire.Participant(
            id=seat.participant_id,
            name=seat.name,
            role=Role.OWNER if seat.participant_id == self.owner else role,
            players=seat.players,
            hand=seat.hand,
            voice=seat.voice,
            joined_at=seat.joined_ms,
        )

    def participants(self) -> tuple[wire.Participant, ...]:
        return tuple(self.describe(seat) for seat in self.seats.listed())

    def control_state(self) -> wire.ControlState:
        return wire.ControlState(holder=self.desk.holder, requests=self.desk.requests, mode=self.desk.mode)

    def _updated(self, seat: Seat) -> Effect:
        return TellAll(wire.ParticipantUpdated(participant=self.describe(seat)))

    def _move_control(self, to: str | None, by: str | None, reason: str) -> list[Effect]:
        before = self.desk.holder
        if not self.desk.move(to):
            return []
        changed = [s for s in map(self.seats.get, filter(None, (before, to))) if s is not None and s.is_listed]
        told: list[Effect] = [TellAll(wire.ControlChanged(holder=to, by=by, reason=reason))]
        return [*told, *map(self._updated, changed), RolesChanged()]

    def _set_voice(self, seat: Seat, voice: wire.VoiceState, *, joins: bool = False) -> list[Effect]:
        """``joins``: even if nothing changes (a page asks anew after losing its connection)."""
        if voice == seat.voice and not joins:
            return []
        seat.voice = voice
        return [self._updated(seat), VoiceChanged(seat.participant_id, voice, joins)]

    def _standing(self, seat: Seat) -> Standing:
        return Standing(participant_id=seat.participant_id, role=seat.role, is_owner=seat.participant_id == self.owner)

    def _owner_is_here(self) -> bool:
        seat = self.seats.get(self.owner) if self.owner is not None else None
        return seat is not None and seat.is_listed

    def _check_owner(self, seat: Seat) -> None:
        if seat.participant_id != self.owner:
            raise ServiceError("forbidden", "Only the owner can do this.")

    def _someone(self, participant_id: str) -> Seat:
        seat = self.seats.get(participant_id)
        if seat is None or not seat.is_listed:
            raise ServiceError("bad_message", "This participant is not here.")
        return seat

    def _gesture(self, seat: Seat, now: float) -> None:
        bucket = self._gestures.setdefault(seat.participant_id, TokenBucket(_GESTURES_PER_SECOND, _GESTURES_BURST))
        if not bucket.take(now):
            raise ServiceError("rate_limited", retry_after_seconds=1.0)
