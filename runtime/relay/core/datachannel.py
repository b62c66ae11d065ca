"""The data channels of one session: players' messages up, the streamer's down. Events in, effects out.

Two ways up. *Shared*: the streamer sees the relay as one player, so the relay answers what is about that player,
replays what joiners missed and decides whom an answer belongs to. *Addressed* (Pixel Streaming 2 multiplex, Pixel
Streaming 1 per-player channels): messages carry the player, and the streamer's answers too.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from runtime.protocol import datachannel as wire
from runtime.protocol.datachannel import Direction, MalformedMessageError, Shape, Vocabulary

from .data_effects import Active, Effect, Flooding, ToPlayer, ToStreamer, WantKeyframe
from .held import HeldInput
from .rates import TokenBucket
from .routing import (
    FORGED_NAMES,
    QUESTION_OF,
    CommandKind,
    Downward,
    Upward,
    command_kind,
    downward,
    is_activity,
    upward,
)
from .streamer_cache import FileTransfer, FreezeFrame, OpenQuestions

_QUESTIONS_PER_SECOND, _QUESTIONS_BURST = 5.0, 20.0
_MAX_PADS_WAITING = 8


@dataclass(frozen=True, kw_only=True)
class DataLimits:
    messages_per_second: float = 5000.0
    messages_burst: float = 10_000.0
    bytes_per_second: float = 4 * 1024 * 1024
    bytes_burst: float = 8 * 1024 * 1024


@dataclass(kw_only=True)
class _Player:
    player_id: str
    participant_id: str
    messages: TokenBucket
    octets: TokenBucket
    questions: TokenBucket
    is_open: bool = False
    held: HeldInput = field(default_factory=HeldInput)
    # Gamepads this page announced while it was not in control; the streamer hears of them when it is.
    pads_waiting: int = 0


class DataRouter:
    """Rules and caches of one session's data channels. Keeps no reference to sockets and reads no clock."""

    def __init__(self, limits: DataLimits, *, allow_commands: bool) -> None:
        self._limits = limits
        self._allow_commands = allow_commands
        self._players: dict[str, _Player] = {}
        self._owner: str | None = None
        self._holder: str | None = None
        self._quality_owner: str | None = None
        self.addressed = False
        self.counters: Counter[str] = Counter()
        self.streamer_reset()

    # --- the streamer's connection ---

    def streamer_reset(self) -> None:
        """A new streamer connection: what the old one said holds no longer."""
        self.vocabulary = Vocabulary.built_in(Direction.TO_STREAMER)
        self._down = Vocabulary.built_in(Direction.FROM_STREAMER)
        self._protocol: dict[Direction, bytes] = {}
        self._initial_settings: bytes | None = None
        self._freeze = FreezeFrame()
        self._file = FileTransfer()
        self._questions = OpenQuestions()
        for player in self._players.values():
            player.held.forget_axes()

    def streamer_open(self) -> list[Effect]:
        """Its channel is open: gamepads of those in control are announced to it anew."""
        return [effect for player in self._holders() for effect in self._announce_pads(player)]

    # --- players ---

    def player_added(self, player_id: str, participant_id: str) -> None:
        limits = self._limits
        self._players[player_id] = _Player(
            player_id=player_id,
            participant_id=participant_id,
            messages=TokenBucket(limits.messages_per_second, limits.messages_burst),
            octets=TokenBucket(limits.bytes_per_second, limits.bytes_burst),
            questions=TokenBucket(_QUESTIONS_PER_SECOND, _QUESTIONS_BURST),
        )

    def player_open(self, player_id: str) -> list[Effect]:
        """Its channel is open (again): everything a joiner missed, in the order a streamer would have sent it."""
        player = self._players.get(player_id)
        if player is None:
            return []
        player.is_open = True
        missed = [self._protocol[d] for d in Direction if d in self._protocol]
        if self._initial_settings is not None and not missed:
            # Pages ask for the settings after each Protocol; without one they never would.
            missed.append(self._initial_settings)
        missed.extend(self._freeze.messages)
        out: list[Effect] = [ToPlayer(player_id, message) for message in missed]
        out += self._say_input_ownership([player])
        out += self._announce_pads(player) if self._in_control(player) else []
        return out + self._settle_quality_owner([player])

    def open_players(self) -> list[str]:
        return [player.player_id for player in self._players.values() if player.is_open]

    def player_closed(self, player_id: str) -> list[Effect]:
        """Its channel is gone but the player stays: let go of what it held until it is open again."""
        player = self._players.get(player_id)
        if player is None or not player.is_open:
            return []
        player.is_open = False
        out: list[Effect] = [ToStreamer(m, player_id) for m in player.held.releases(self.vocabulary, leaving=False)]
        return out + self._settle_quality_owner([])

    def player_removed(self, player_id: str) -> list[Effect]:
        """It is gone: let go of what it held."""
        player = self._players.pop(player_id, None)
        if player is None:
            return []
        out: list[Effect] = [ToStreamer(m, player_id) for m in player.held.releases(self.vocabulary, leaving=True)]
        return out + self._settle_quality_owner([])

    # --- roles ---

    def set_roles(self, *, owner: str | None, holder: str | None) -> list[Effect]:
        """Participants who own the session and who are in control now."""
        before, self._owner = self._holders(), owner
        moved, self._holder = holder != self._holder, holder
        out: list[Effect] = []
        if moved:
            for player in before:
                out += [ToStreamer(m, player.player_id) for m in player.held.releases(self.vocabulary, leaving=False)]
            out += self._say_input_ownership(self._players.values())
            for player in self._holders():
                out += self._announce_pads(player)
        return out + self._settle_quality_owner([])

    def _holders(self) -> list[_Player]:
        return [p for p in self._players.values() if p.participant_id == self._holder]

    def _in_control(self, player: _Player) -> bool:
        return player.participant_id == self._holder

    def _say_input_ownership(self, players: Iterable[_Player]) -> list[Effect]:
        return self._say_flag("InputControlOwnership", players, self._holder)

    def _settle_quality_owner(self, new: list[_Player]) -> list[Effect]:
        """Whose limits on the picture count: the owner's while the owner watches, else those of who is in control.

        Every stock page echoes its own limits as soon as it gets the streamer's, so each joiner would rewrite them.
        """
        watching = {p.participant_id for p in self._players.values() if p.is_open}
        wanted = self._owner if self._owner in watching else self._holder
        told: Iterable[_Player] = self._players.values() if wanted != self._quality_owner else new
        self._quality_owner = wanted
        return self._say_flag("QualityControlOwnership", told, wanted)

    def _say_flag(self, name: str, players: Iterable[_Player], who: str | None) -> list[Effect]:
        shape = self._down.named(name)
        if shape is None:
            return []
        return [
            ToPlayer(p.player_id, bytes((shape.number, int(p.participant_id == who)))) for p in players if p.is_open
        ]

    def _announce_pads(self, player: _Player) -> list[Effect]:
        shape = self.vocabulary.named("GamepadConnected")
        waiting, player.pads_waiting = player.pads_waiting, 0
        if shape is None:
            return []
        return [ToStreamer(shape.message(), player.player_id) for _ in range(waiting)]

    # --- from a player ---

    def from_player(self, player_id: str, message: bytes, now: float) -> list[Effect]:
        """One message of a player. Never raises, whatever the message is."""
        player = self._players.get(player_id)
        if player is None:
            return []
        if not (player.messages.take(now) and player.octets.take(now, len(message))):
            self.counters["flood"] += 1
            return [Flooding(player_id)]
        shape = self.vocabulary.numbered(message[0]) if message else None
        if not message or message[0] in wire.SFU_NUMBERS or (shape is not None and shape.name in FORGED_NAMES):
            self.counters["forged" if message else "malformed"] += 1
            return []
        if shape is None:
            return self._pass_unruled(player, message)
        try:
            values = shape.values(message)
        except MalformedMessageError:
            self.counters["malformed"] += 1
            return []
        if any(isinstance(value, float) and not math.isfinite(value) for value in values):
            self.counters["malformed"] += 1
            return []
        return self._judged(player, shape, values, message, now)

    def _judged(
        self, player: _Player, shape: Shape, values: tuple[Any, ...], message: bytes, now: float
    ) -> list[Effect]:
        match upward(shape.name):
            case Upward.CONTROL:
                return self._control(player, shape.name, values, message, now)
            case Upward.COMMAND:
                return self._command(player, values, message)
            case Upward.QUESTION:
                return self._question(player, shape.name, message, now)
            case Upward.KEYFRAME:
                return [WantKeyframe(player.player_id)] if self._may_ask(player, now) else []
            case Upward.OWNERSHIP:
                return self._say_flag("QualityControlOwnership", [player], self._quality_owner)
            case Upward.SETTINGS:
                return self._settings(player, message, now)
            case Upward.REFUSED:
                self.counters["refused"] += 1
                return []
            case Upward.UNKNOWN:
                return self._pass_unruled(player, message)

    def _pass_unruled(self, player: _Player, message: bytes) -> list[Effect]:
        if self._in_control(player):
            return [ToStreamer(message, player.player_id)]
        self.counters["denied"] += 1
        return []

    def _may_ask(self, player: _Player, now: float) -> bool:
        if player.questions.take(now):
            return True
        self.counters["throttled"] += 1
        return False

    def _control(self, player: _Player, name: str, values: tuple[Any, ...], message: bytes, now: float) -> list[Effect]:
        if name == "GamepadAnalog" and len(values) == 3:
            active = player.held.axis_is_active(*values)
        else:
            active = is_activity(name, values)
        out: list[Effect] = [Active(player.participant_id)] if active else []
        if not self._in_control(player) and not self._about_own_pad(player, name, values):
            self.counters["denied"] += 1
            return out
        if not player.held.note(name, values):
            self.counters["unchanged"] += 1
            return out
        if name == "GamepadConnected" and not self.addressed:
            self._questions.asked(name, player.player_id, now)
        return [*out, ToStreamer(message, player.player_id)]

    def _about_own_pad(self, player: _Player, name: str, values: tuple[Any, ...]) -> bool:
        """Gamepads come and go while somebody else is in control; the streamer's numbers for them stay right."""
        if name == "GamepadConnected":
            player.pads_waiting = min(_MAX_PADS_WAITING, player.pads_waiting + 1)
        elif name == "GamepadDisconnected":
            if values and player.held.owns_pad(values[0]):
                return True
            player.pads_waiting = max(0, player.pads_waiting - 1)
        return False

    def _command(self, player: _Player, values: tuple[Any, ...], message: bytes) -> list[Effect]:
        kind = command_kind(values[0]) if values and isinstance(values[0], str) else CommandKind.MALFORMED
        allowed = {
            CommandKind.RESOLUTION: self._in_control(player),
            CommandKind.QUALITY: player.participant_id == self._quality_owner,
            CommandKind.CONSOLE: self._allow_commands and player.participant_id == self._owner,
            CommandKind.MALFORMED: False,
        }[kind]
        if allowed:
            return [ToStreamer(message, player.player_id)]
        self.counters["malformed" if kind is CommandKind.MALFORMED else "denied"] += 1
        return []

    def _question(self, player: _Player, name: str, message: bytes, now: float) -> list[Effect]:
        if not self._may_ask(player, now):
            return []
        if not self.addressed:
            self._questions.asked(name, player.player_id, now)
        return [ToStreamer(message, player.player_id)]

    def _settings(self, player: _Player, message: bytes, now: float) -> list[Effect]:
        if self._initial_settings is not None:
            return [ToPlayer(player.player_id, self._initial_settings)]
        return [ToStreamer(message, player.player_id)] if self._may_ask(player, now) else []

    # --- from the streamer ---

    def from_streamer(self, message: bytes, now: float) -> list[Effect]:
        """One message on the channel all players share. Never raises."""
        shape = self._known_from_streamer(message)
        if shape is None:
            return []
        if shape.number == wire.PROTOCOL_NUMBER:
            return self._broadcast(message) if self._learn(message) else []
        match downward(shape.name):
            case Downward.LOCAL:
                return []
            case Downward.REQUESTER:
                return self._answer(shape.name, message, now)
            case Downward.CONTROLLER:
                return [ToPlayer(p.player_id, message) for p in self._holders() if p.is_open]
            case Downward.FILE:
                return self._file_part(shape.name, message)
            case Downward.SETTINGS:
                changed, self._initial_settings = message != self._initial_settings, message
                return self._broadcast(message) if changed else []
            case Downward.FREEZE:
                self._freeze.add(message)
            case Downward.UNFREEZE:
                self._freeze.clear()
            case Downward.EVERYONE:
                pass
        return self._broadcast(message)

    def from_streamer_to(self, player_id: str, message: bytes) -> list[Effect]:
        """One message the streamer addressed to one player. Never raises."""
        shape = self._known_from_streamer(message)
        player = self._players.get(player_id)
        if shape is None or player is None:
            self.counters["streamer_unaddressed"] += int(player is None)
            return []
        if shape.number == wire.PROTOCOL_NUMBER:
            self._learn(message)
        else:
            match downward(shape.name):
                case Downward.LOCAL:
                    return []
                case Downward.SETTINGS:
                    self._initial_settings = message
                case Downward.REQUESTER if shape.name == "GamepadResponse":
                    self._note_pad(player, message)
                case _:
                    pass
        return [ToPlayer(player_id, message)] if player.is_open else []

    def _known_from_streamer(self, message: bytes) -> Shape | None:
        shape = self._down.numbered(message[0]) if message else None
        if shape is None:
            # Pages throw on numbers they do not know.
            self.counters["streamer_unknown"] += 1
        return shape

    def _learn(self, message: bytes) -> bool:
        """Take a Protocol message in; True when it says something new."""
        try:
            said = wire.parse_protocol(message)
        except MalformedMessageError:
            self.counters["streamer_malformed"] += 1
            return False
        if self._protocol.get(said.direction) == message:
            return False
        self._protocol[said.direction] = message
        if said.direction is Direction.TO_STREAMER:
            self.vocabulary = Vocabulary.built_in(Direction.TO_STREAMER).with_learned(said.shapes)
        else:
            kept = [s for s in said.shapes if s.number != wire.PROTOCOL_NUMBER and s.name != "Protocol"]
            self._down = Vocabulary.built_in(Direction.FROM_STREAMER).with_learned(kept)
        return True

    def _answer(self, name: str, message: bytes, now: float) -> list[Effect]:
        player_id = self._questions.answered(QUESTION_OF[name], now)
        player = self._players.get(player_id) if player_id is not None else None
        if player is None or not player.is_open:
            self.counters["streamer_unaddressed"] += 1
            return []
        if name == "GamepadResponse":
            self._note_pad(player, message)
        return [ToPlayer(player.player_id, message)]

    def _note_pad(self, player: _Player, message: bytes) -> None:
        try:
            pad = json.loads(wire.text_of(message)).get("controllerId")
        except (ValueError, AttributeError, RecursionError):
            return
        if isinstance(pad, int) and 0 <= pad <= 255:
            player.held.pad_given(pad)

    def _file_part(self, name: str, message: bytes) -> list[Effect]:
        # Files answer something the page in control did; when nobody is, everybody watching may have them.
        asked_for = self._holders() or list(self._players.values())
        now_open = frozenset(p.player_id for p in asked_for if p.is_open)
        recipients = self._file.recipients(name, message, now_open)
        return [ToPlayer(p, message) for p in recipients if p in self._players and self._players[p].is_open]

    def _broadcast(self, message: bytes) -> list[Effect]:
        return [ToPlayer(p.player_id, message) for p in self._players.values() if p.is_open]
