"""The two kinds of connection a session has: one leg to the streamer, one to each player."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from runtime.relay.core import negotiation, sdp
from runtime.relay.core.bandwidth import BandwidthLimits
from runtime.relay.core.negotiation import Outgoing, Track
from runtime.relay.core.rtp import FORWARDED_EXTENSIONS, TRANSPORT_CC

from .aiortc_adapter import Certificate, Channel
from .batch import BatchSender
from .data import DataQueue
from .egress import Egress
from .ingest import Ingest
from .interface import BadDescriptionError, MediaSettings
from .output import Output
from .peer import Peer
from .source import Source
from .udp import UdpPort

CHANNEL_LABEL = "datachannel"
FIRST_NEGOTIATED_STREAM = 256
LAST_NEGOTIATED_STREAM = 65_000


def limits_of(settings: MediaSettings) -> BandwidthLimits:
    highest = settings.max_bitrate_bps
    return BandwidthLimits(min(settings.min_bitrate_bps, highest), min(settings.start_bitrate_bps, highest), highest)


class StreamerLeg:
    """The streamer's connection: its tracks, its shared data channel, and channels per player where it wants them."""

    def __init__(self, port: UdpPort, certificate: Certificate, settings: MediaSettings, sender: BatchSender) -> None:
        self.settings = settings
        self.peer = Peer(port, certificate, "streamer", settings.handshake_seconds)
        self.tracks: list[Track] = []
        self.ingest: Ingest | None = None
        self.queue = DataQueue(settings.data_queue_bytes, settings.data_stall_seconds)
        self.on_video: Callable[[], None] = lambda: None
        self.on_open: Callable[[], None] = lambda: None
        self.on_data: Callable[[bytes], None] = lambda message: None
        self.on_player_data: Callable[[str, bytes], None] = lambda player_id, message: None
        self.on_connected: Callable[[], None] = lambda: None
        self._sender = sender
        self._microphone: Output | None = None
        self._player_queues: dict[str, tuple[DataQueue, Channel, Channel]] = {}
        self._streams = itertools.count(FIRST_NEGOTIATED_STREAM, 2)
        self.peer.on_connected = self._connected
        self.peer.on_channel(self._channel)

    def answer(self, offer: sdp.Description) -> str:
        """Take what the offer sends and begin."""
        try:
            self.tracks = negotiation.choose_tracks(offer, self.settings.codec_preference)
        except sdp.SdpError as error:
            raise BadDescriptionError(str(error)) from error
        passive = offer.setup != "passive"
        local = self.peer.local("passive" if passive else "active", self.peer.port.candidates(remote=False))
        microphone = self._microphone_ssrc(offer)
        text = negotiation.answer_streamer(offer, self.tracks, local, limits_of(self.settings), microphone)
        self._begin(offer, client=not passive)
        return text

    def offer(self) -> str:
        local = self.peer.local("actpass", self.peer.port.candidates(remote=False))
        # Unreal 4.27 waits for the offering side to open the channel.
        self._channel(self.peer.secure.open_channel(CHANNEL_LABEL))
        return negotiation.offer_streamer(local, limits_of(self.settings), self.settings.codec_preference)

    def accept(self, answer: sdp.Description) -> None:
        """The streamer's answer to :meth:`offer`."""
        try:
            self.tracks = negotiation.choose_tracks(answer, self.settings.codec_preference)
        except sdp.SdpError as error:
            raise BadDescriptionError(str(error)) from error
        self._begin(answer, client=answer.setup == "passive")

    def listen_to(self, source: Source | None) -> None:
        """Pass this player's microphone on to the application; None: nobody's."""
        output = self._microphone
        if output is None or not self.peer.connected or output.source is source:
            return
        if source is None:
            output.detach()
        else:
            output.attach(source)

    def send(self, message: bytes, player_id: str | None) -> bool:
        own = self._player_queues.get(player_id) if player_id is not None else None
        return (own[0] if own is not None else self.queue).send(message)

    def open_channel(self, player_id: str) -> tuple[int, int]:
        """(stream the streamer sends on, stream it receives on) of a pair that both sides agree upon out of band."""
        self.close_channel(player_id)
        down = next(self._streams)
        up = down + 1
        if up > LAST_NEGOTIATED_STREAM:
            self._streams = itertools.count(FIRST_NEGOTIATED_STREAM, 2)
            return self.open_channel(player_id)
        queue = DataQueue(self.settings.data_queue_bytes, self.settings.data_stall_seconds)
        receiving = self.peer.secure.open_channel(f"{player_id} down", down)
        sending = self.peer.secure.open_channel(f"{player_id} up", up)

        def received(message: bytes | str) -> None:
            if isinstance(message, bytes):
                self.on_player_data(player_id, message)

        receiving.on_message = received
        queue.use(sending, lambda: None, received)
        self._player_queues[player_id] = (queue, receiving, sending)
        return down, up

    def close_channel(self, player_id: str) -> None:
        entry = self._player_queues.pop(player_id, None)
        if entry is not None:
            entry[1].close()
            entry[2].close()

    def stop(self, why: str) -> None:
        if self.ingest is not None:
            self.ingest.stop()
        if self._microphone is not None:
            self._microphone.detach()
        self.peer.close(why)

    def _microphone_ssrc(self, offer: sdp.Description) -> int | None:
        """The SSRC of what we send to the application, if the title allows it and the application takes sound."""
        track = next((t for t in self.tracks if t.kind == "audio"), None)
        section = offer.by_mid(track.mid) if track is not None else None
        if track is None or section is None or not section.receives or not self.settings.microphone:
            return None
        stream = Outgoing("audio", track.mid, track.codec, {}, secrets.randbits(31) | 1)
        self._microphone = Output(self.peer, stream, self._sender)
        return stream.ssrc

    def _begin(self, remote: sdp.Description, *, client: bool) -> None:
        self.ingest = Ingest(self.peer, self.tracks, self._sender, self.on_video)
        self.peer.start(remote, client)

    def _connected(self) -> None:
        self.peer.take_media()
        if self.ingest is not None:
            self.ingest.start()
        self.on_connected()

    def _channel(self, channel: Channel) -> None:
        self.queue.use(channel, self.on_open, self.on_data)


class PlayerLeg:
    """One player's connection."""

    def __init__(
        self, player_id: str, port: UdpPort, certificate: Certificate, settings: MediaSettings, sender: BatchSender
    ) -> None:
        self.player_id = player_id
        self.settings = settings
        self.peer = Peer(port, certificate, f"player {player_id}", settings.handshake_seconds)
        self.streams: list[Outgoing] = []
        self.formats: dict[str, tuple[str, ...]] = {}
        self.egress: Egress | None = None
        self.microphone: Ingest | None = None
        self._layers: tuple[int | None, int | None] = (None, None)
        self.queue = DataQueue(settings.data_queue_bytes, settings.data_stall_seconds)
        self.on_open: Callable[[], None] = lambda: None
        self.on_data: Callable[[bytes], None] = lambda message: None
        self._sender = sender
        self._candidates = port.candidates(settings.announced_addresses, settings.announced_port)
        self.peer.on_channel(self._use)

    def offer(self, tracks: Sequence[Track]) -> str:
        """Describe the streamer's tracks under the streamer's own numbers, so that nothing needs renumbering."""
        taken = [track.codec.pt for track in tracks]
        numbers = {number for track in tracks for number in (*track.numbers, *track.extensions.values())}
        free = negotiation.free_extension_number(numbers)  # in a bundle a number means the same in all sections
        for track in tracks:
            rtx_pt = negotiation.free_payload_type(taken) if track.kind == "video" else None
            microphone = track.kind == "audio" and self.settings.microphone
            self._add(track, track.kind, track.codec, _offered_extensions(track, free), rtx_pt, microphone)
        self._use(self.peer.secure.open_channel(CHANNEL_LABEL))
        return negotiation.offer_player(self.streams, self.peer.local("actpass", self._candidates))

    def accept(self, answer: sdp.Description) -> None:
        """The player's answer; it may have declined RTX or a whole kind."""
        accepted: list[Outgoing] = []
        for stream in self.streams:
            section = answer.by_mid(stream.mid)
            if section is None or not section.receives:
                continue
            if stream.receive and section.sends:
                self._take_microphone(stream, section)
            if stream.rtx_pt is not None and section.rtx_for(stream.codec.pt) is None:
                stream = replace(stream, rtx_pt=None, rtx_ssrc=None)
            extensions = {uri: n for uri, n in stream.extensions.items() if uri in section.extensions}
            if not negotiation.wants_transport_cc(section, stream.codec) and TRANSPORT_CC in extensions:
                stream = replace(stream, reserved=frozenset({extensions.pop(TRANSPORT_CC)}))
            accepted.append(replace(stream, extensions=extensions))
        if not any(stream.kind == "video" for stream in accepted):
            codec = next((s.codec.name for s in self.streams if s.kind == "video"), "this video")
            raise BadDescriptionError(f"the browser cannot play {codec}")
        self.streams = accepted
        self._begin(answer, client=answer.setup == "passive")

    def answer(self, offer: sdp.Description, tracks: Sequence[Track]) -> str:
        """For a player that offers: find the streamer's codec in its list and use the player's numbers."""
        by_kind = {track.kind: track for track in tracks}
        streams: dict[str, Outgoing] = {}
        for section in offer.sections:
            track = by_kind.pop(section.kind, None) if section.receives else None
            codec = negotiation.matching_codec(section, track.codec) if track is not None else None
            if track is None or codec is None:
                continue
            rtx = section.rtx_for(codec.pt) if section.kind == "video" else None
            numbers = {uri: n for uri, n in section.extensions.items() if uri in track.extensions}
            if not negotiation.wants_transport_cc(section, codec):
                numbers.pop(TRANSPORT_CC, None)
            streams[section.mid] = self._add(track, section.mid, codec, numbers, rtx.pt if rtx else None, False)
        if not any(stream.kind == "video" for stream in self.streams):
            raise BadDescriptionError("the browser cannot play the streamer's video codec")
        passive = offer.setup != "passive"
        local = self.peer.local("passive" if passive else "active", self._candidates)
        text = negotiation.answer_player(offer, streams, local)
        self._begin(offer, client=not passive)
        return text

    def connected(self) -> None:
        """Keys are there."""
        self.peer.take_media()
        if self.microphone is not None:
            self.microphone.start()

    def carries(self, tracks: Sequence[Track]) -> bool:
        """True if this connection can go on with another streamer's tracks."""
        return all(self.formats.get(track.kind) == track.format for track in tracks)

    def limit_layers(self, layers: int | None, temporal: int | None) -> None:
        """How many simulcast layers may be used, counted from the worst, and up to which temporal layer; None: all."""
        self._layers = layers, temporal
        if self.egress is not None:
            self.egress.limit(layers, temporal)

    def stop(self, why: str) -> None:
        if self.egress is not None:
            self.egress.stop()
        if self.microphone is not None:
            self.microphone.stop()
        self.peer.close(why)

    def _take_microphone(self, stream: Outgoing, section: sdp.Section) -> None:
        extensions = {uri: n for uri, n in stream.extensions.items() if uri in section.extensions}
        track = Track("audio", stream.mid, stream.codec, extensions, ())
        self.microphone = Ingest(self.peer, [track], self._sender, lambda: None)

    def _add(
        self,
        track: Track,
        mid: str,
        codec: sdp.Codec,
        extensions: Mapping[str, int],
        rtx_pt: int | None,
        receive: bool,
    ) -> Outgoing:
        passed = (*FORWARDED_EXTENSIONS, TRANSPORT_CC) if track.kind == "video" else FORWARDED_EXTENSIONS
        forwarded = {uri: n for uri, n in extensions.items() if uri in passed}
        ssrc = (secrets.randbits(30) + 1) << 1
        rtx_ssrc = ssrc | 1 if rtx_pt is not None else None
        stream = Outgoing(track.kind, mid, codec, forwarded, ssrc, rtx_pt, rtx_ssrc, receive)
        self.streams.append(stream)
        self.formats[track.kind] = track.format
        return stream

    def _begin(self, remote: sdp.Description, *, client: bool) -> None:
        outputs = [Output(self.peer, stream, self._sender) for stream in self.streams]
        self.egress = Egress(self.peer, outputs, limits_of(self.settings))
        self.egress.limit(*self._layers)
        self.peer.start(remote, client)

    def _use(self, channel: Channel) -> None:
        self.queue.use(channel, self.on_open, self.on_data)


def _offered_extensions(track: Track, free: int | None) -> Mapping[str, int]:
    """The streamer's numbers, but ``free`` for the transport-wide number: a player that does not get it counted for
    itself must not take the streamer's for it."""
    extensions = {uri: number for uri, number in track.extensions.items() if uri != TRANSPORT_CC}
    if TRANSPORT_CC in track.extensions and free is not None:
        extensions[TRANSPORT_CC] = free
    return extensions
