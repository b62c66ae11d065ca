"""Epic's signalling messages: JSON objects over WebSocket, told apart by ``type``.

Source: EpicGames/PixelStreamingInfrastructure (MIT), ``Common/protobuf/signalling_messages.proto`` and the behaviour of
its server and page. The dataclasses carry what one of our parts reads or writes; adapters decode them with
``runtime.chassis.codec.convert``, which ignores members it does not know, and encode them with :func:`to_json_object`.

``playerId`` is an integer in Unreal 4.27 and a string since; both are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

PlayerId = str | int


@dataclass(frozen=True, kw_only=True)
class Config:
    """First message to everyone. ``peerConnectionOptions`` goes verbatim into ``new RTCPeerConnection``."""

    TYPE: ClassVar[str] = "config"
    peerConnectionOptions: dict[str, Any] = field(default_factory=dict)
    protocolVersion: str | None = None


@dataclass(frozen=True, kw_only=True)
class Identify:
    """Asks a streamer for its ``endpointId``."""

    TYPE: ClassVar[str] = "identify"


@dataclass(frozen=True, kw_only=True)
class EndpointId:
    TYPE: ClassVar[str] = "endpointId"
    id: str
    protocolVersion: str | None = None


@dataclass(frozen=True, kw_only=True)
class EndpointIdConfirm:
    TYPE: ClassVar[str] = "endpointIdConfirm"
    committedId: str


@dataclass(frozen=True, kw_only=True)
class ListStreamers:
    TYPE: ClassVar[str] = "listStreamers"


@dataclass(frozen=True, kw_only=True)
class StreamerList:
    """Pushed to a subscribed player it makes the page start its connection anew; to a waiting one, subscribe."""

    TYPE: ClassVar[str] = "streamerList"
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Subscribe:
    TYPE: ClassVar[str] = "subscribe"
    streamerId: str = ""


@dataclass(frozen=True, kw_only=True)
class Unsubscribe:
    TYPE: ClassVar[str] = "unsubscribe"


@dataclass(frozen=True, kw_only=True)
class SubscribeFailed:
    """Shown to the person; the page does not reconnect by itself afterwards."""

    TYPE: ClassVar[str] = "subscribeFailed"
    message: str


@dataclass(frozen=True, kw_only=True)
class StreamerIdChanged:
    TYPE: ClassVar[str] = "streamerIdChanged"
    newID: str


@dataclass(frozen=True, kw_only=True)
class PlayerConnected:
    """Asks a streamer to offer media to ``playerId``."""

    TYPE: ClassVar[str] = "playerConnected"
    playerId: PlayerId
    dataChannel: bool = True
    sfu: bool = False


@dataclass(frozen=True, kw_only=True)
class PlayerDisconnected:
    TYPE: ClassVar[str] = "playerDisconnected"
    playerId: PlayerId


@dataclass(frozen=True, kw_only=True)
class Offer:
    TYPE: ClassVar[str] = "offer"
    sdp: str
    playerId: PlayerId | None = None
    sfu: bool | None = None
    multiplex: bool | None = None
    scalabilityMode: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    TYPE: ClassVar[str] = "answer"
    sdp: str
    playerId: PlayerId | None = None
    minBitrateBps: float | None = None
    maxBitrateBps: float | None = None


@dataclass(frozen=True, kw_only=True)
class IceCandidate:
    """Trickled by every peer. An ICE-lite agent has no use for it (RFC 8445 section 2.5)."""

    TYPE: ClassVar[str] = "iceCandidate"
    candidate: Any = None
    playerId: PlayerId | None = None


@dataclass(frozen=True, kw_only=True)
class DisconnectPlayer:
    """A streamer removes one of its players."""

    TYPE: ClassVar[str] = "disconnectPlayer"
    playerId: PlayerId
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ping:
    """``time`` is whatever the sender put there (epoch milliseconds exceed the schema's int32); echo it unchanged."""

    TYPE: ClassVar[str] = "ping"
    time: Any = 0


@dataclass(frozen=True, kw_only=True)
class Pong:
    TYPE: ClassVar[str] = "pong"
    time: Any = 0


@dataclass(frozen=True, kw_only=True)
class LayerPreference:
    """Sent by the page with every answer; indices count from 0."""

    TYPE: ClassVar[str] = "layerPreference"
    spatialLayer: int = 0
    temporalLayer: int = 0
    playerId: PlayerId | None = None


@dataclass(frozen=True, kw_only=True)
class DataChannelRequest:
    """A page behind an SFU wants data-channel numbers. Our offers open the channel in-band, which needs none."""

    TYPE: ClassVar[str] = "dataChannelRequest"


@dataclass(frozen=True, kw_only=True)
class PeerDataChannelsReady:
    TYPE: ClassVar[str] = "peerDataChannelsReady"


@dataclass(frozen=True, kw_only=True)
class StreamerDataChannels:
    """Asks a Pixel Streaming 1 streamer to open a negotiated channel pair for one player behind an SFU.

    Stream ids are the streamer's: it sends on ``sendStreamId``.
    """

    TYPE: ClassVar[str] = "streamerDataChannels"
    sfuId: str
    playerId: PlayerId
    sendStreamId: int
    recvStreamId: int


@dataclass(frozen=True, kw_only=True)
class Error:
    """Ours: the answer to a malformed message. Epic's page ignores types it does not know."""

    TYPE: ClassVar[str] = "error"
    code: str
    message: str


Message = (
    Config
    | Identify
    | EndpointId
    | EndpointIdConfirm
    | ListStreamers
    | StreamerList
    | Subscribe
    | Unsubscribe
    | SubscribeFailed
    | StreamerIdChanged
    | PlayerConnected
    | PlayerDisconnected
    | Offer
    | Answer
    | IceCandidate
    | DisconnectPlayer
    | Ping
    | Pong
    | LayerPreference
    | DataChannelRequest
    | PeerDataChannelsReady
    | StreamerDataChannels
    | Error
)


def _by_type(*shapes: type[Message]) -> Mapping[str, type[Message]]:
    return {shape.TYPE: shape for shape in shapes}


# What a relay understands from each side. Everything else is logged and ignored, as Epic's own server does.
FROM_STREAMER = _by_type(EndpointId, Offer, Answer, IceCandidate, DisconnectPlayer, Ping, Pong, LayerPreference)
FROM_PLAYER = _by_type(
    ListStreamers,
    Subscribe,
    Unsubscribe,
    Offer,
    Answer,
    IceCandidate,
    Ping,
    Pong,
    LayerPreference,
    DataChannelRequest,
    PeerDataChannelsReady,
)
# What a streamer understands from a relay.
TO_STREAMER = _by_type(
    Config,
    Identify,
    EndpointIdConfirm,
    PlayerConnected,
    PlayerDisconnected,
    Offer,
    Answer,
    IceCandidate,
    Ping,
    Pong,
    LayerPreference,
    StreamerDataChannels,
)


def to_json_object(message: Message) -> dict[str, Any]:
    """The message as a JSON object, ``type`` first, without members that are None."""
    body: dict[str, Any] = {"type": message.TYPE}
    for member in fields(message):
        value = getattr(message, member.name)
        if value is not None:
            body[member.name] = value
    return body
