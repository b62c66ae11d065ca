"""The streamer's side: packets decrypted in place, sorted into streams, and reported about."""

from __future__ import annotations

import collections
import secrets
import time
from collections.abc import Callable, Sequence

from runtime.relay.core import rtcp
from runtime.relay.core.forwarding import accepts_source
from runtime.relay.core.layers import quality_order
from runtime.relay.core.negotiation import Track
from runtime.relay.core.rtp import HEADER, MIN_PACKET_BYTES, RTP_STREAM_ID, Header, extension_text
from runtime.relay.core.transport_cc import Arrivals

from . import srtp
from .batch import BatchSender
from .peer import Peer
from .source import Source

_unpack_header = HEADER.unpack_from
CNAME = b"relay"


class Ingest:
    """All streams of one streamer connection."""

    def __init__(self, peer: Peer, tracks: Sequence[Track], sender: BatchSender, on_video: Callable[[], None]) -> None:
        self.peer, self.port, self.sender = peer, peer.port, sender
        self.ssrc = secrets.randbits(31) or 1
        self.counters: collections.Counter[str] = peer.port.counters
        self.sources = [Source(self, track, rid) for track in tracks for rid in track.rids or ("",)]
        self.target_bps = 0
        self.arrivals = Arrivals()
        self.can_nack = any("nack" in source.track.feedback for source in self.sources)
        self._on_video: Callable[[], None] | None = on_video
        self._by_pt_and_rid = {(source.track.codec.pt, source.rid): source for source in self.sources}
        self._rid_numbers = {track.codec.pt: track.extensions[RTP_STREAM_ID] for track in tracks if track.rids}
        self._by_ssrc: dict[int, Source] = {}
        self._pointer = srtp.pointer(self.port.rx)
        self._length = srtp.int_array(1)

    def layers(self, kind: str) -> list[Source]:
        """All streams of a kind: one, or the streamer's simulcast layers."""
        return [source for source in self.sources if source.kind == kind]

    def by_quality(self, kind: str) -> list[Source]:
        """All streams of a kind, from the worst to the best; those that never were sent come first."""
        layers = self.layers(kind)
        sent = [layer for layer in layers if layer.ssrc]
        order = quality_order([layer.picture_size for layer in sent], [layer.steady_bps for layer in sent])
        return [layer for layer in reversed(layers) if not layer.ssrc] + [sent[i] for i in order]

    def source(self, kind: str) -> Source | None:
        """The stream of a kind; of several layers the best one that was sent."""
        return next(reversed(self.by_quality(kind)), None)

    @property
    def layered(self) -> bool:
        return bool(self._rid_numbers)

    def start(self) -> None:
        """Keys are there: take packets."""
        self._keys = self.peer.srtp
        self._handle = self._keys.receive_handle
        self._min_bytes = MIN_PACKET_BYTES + self._keys.tag_bytes
        self.peer.on_rtp = self._rtp
        self.peer.on_rtcp.append(self._feedback)
        self.peer.ice.on_batch_end = self._batch_end

    def stop(self) -> None:
        for source in self.sources:
            source.stop()

    def fast_tick(self, now: float) -> None:
        """Ask again for what is still missing, and tell arrival times where that was agreed; several times a second."""
        for source in self.sources:
            source.renack(now)
        feedback = self.arrivals.feedback()
        if feedback is not None:
            self.peer.send_rtcp(rtcp.transport_feedback(self.ssrc, self.sources[0].ssrc, feedback))

    def report(self, now: float) -> None:
        """Receiver reports; about once a second."""
        blocks = [source.reception.report(source.ssrc, now) for source in self.sources if source.ssrc]
        if blocks:
            packet = rtcp.receiver_report(self.ssrc, blocks) + rtcp.source_description(self.ssrc, CNAME)
            self.peer.send_rtcp(packet)

    def measure(self, now: float) -> None:
        """Rates since the last call; about once a second."""
        for source in self.sources:
            source.measure(now)

    def ask_bitrate(self, target_bps: int) -> None:
        """Tell the encoder what the players can take, by REMB."""
        self.target_bps = target_bps
        media = [source.ssrc for source in self.sources if source.ssrc and source.kind == "video"]
        if media:
            self.peer.send_rtcp(rtcp.remb(self.ssrc, target_bps, media))

    def _rtp(self, size: int) -> None:
        """One SRTP packet in the port's buffer; runs for every packet that arrives."""
        rx = self.port.rx
        header: Header = _unpack_header(rx)
        source = self._by_ssrc.get(header[4]) or self._new_source(header, size)
        if source is None or size < self._min_bytes or header[1] & 0x7F != source.track.codec.pt:
            self.counters["rtp_unexpected"] += 1
            return
        self._length[0] = size
        if srtp.unprotect(self._handle, self._pointer, self._length):
            self.counters["rtp_unprotect_failed"] += 1
            return
        now = time.perf_counter()
        begins = header[4] != source.ssrc
        if begins:
            self._adopt(source, header[4])
        source.push(header, bytes(self.port.view[: self._length[0]]), now)
        if begins and source.kind == "video" and source.keyframes.keyframe_at != now:
            source.request_keyframe("first")

    def _new_source(self, header: Header, size: int) -> Source | None:
        """The source that an unknown SSRC may take over, by its payload type and the layer it names; nothing is
        believed before decryption. (Header extensions are not encrypted.)"""
        pt = header[1] & 0x7F
        number = self._rid_numbers.get(pt)
        rid = "" if number is None else extension_text(bytes(self.port.view[:size]), number)
        source = self._by_pt_and_rid.get((pt, rid))
        if source is None:
            return None
        silent = time.perf_counter() - source.last[2] if source.last is not None else 0.0
        announced = () if source.rid else source.track.ssrcs
        if not accepts_source(source.ssrc, header[4], announced, silent):
            return None
        return source if self._keys.known(header[4].to_bytes(4, "big")) else None

    def _adopt(self, source: Source, ssrc: int) -> None:
        self._by_ssrc.pop(source.ssrc, None)
        self._by_ssrc[ssrc] = source
        source.switch(ssrc)
        if source.kind == "video" and self._on_video is not None:
            self._on_video()
            self._on_video = None

    def _batch_end(self) -> None:
        now = time.perf_counter()
        for source in self.sources:
            source.batch_end(now)

    def _feedback(self, packet: rtcp.RtcpPacket, now: float) -> None:
        if isinstance(packet, rtcp.SenderReport):
            source = self._by_ssrc.get(packet.ssrc)
            if source is not None:
                source.sender_report(packet, now)
