"""What the media plane shows to the rest of the relay: settings in, events and statistics out.

Nothing here does input or output; signalling and tests may import it without pulling in aiortc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from runtime.relay.core.bandwidth import BandwidthPolicy

MAX_MESSAGE_BYTES = 262_144  # what browsers and aiortc accept in one data-channel message


class MediaError(Exception):
    """Root of every error the media plane raises on purpose; the text is fit for the peer's log."""


class MediaNotReadyError(MediaError):
    """The streamer has not described its media yet, so there is nothing to offer. Ask again when it has."""


class UnknownPlayerError(MediaError):
    """No such player, or one that was removed while its message was under way."""


class BadDescriptionError(MediaError):
    """An SDP that cannot be used: malformed, without a common codec, or without what WebRTC requires."""


@dataclass(frozen=True, kw_only=True)
class MediaSettings:
    """Where the media port is and what may pass through it.

    ``addresses`` are the local addresses to bind, IPv4 or IPv6, all with the same ``port`` number (0: the kernel
    chooses). A wildcard (``0.0.0.0`` or ``::``) is expanded at start to the addresses the machine has then, because
    a socket bound to a wildcard may answer from another address than it was asked at. ``announced_addresses``
    replace the bound ones in what players are told (1:1 NAT, RFC 8445 section 5.1.1.2); the streamer is always told
    the bound ones.
    """

    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 0
    announced_addresses: tuple[str, ...] = ()
    announced_port: int | None = None
    bandwidth: BandwidthPolicy = BandwidthPolicy.PROTECT_CONTROLLER
    max_bitrate_bps: int = 30_000_000
    start_bitrate_bps: int = 6_000_000  # for a link that nothing is known about yet
    # The least that an encoder is asked for; a link that cannot carry even this does not count. Half a megabit shows a
    # small picture well enough to take part, and Unreal goes down to 100 kbit/s by itself.
    min_bitrate_bps: int = 300_000
    codec_preference: tuple[str, ...] = ()  # for streamers that offer several; without it their own order counts
    microphone: bool = False
    max_players: int = 400
    data_queue_bytes: int = 2 * 1024 * 1024
    data_stall_seconds: float = 15.0
    consent_seconds: float = 30.0
    handshake_seconds: float = 20.0
    segmentation: str = ""  # gso | option | none; empty: the best this system has


class MediaEvents(Protocol):
    """What the media plane tells its owner. Called on the event loop, never from inside a call into the hub; an
    exception raised by a callback is logged and does not reach the peer that caused it."""

    def on_player_open(self, player_id: str) -> None:
        """The player's data channel is open."""

    def on_player_media(self, player_id: str) -> None:
        """The player's transport is up (ICE and DTLS) and media is being sent to it."""

    def on_player_data(self, player_id: str, message: bytes) -> None:
        """One binary message of the player, at most ``MAX_MESSAGE_BYTES`` long."""

    def on_player_closed(self, player_id: str, why: str) -> None:
        """The player's transport is gone by itself: consent expired, DTLS closed or failed, or it stopped reading.
        Not called after ``remove_player`` or ``close``."""

    def on_reoffer(self, player_id: str) -> None:
        """The streamer came back with media that this player's connection cannot carry: call ``offer_player`` again
        (or, for a player that offers, ask it to)."""

    def on_streamer_open(self) -> None:
        """The streamer's data channel is open."""

    def on_streamer_media(self) -> None:
        """The first video packet of this streamer connection arrived."""

    def on_streamer_data(self, message: bytes) -> None:
        """One binary message of the streamer on the channel that is shared by all players."""

    def on_streamer_player_data(self, player_id: str, message: bytes) -> None:
        """One binary message of the streamer on a channel opened by ``open_streamer_channel``."""

    def on_streamer_closed(self, why: str) -> None:
        """The streamer's transport is gone by itself. Not called after ``streamer_gone``, a replacement or
        ``close``."""


@dataclass(frozen=True, kw_only=True)
class StreamStats:
    """One RTP stream received from the streamer. Rates cover the last second or so."""

    kind: str  # video | audio
    codec: str
    packets: int
    octets: int  # RTP bytes with headers
    bitrate_bps: int
    packets_lost: int
    fraction_lost: float  # 0..1, last report interval
    jitter_ms: float
    frames: int  # 0 for audio
    fps: float
    keyframes: int
    nacks_sent: int
    layer: str = ""  # simulcast layer, empty without simulcast


@dataclass(frozen=True, kw_only=True)
class StreamerStats:
    """The streamer's connection."""

    connected: bool
    address: str | None
    streams: tuple[StreamStats, ...]
    keyframe_requests: int
    target_bitrate_bps: int  # what the bandwidth policy asks of the encoder
    data_channel_open: bool
    data_dropped: int


@dataclass(frozen=True, kw_only=True)
class PlayerStats:
    """One player's connection. Loss, jitter and round trip are the player's own reports (RFC 3550 section 6.4)."""

    player_id: str
    connected: bool
    address: str | None
    data_channel_open: bool
    packets: int
    octets: int  # RTP bytes with headers, resends included
    bitrate_bps: int
    fps: float
    packets_lost: int
    fraction_lost: float  # 0..1, the player's last report about video
    jitter_ms: float
    rtt_ms: float | None
    estimate_bps: int | None  # the player's own bandwidth estimate
    nacks: int  # packets asked for again
    resent: int
    keyframe_requests: int
    sends_dropped: int  # packets the kernel would not take
    data_dropped: int  # messages not queued because the player reads too slowly
    data_queued_bytes: int


@dataclass(frozen=True, kw_only=True)
class MediaStats:
    """A snapshot. ``counters`` are totals by cause, for example ``stun_malformed`` or ``rtp_unprotect_failed``."""

    streamer: StreamerStats | None
    players: tuple[PlayerStats, ...]
    counters: Mapping[str, int] = field(default_factory=dict)
    segmentation: str = "none"  # how batches leave: gso | option | none
