"""One WebRTC peer of the streamer: the only module that knows aiortc, its private names included.

Used beside the public interface, pinned with aiortc 1.16 and aioice 0.13 and watched by
``tests/unit/streamer/test_rtc_canary.py``:

- ``RTCRtpSender._handle_rtcp_packet``: wrapped on the instance, to see keyframe requests, REMB and loss; aiortc has no
  events for them and would apply them to an encoder of its own.
- ``RTCRtpSender._next_encoded_frame`` calls ``Encoder.pack`` when a track gives packets instead of frames: that is how
  one encoding serves all peers.
- ``aioice.ice.get_host_addresses``: leaves out loopback, which is where the relay is.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, cast

import aioice.ice
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)
from aiortc.sdp import candidate_from_sdp

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

    # Generic in its type hints only.
    AnyPacket = Packet[Stream]

logger = logging.getLogger(__name__)

GATHER_SECONDS = 10.0
CLOSE_SECONDS = 3.0
# Messages to a player that does not read are dropped rather than kept.
MAX_BUFFERED_BYTES = 512 * 1024
_QUEUE_FRAMES = {"video": 12, "audio": 25}
_OFFERED_PROFILE = "42e01f"  # constrained baseline, as aiortc describes it

_preferred_address: contextvars.ContextVar[str | None] = contextvars.ContextVar("preferred_address", default=None)
_host_addresses = aioice.ice.get_host_addresses


def _addresses_with_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """The machine's addresses; loopback first when the current task asked for it."""
    preferred = _preferred_address.get()
    if preferred is None:
        return _host_addresses(use_ipv4, use_ipv6)
    return [preferred, *_host_addresses(use_ipv4, False)]


aioice.ice.get_host_addresses = _addresses_with_loopback


@contextlib.contextmanager
def _gathering_on_loopback(wanted: bool) -> Iterator[None]:
    """Gather a candidate on 127.0.0.1 too, in this context only."""
    token = _preferred_address.set("127.0.0.1" if wanted else None)
    try:
        yield
    finally:
        _preferred_address.reset(token)


class NegotiationError(Exception):
    """What the other side sent cannot be used, or the connection is already closed."""


@contextlib.contextmanager
def _negotiating(what: str) -> Iterator[None]:
    """Everything aiortc may raise as one error: its parsers leave assertions and key errors behind."""
    try:
        yield
    except TimeoutError:
        raise
    except Exception as error:
        raise NegotiationError(f"{what} ({type(error).__name__})") from error


class PeerEvents(Protocol):
    """What a peer tells its owner, on the event loop."""

    def on_open(self, peer: Peer) -> None:
        """The data channel is open."""

    def on_data(self, peer: Peer, data: bytes, player: str | None) -> None:
        """One binary message; ``player`` when it came on a channel of its own for a player behind an SFU."""

    def on_player_gone(self, peer: Peer, player: str) -> None:
        """The channels of a player behind an SFU were closed."""

    def on_keyframe_wanted(self, peer: Peer) -> None:
        """A receiver cannot go on without a keyframe, or a new one begins."""

    def on_estimate(self, peer: Peer, bitrate_bps: int) -> None:
        """The receiver's estimate of its bandwidth (REMB)."""

    def on_loss(self, peer: Peer, fraction: float) -> None:
        """The fraction lost, 0..1, of a receiver report about video."""

    def on_flow(self, peer: Peer) -> None:
        """Media began to flow."""

    def on_gone(self, peer: Peer) -> None:
        """The connection failed or was closed by the other side. Not called after ``close``."""


class FeedTrack(MediaStreamTrack):
    """A track of encoded packets. Takes nothing before it is first read, and starts video with a keyframe."""

    def __init__(self, kind: str, on_start: Callable[[], None], on_keyframe_wanted: Callable[[], None]) -> None:
        super().__init__()
        self.kind = kind
        self._queue: asyncio.Queue[AnyPacket] = asyncio.Queue(_QUEUE_FRAMES[kind])
        self._on_start = on_start
        self._on_keyframe_wanted = on_keyframe_wanted
        self._started = False
        self._needs_keyframe = kind == "video"
        self.dropped = 0

    def push(self, packet: AnyPacket, keyframe: bool) -> None:
        """Offer one packet; dropped when nobody reads, or until a keyframe repairs what was dropped."""
        if not self._started or (self._needs_keyframe and not keyframe):
            return
        if self._queue.full():
            self.dropped += self._queue.qsize()
            while not self._queue.empty():
                self._queue.get_nowait()
            if self.kind == "video" and not keyframe:
                self._needs_keyframe = True
                self._on_keyframe_wanted()
                return
        self._needs_keyframe = False
        self._queue.put_nowait(packet)

    async def recv(self) -> AnyPacket:
        """The next packet; waits for one. Called by aiortc once the transport is up."""
        if not self._started:
            self._started = True
            self._on_start()
        return await self._queue.get()


class Peer:
    """One connection, offered by us: video, audio and a data channel."""

    def __init__(
        self,
        player_id: str,
        events: PeerEvents,
        *,
        codec: str,
        level_idc: int,
        loopback: bool,
        ice_servers: list[dict[str, Any]] | None = None,
    ) -> None:
        self.player_id = player_id
        self._events = events
        self._level_idc = level_idc
        self._loopback = loopback
        self._closed = False
        servers = [] if loopback else _ice_servers(ice_servers or [])
        self._connection = RTCPeerConnection(RTCConfiguration(servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._connection.on("connectionstatechange", self._on_state)
        wanted = self._keyframe_wanted
        self.video = FeedTrack("video", self._on_flow, wanted)
        self.audio = FeedTrack("audio", lambda: None, wanted)
        video = self._connection.addTransceiver(self.video, direction="sendonly")
        audio = self._connection.addTransceiver(self.audio, direction="sendonly")
        _offer_only(video, "video/H264" if codec == "h264" else "video/VP8")
        _offer_only(audio, "audio/opus")
        self._observe(video.sender)
        self._channel = self._connection.createDataChannel("datachannel", ordered=True)
        self._channel.on("open", self._on_open)
        self._channel.on("message", lambda data: self._on_message(data, None))
        self._pairs: dict[str, RTCDataChannel] = {}

    async def offer(self) -> str:
        """The SDP offer with candidates; raise ``NegotiationError``, or ``TimeoutError`` after ``GATHER_SECONDS``."""
        with _negotiating("no offer could be made"), _gathering_on_loopback(self._loopback):
            async with asyncio.timeout(GATHER_SECONDS):
                await self._connection.setLocalDescription(await self._connection.createOffer())
        # aiortc knows one level only; a larger picture must be announced for what it is.
        return self._connection.localDescription.sdp.replace(_OFFERED_PROFILE, f"42e0{self._level_idc:02x}")

    async def accept(self, sdp: str) -> None:
        """Take the answer; raise ``NegotiationError``, or ``TimeoutError`` after ``GATHER_SECONDS``."""
        with _negotiating("unusable answer"):
            async with asyncio.timeout(GATHER_SECONDS):
                await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def candidate(self, value: Any) -> None:
        """Take one trickled candidate (an ``RTCIceCandidateInit`` object); raise ``NegotiationError``."""
        if not isinstance(value, dict) or not isinstance(value.get("candidate"), str):
            raise NegotiationError("candidate is not an object with a string")
        text = value["candidate"].removeprefix("candidate:")
        if not text:
            return
        with _negotiating("unusable candidate"):
            candidate = candidate_from_sdp(text)
            candidate.sdpMid = value.get("sdpMid") if isinstance(value.get("sdpMid"), str) else None
            index = value.get("sdpMLineIndex")
            candidate.sdpMLineIndex = index if isinstance(index, int) else (0 if candidate.sdpMid is None else None)
            async with asyncio.timeout(GATHER_SECONDS):
                await self._connection.addIceCandidate(candidate)

    def open_pair(self, player: str, send_id: int, receive_id: int) -> None:
        """Open the negotiated channels of one player behind an SFU (Epic's ``streamerDataChannels``); raise
        ``NegotiationError`` when the numbers are in use or out of range."""
        for stream_id in {send_id, receive_id}:
            with _negotiating("unusable stream numbers"):
                channel = self._connection.createDataChannel("player", negotiated=True, id=stream_id)
            if stream_id == receive_id:
                channel.on("message", lambda data: self._on_message(data, player))
            if stream_id == send_id:
                self._pairs[player] = channel
                channel.on("close", lambda: self._on_pair_closed(player))

    def send(self, data: bytes, player: str | None = None) -> bool:
        """Send a message; False when the channel is not open or the other side does not read."""
        channel = self._pairs.get(player, self._channel) if player is not None else self._channel
        if channel.readyState != "open" or channel.bufferedAmount > MAX_BUFFERED_BYTES:
            return False
        channel.send(data)
        return True

    async def close(self) -> None:
        """Close the connection; returns within ``CLOSE_SECONDS``."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._connection.close()

    def _observe(self, sender: RTCRtpSender) -> None:
        """Look at RTCP before aiortc does."""
        handle = sender._handle_rtcp_packet

        async def observed(packet: AnyRtcpPacket) -> None:
            self._on_rtcp(packet, sender._ssrc)
            await handle(packet)

        cast(Any, sender)._handle_rtcp_packet = observed

    def _on_rtcp(self, packet: AnyRtcpPacket, ssrc: int) -> None:
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == ssrc:
                    self._events.on_loss(self, report.fraction_lost / 256)
        elif isinstance(packet, RtcpPsfbPacket):
            if packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
                self._keyframe_wanted()
            elif packet.fmt == RTCP_PSFB_APP:
                with contextlib.suppress(ValueError):
                    bitrate_bps, ssrcs = unpack_remb_fci(packet.fci)
                    if ssrc in ssrcs:
                        self._events.on_estimate(self, bitrate_bps)

    def _keyframe_wanted(self) -> None:
        self._events.on_keyframe_wanted(self)

    def _on_flow(self) -> None:
        self._events.on_flow(self)
        self._events.on_keyframe_wanted(self)

    def _on_open(self) -> None:
        self._events.on_open(self)

    def _on_message(self, data: bytes | str, player: str | None) -> None:
        # Epic's messages are binary; text cannot be one of them.
        self._events.on_data(self, data if isinstance(data, bytes) else b"", player)

    def _on_pair_closed(self, player: str) -> None:
        if self._pairs.pop(player, None) is not None and not self._closed:
            self._events.on_player_gone(self, player)

    def _on_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed") and not self._closed:
            self._events.on_gone(self)


def _offer_only(transceiver: RTCRtpTransceiver, mime_type: str) -> None:
    """Offer one codec and its retransmissions: a relay forwards exactly what is sent."""
    chosen = [
        codec
        for codec in RTCRtpSender.getCapabilities(transceiver.kind).codecs
        if codec.mimeType == "video/rtx"
        or (
            codec.mimeType == mime_type
            and codec.parameters.get("profile-level-id", _OFFERED_PROFILE) == _OFFERED_PROFILE
        )
    ]
    transceiver.setCodecPreferences(chosen)


def _ice_servers(given: list[dict[str, Any]]) -> list[RTCIceServer]:
    """What aiortc can use of ``RTCIceServer`` objects from a ``config`` message."""
    servers: list[RTCIceServer] = []
    for entry in given[:8]:
        urls = entry.get("urls") if isinstance(entry, dict) else None
        texts = [urls] if isinstance(urls, str) else urls if isinstance(urls, list) else []
        servers.extend(
            RTCIceServer(url, entry.get("username"), entry.get("credential"))
            for url in texts
            if isinstance(url, str) and re.match(r"(stun|turns?):", url)
        )
    return servers
