"""The people of one session: who is here, who will be remembered, who is kept out. Time is passed in."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from runtime.protocol.control import JoinClaims
from runtime.protocol.errors import ServiceError
from runtime.protocol.room import VoiceState
from runtime.protocol.states import Role

_MAX_KICKED = 4096


class Door(Enum):
    """Which socket a participant comes in by."""

    ROOM = "room"
    PLAYER = "player"


class Departure(Enum):
    """Why a participant is no longer listed; the values go to pages."""

    LEFT = "left"
    DISCONNECTED = "disconnected"
    KICKED = "kicked"


@dataclass(kw_only=True)
class Seat:
    """One participant, from the first connection until the grace time after the last one is over."""

    participant_id: str
    role: Role  # the token's
    name: str
    resume: str
    joined_ms: int
    order: int  # rises from one participant to the next
    in_room: bool = False
    players: int = 0
    is_listed: bool = False
    is_named: bool = False  # by the person, not only by the token
    hand: bool = False
    voice: VoiceState = field(default_factory=VoiceState)
    gone_at: float | None = None
    said_goodbye: bool = False
    had_control: bool = False  # when it vanished

    @property
    def is_connected(self) -> bool:
        return self.in_room or self.players > 0


class Seats:
    """All seats. Decides admission; what follows from coming and going is the room's."""

    def __init__(self, *, max_players: int, players_per_participant: int) -> None:
        self._max_players = max_players
        self._players_per_participant = players_per_participant
        self._seats: dict[str, Seat] = {}
        self._kicked: dict[str, None] = {}
        self._count = 0
        self.locked = False

    def get(self, participant_id: str) -> Seat | None:
        return self._seats.get(participant_id)

    def __iter__(self) -> Iterator[Seat]:
        return iter(list(self._seats.values()))

    def listed(self) -> list[Seat]:
        """Who is here, in the order of arrival."""
        return [seat for seat in self._seats.values() if seat.is_listed]

    @property
    def players(self) -> int:
        return sum(seat.players for seat in self._seats.values())

    def resumes(self, resume: str) -> Seat | None:
        """The seat that was given this secret."""
        if not resume:
            return None
        given = resume.encode("utf-8", "replace")
        return next((s for s in self._seats.values() if hmac.compare_digest(s.resume.encode(), given)), None)

    def check(self, claims: JoinClaims, door: Door, *, is_owner: bool) -> bool:
        """Raise ``ServiceError`` ``kicked``, ``session_locked`` or ``session_full``.

        True: the participant gets in by giving up an older stream of its own. The owner always gets in once: a session
        must not be full of guests while its owner waits outside.
        """
        participant_id = claims.participant_id
        seat = self._seats.get(participant_id)
        if participant_id in self._kicked:
            raise ServiceError("kicked")
        if self.locked and seat is None and not is_owner:
            raise ServiceError("session_locked")
        if door is Door.PLAYER:
            own = seat.players if seat is not None else 0
            if own >= self._players_per_participant or (own and self.players >= self._max_players):
                return True
            full = self.players >= self._max_players
        else:
            full = (seat is None or not seat.is_listed) and len(self.listed()) >= self._max_players
        if full and not is_owner:
            raise ServiceError("session_full")
        return False

    def take(self, claims: JoinClaims, name: str, resume: str, now_ms: int) -> Seat:
        """The participant's seat; a new one is called ``name`` and remembers ``resume``."""
        seat = self._seats.get(claims.participant_id)
        if seat is not None:
            seat.role = claims.role
            return seat
        self._count += 1
        seat = Seat(
            participant_id=claims.participant_id,
            role=claims.role,
            name=self.free_name(name, claims.participant_id),
            resume=resume,
            joined_ms=now_ms,
            order=self._count,
        )
        self._seats[claims.participant_id] = seat
        return seat

    def remove(self, participant_id: str) -> None:
        self._seats.pop(participant_id, None)

    def kick(self, participant_id: str) -> None:
        """Remove, and refuse this participant from now on."""
        self.remove(participant_id)
        while len(self._kicked) >= _MAX_KICKED:
            del self._kicked[next(iter(self._kicked))]
        self._kicked[participant_id] = None

    def is_kicked(self, participant_id: str) -> bool:
        return participant_id in self._kicked

    def free_name(self, wanted: str, for_id: str) -> str:
        """``wanted``, with a number when somebody else here is called that: a name must not pass for another's."""
        taken = {seat.name.casefold() for seat in self._seats.values() if seat.participant_id != for_id}
        name, number = wanted, 2
        while name.casefold() in taken:
            name, number = f"{wanted[:34]} ({number})", number + 1
        return name
