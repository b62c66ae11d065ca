"""Messages of the room socket (docs/room-protocol.md). JSON objects told apart by ``type``; times are epoch ms.

Adapters decode the client's with ``runtime.chassis.codec.convert`` and encode the relay's with :func:`to_json_object`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, ClassVar, get_args

from .states import EndReason, Role

VERSION = 1


class CloseCode(IntEnum):
    """WebSocket close codes of ``/player`` and ``/room`` (RFC 6455 section 7.4; 4000 and up are ours)."""

    LEFT = 1000
    SESSION_OVER = 1001  # also keeps Epic's page from reconnecting
    REFUSED = 1008
    TOO_BIG = 1009
    KICKED_BY_STREAMER = 1011
    RESTART = 1012
    FULL = 1013  # full or locked
    SUPERSEDED = 4000
    KICKED = 4001


# --- client -> relay ---


@dataclass(frozen=True, kw_only=True)
class Hello:
    TYPE: ClassVar[str] = "hello"
    version: int
    token: str = ""
    name: str | None = None
    resume: str | None = None


@dataclass(frozen=True, kw_only=True)
class Say:
    TYPE: ClassVar[str] = "chat"
    text: str
    client_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class ControlRequest:
    TYPE: ClassVar[str] = "control.request"


@dataclass(frozen=True, kw_only=True)
class ControlGrant:
    TYPE: ClassVar[str] = "control.grant"
    participant: str


@dataclass(frozen=True, kw_only=True)
class ControlDeny:
    TYPE: ClassVar[str] = "control.deny"
    participant: str


@dataclass(frozen=True, kw_only=True)
class ControlTake:
    TYPE: ClassVar[str] = "control.take"


@dataclass(frozen=True, kw_only=True)
class ControlRelease:
    """Give control back; from somebody who only asked for it: withdraw the request."""

    TYPE: ClassVar[str] = "control.release"


@dataclass(frozen=True, kw_only=True)
class Hand:
    TYPE: ClassVar[str] = "hand"
    raised: bool


@dataclass(frozen=True, kw_only=True)
class Rename:
    TYPE: ClassVar[str] = "rename"
    name: str


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Somebody did something on the page that the stream does not see."""

    TYPE: ClassVar[str] = "activity"


@dataclass(frozen=True, kw_only=True)
class Kick:
    TYPE: ClassVar[str] = "kick"
    participant: str


@dataclass(frozen=True, kw_only=True)
class Mute:
    """The owner mutes or unmutes somebody's microphone for everyone."""

    TYPE: ClassVar[str] = "mute"
    participant: str
    muted: bool


@dataclass(frozen=True, kw_only=True)
class Lock:
    TYPE: ClassVar[str] = "lock"
    locked: bool


@dataclass(frozen=True, kw_only=True)
class OwnerTransfer:
    TYPE: ClassVar[str] = "owner.transfer"
    participant: str


@dataclass(frozen=True, kw_only=True)
class VoiceJoin:
    TYPE: ClassVar[str] = "voice.join"


@dataclass(frozen=True, kw_only=True)
class VoiceLeave:
    TYPE: ClassVar[str] = "voice.leave"


@dataclass(frozen=True, kw_only=True)
class VoiceMute:
    TYPE: ClassVar[str] = "voice.mute"
    muted: bool


@dataclass(frozen=True, kw_only=True)
class VoiceAnswer:
    TYPE: ClassVar[str] = "voice.answer"
    sdp: str


@dataclass(frozen=True, kw_only=True)
class Ping:
    TYPE: ClassVar[str] = "ping"
    time: float = 0


FromClient = (
    Hello
    | Say
    | ControlRequest
    | ControlGrant
    | ControlDeny
    | ControlTake
    | ControlRelease
    | Hand
    | Rename
    | Activity
    | Kick
    | Mute
    | Lock
    | OwnerTransfer
    | VoiceJoin
    | VoiceLeave
    | VoiceMute
    | VoiceAnswer
    | Ping
)

FROM_CLIENT: Mapping[str, type[FromClient]] = {shape.TYPE: shape for shape in get_args(FromClient)}


# --- relay -> client: parts ---


@dataclass(frozen=True, kw_only=True)
class VoiceState:
    joined: bool = False
    muted: bool = False
    muted_by_owner: bool = False


@dataclass(frozen=True, kw_only=True)
class Participant:
    """``role`` is the current one: ``owner`` whoever holds control, ``controller`` who holds it, else ``watcher``."""

    id: str
    name: str
    role: Role
    players: int  # open streams of this person
    hand: bool
    voice: VoiceState
    joined_at: int


@dataclass(frozen=True, kw_only=True)
class ControlState:
    holder: str | None
    requests: tuple[str, ...]
    mode: str  # ask | free | owner


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """``text`` and ``name`` are plain text: show them as text, never as markup."""

    id: str
    participant: str
    name: str
    text: str
    at: int
    client_id: str | None = None  # what the sender's page called it


@dataclass(frozen=True, kw_only=True)
class SessionFacts:
    id: str
    title: str
    ends_at: int | None
    idle_seconds: float | None
    idle_warning_seconds: float | None
    chat: bool
    voice: bool
    microphone: bool
    max_players: int


@dataclass(frozen=True, kw_only=True)
class IdleState:
    seconds_left: int


# --- relay -> client: messages ---


@dataclass(frozen=True, kw_only=True)
class Welcome:
    TYPE: ClassVar[str] = "welcome"
    version: int
    you: str  # participant id
    session: SessionFacts
    participants: tuple[Participant, ...]
    control: ControlState
    chat: tuple[ChatMessage, ...]
    locked: bool
    idle: IdleState | None
    stream: str  # waiting | live | lost
    resume: str


@dataclass(frozen=True, kw_only=True)
class ParticipantJoined:
    TYPE: ClassVar[str] = "participant.joined"
    participant: Participant


@dataclass(frozen=True, kw_only=True)
class ParticipantUpdated:
    TYPE: ClassVar[str] = "participant.updated"
    participant: Participant


@dataclass(frozen=True, kw_only=True)
class ParticipantLeft:
    """``reason``: ``left`` said so, ``disconnected`` vanished (may come back), ``kicked``."""

    TYPE: ClassVar[str] = "participant.left"
    id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ControlChanged:
    """``reason``: joined, granted, taken, released, left, returned, kicked."""

    TYPE: ClassVar[str] = "control.changed"
    holder: str | None
    by: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class ControlRequested:
    TYPE: ClassVar[str] = "control.requested"
    participant: str


@dataclass(frozen=True, kw_only=True)
class ControlWithdrawn:
    """A request is off the list without control having moved: withdrawn, or denied (told to everyone but the asker)."""

    TYPE: ClassVar[str] = "control.withdrawn"
    participant: str


@dataclass(frozen=True, kw_only=True)
class ControlDenied:
    """To who asked."""

    TYPE: ClassVar[str] = "control.denied"


@dataclass(frozen=True, kw_only=True)
class Chat:
    TYPE: ClassVar[str] = "chat"
    message: ChatMessage


@dataclass(frozen=True, kw_only=True)
class Locked:
    TYPE: ClassVar[str] = "locked"
    locked: bool


@dataclass(frozen=True, kw_only=True)
class IdleWarning:
    """Once a second while the countdown runs."""

    TYPE: ClassVar[str] = "idle.warning"
    seconds_left: int


@dataclass(frozen=True, kw_only=True)
class IdleCancelled:
    TYPE: ClassVar[str] = "idle.cancelled"
    by: str | None


@dataclass(frozen=True, kw_only=True)
class TimeWarning:
    TYPE: ClassVar[str] = "time.warning"
    seconds_left: int


@dataclass(frozen=True, kw_only=True)
class Stream:
    TYPE: ClassVar[str] = "stream"
    state: str  # waiting | live | lost


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Every few seconds: the streamer's figures, and one entry for each of the receiver's players (the owner: all)."""

    TYPE: ClassVar[str] = "stats"
    streamer: dict[str, Any] | None
    players: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class VoiceOffer:
    TYPE: ClassVar[str] = "voice.offer"
    sdp: str


@dataclass(frozen=True, kw_only=True)
class VoiceSpeaking:
    TYPE: ClassVar[str] = "voice.speaking"
    participants: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ended:
    TYPE: ClassVar[str] = "ended"
    reason: EndReason
    message: str


@dataclass(frozen=True, kw_only=True)
class Error:
    """The answer to a message that could not be obeyed; ``about`` is its type."""

    TYPE: ClassVar[str] = "error"
    code: str
    message: str
    fix: str
    about: str | None = None


@dataclass(frozen=True, kw_only=True)
class Pong:
    TYPE: ClassVar[str] = "pong"
    time: float = 0


ToClient = (
    Welcome
    | ParticipantJoined
    | ParticipantUpdated
    | ParticipantLeft
    | ControlChanged
    | ControlRequested
    | ControlWithdrawn
    | ControlDenied
    | Chat
    | Locked
    | IdleWarning
    | IdleCancelled
    | TimeWarning
    | Stream
    | Stats
    | VoiceOffer
    | VoiceSpeaking
    | Ended
    | Error
    | Pong
)


def to_json_object(message: ToClient) -> dict[str, Any]:
    """The message as a JSON object, ``type`` first."""
    return {"type": message.TYPE, **asdict(message)}
