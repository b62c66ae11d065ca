"""A player's side: its copies of the streams, and what it reports about them."""

from __future__ import annotations

import collections
import secrets
import time
from collections.abc import Sequence
from typing import Any

from runtime.relay.core import rtcp
from runtime.relay.core.bandwidth import BandwidthLimits, LinkEstimate
from runtime.relay.core.forwarding import Numbering, ResendBudget
from runtime.relay.core.keyframes import RepairBackoff
from runtime.relay.core.layers import MIN_STAY_SECONDS, choose_layer
from runtime.relay.core.negotiation import Outgoing
from runtime.relay.core.rtp import (
    ABS_SEND_TIME,
    HEADER,
    abs_send_time,
    extension_numbers,
    extension_offset,
    retransmission,
)

from .batch import BatchSender, Wire
from .ice import Path
from .ingest import CNAME, Ingest, Source
from .pacing import Pacer
from .peer import Peer

MAX_NACKED = 512
# The longest a player in control waits between two repairs of its picture.
CONTROLLER_REPAIR_SECONDS = 1.0
MAX_SR_MEMORY = 16


class Output:
    """One stream to one player. It outlives its source: when the streamer comes back, the numbers go on."""

    def __init__(self, peer: Peer, stream: Outgoing, sender: BatchSender) -> None:
        self.peer, self.stream, self._sender = peer, stream, sender
        self.ssrc = stream.ssrc
        self.kind = stream.kind
        self.numbering = Numbering(stream.codec.clock_rate)
        self.budget = ResendBudget()
        self.source: Source | None = None
        self.next_source: Source | None = None  # another layer, from its next keyframe on
        self.wire = Wire(0, stream.codec.pt)
        self.srtp_handle: Any = None
        self.sequence_offset = self.timestamp_offset = 0
        self.packets = self.octets = self.frames = 0
        self.sends_dropped = self.resent = self.nacked = 0
        self.pacer: Pacer | None = None
        self._first_sequence: int | None = None
        self._clock_offset: int | None = None
        self._earned = 0
        self._rtx_sequence = secrets.randbits(15)
        self._sr_sent: collections.OrderedDict[int, float] = collections.OrderedDict()

    @property
    def path(self) -> Path:
        path = self.peer.ice.media_path
        if path is None:
            raise RuntimeError("an output was attached before its peer was connected")
        return path

    def attach(self, source: Source) -> None:
        """Follow ``source``; the offsets that hide the change are fixed at its next packet."""
        self._clock_offset = self._offset_by_clock(source)
        self.detach()
        numbers = extension_numbers(source.track.extensions, self.stream.extensions)
        self.wire = Wire(
            self.peer.srtp.tag_bytes, self.stream.codec.pt, numbers, ABS_SEND_TIME in self.stream.extensions
        )
        self.srtp_handle = self.peer.srtp.send_handle
        self.source = source
        source.add(self)

    def change_to(self, source: Source) -> None:
        """Follow another layer from its next keyframe on, and the present one until then."""
        if self.next_source is source:
            return
        if self.next_source is not None:
            self.next_source.forget_waiting(self)
            self.next_source = None
        if source is not self.source:
            self.next_source = source
            source.add_at_keyframe(self)

    def detach(self) -> None:
        if self.next_source is not None:
            self.next_source.forget_waiting(self)
            self.next_source = None
        if self.source is not None:
            self.remember(self.source.last)
            self.source.remove(self)
            self.source = None

    def _offset_by_clock(self, source: Source) -> int | None:
        """The timestamp offset under which another layer of the same picture goes on exactly in time, from the sender
        reports of both; None when the sources have no clock in common."""
        old = self.source
        if old is None or old.ingest is not source.ingest or old.last_report is None or source.last_report is None:
            return None
        before, after = old.last_report[0], source.last_report[0]
        elapsed = round((after.ntp - before.ntp) * self.numbering.clock_rate / (1 << 32))
        return before.rtp + self.timestamp_offset - after.rtp + elapsed

    def remember(self, last: tuple[int, int, float] | None) -> None:
        """The source's last packet before a change; where our own numbers stopped follows from it."""
        if last is not None and self.packets:
            self.numbering.sent(*last)

    def align(self, sequence: int, timestamp: int, now: float) -> None:
        """The next packet sent will be this one of the source."""
        self.numbering.align(sequence, timestamp, now, self._clock_offset)
        self.sequence_offset = self.numbering.sequence_offset
        self.timestamp_offset = self.numbering.timestamp_offset
        self._first_sequence = (sequence + self.sequence_offset) & 0xFFFF

    def resend(self, wanted: int, now: float) -> None:
        """Answer one NACKed sequence number, as RTX if the player takes it."""
        self.nacked += 1
        self.budget.earn(self.packets - self._earned)
        self._earned = self.packets
        if self.source is None or self._first_sequence is None or (wanted - self._first_sequence) & 0xFFFF >= 0x8000:
            return
        packet = self.source.cache.get((wanted - self.sequence_offset) & 0xFFFF)
        if packet is None or not self.budget.spend(wanted, now):
            return
        if self._sender.send_one(self._renumbered(packet, wanted, now), self):
            self.resent += 1

    def _renumbered(self, packet: bytes, wanted: int, now: float) -> bytes:
        packet = self.wire.apply(packet)
        if self.wire.send_time:
            offset = extension_offset(packet, self.stream.extensions[ABS_SEND_TIME], 3)
            if offset:
                packet = packet[:offset] + abs_send_time(now) + packet[offset + 3 :]
        first, marker, _, timestamp, _ = HEADER.unpack_from(packet)
        timestamp = (timestamp + self.timestamp_offset) & 0xFFFFFFFF
        head: bytes = HEADER.pack(first, marker & 0x80 | self.wire.pt, wanted, timestamp, self.ssrc)
        packet = head + packet[12:]
        if self.stream.rtx_pt is None or self.stream.rtx_ssrc is None:
            return packet
        self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
        return retransmission(packet, self.stream.rtx_pt, self._rtx_sequence, self.stream.rtx_ssrc)

    def sender_report(self, report: rtcp.SenderReport, now: float) -> None:
        """Pass the streamer's clock on, so that lip sync holds, with this output's own counters."""
        if not self.packets:
            return
        own = rtcp.SenderReport(
            self.ssrc, report.ntp, report.rtp + self.timestamp_offset, self.packets, self.octets - 12 * self.packets
        )
        self.peer.send_rtcp(rtcp.sender_report(own) + rtcp.source_description(self.ssrc, CNAME))
        self._sr_sent[report.ntp >> 16 & 0xFFFFFFFF] = now
        while len(self._sr_sent) > MAX_SR_MEMORY:
            self._sr_sent.popitem(last=False)

    def round_trip_seconds(self, block: rtcp.ReportBlock, now: float) -> float | None:
        """From the player's echo of one of our sender reports (RFC 3550 section 6.4.1)."""
        sent = self._sr_sent.get(block.last_sr)
        if sent is None:
            return None
        return max(0.0, now - sent - block.delay_since_sr / 65536)


class Egress:
    """All of one player's outputs, and the RTCP it sends back."""

    def __init__(self, peer: Peer, outputs: Sequence[Output], limits: BandwidthLimits) -> None:
        self.peer, self.outputs = peer, list(outputs)
        self.link = LinkEstimate(limits)
        self.controls = False
        self.keyframe_requests = 0
        self.fraction_lost = 0.0
        self.packets_lost = 0
        self.jitter_seconds = 0.0
        self.round_trip_seconds: float | None = None
        self.bitrate_bps = 0
        self.fps = 0.0
        self.pacer = Pacer(peer.ice, limits.start_bps)
        self.max_layers: int | None = None  # how many of the layers may be used, counted from the worst
        self._ingest: Ingest | None = None
        self._changed_at = 0.0
        self._backoff = RepairBackoff()
        self._by_ssrc = {output.ssrc: output for output in outputs}
        self._measured: tuple[float, int, int] = (time.perf_counter(), 0, 0)

    def start(self, ingest: Ingest | None) -> None:
        """The player is connected."""
        self.peer.on_rtcp.append(self._feedback)
        for output in self.outputs:
            # Sound is small and must not wait behind a picture.
            output.pacer = self.pacer if output.kind == "video" else None
        if ingest is not None:
            self.follow(ingest, "join")

    def follow(self, ingest: Ingest, cause: str) -> None:
        """Send this streamer's media from now on."""
        self._ingest = ingest
        for output in self.outputs:
            source = self._layer(ingest, time.perf_counter()) if output.kind == "video" else ingest.source(output.kind)
            if source is None:
                output.detach()
                continue
            output.attach(source)
            if source.kind == "video":
                source.request_keyframe(cause)

    def adapt(self, now: float) -> None:
        """Change to the layer that the link carries now; about once a second."""
        video, ingest = self.video(), self._ingest
        if video is None or video.source is None or ingest is None or not ingest.layered:
            return
        wanted = self._layer(ingest, now)
        if wanted is None or wanted is (video.next_source or video.source):
            return
        if wanted.bitrate_bps > video.source.bitrate_bps:
            self.link.trying_more(now)
        self._changed_at = now
        video.change_to(wanted)

    def _layer(self, ingest: Ingest, now: float) -> Source | None:
        layers = ingest.layers("video")
        if len(layers) < 2:
            return layers[0] if layers else None
        video = self.video()
        present = (video.next_source or video.source) if video is not None else None
        current = layers.index(present) if present in layers else None
        usable = self.link.usable_bps(now) or self.link.limits.start_bps
        stayed = now - self._changed_at > max(MIN_STAY_SECONDS, self.link.hold_seconds)
        chosen = choose_layer(
            [layer.bitrate_bps for layer in layers],
            current,
            usable,
            may_try=stayed and self.link.may_try_more(now),
            allowed=self.max_layers,
        )
        return ingest.source("video") if chosen is None else layers[chosen]

    def stop(self) -> None:
        """Send nothing more until ``follow``."""
        self._ingest = None
        self.pacer.stop()
        for output in self.outputs:
            output.detach()

    def video(self) -> Output | None:
        return next((output for output in self.outputs if output.kind == "video"), None)

    def measure(self, now: float) -> None:
        """Rates since the last call; about once a second."""
        at, octets, frames = self._measured
        total = sum(output.octets for output in self.outputs)
        video = self.video()
        count = video.frames if video is not None else 0
        seconds = max(0.001, now - at)
        self.bitrate_bps = int((total - octets) * 8 / seconds)
        self.fps = (count - frames) / seconds
        self._measured = (now, total, count)
        self.link.sent(self.bitrate_bps, seconds, now)
        usable = self.link.usable_bps(now) or self.link.limits.start_bps
        # A link whose estimate is below what is sent must not be starved by our pacing on top.
        self.pacer.bucket.rate_bps = max(usable, self.bitrate_bps)

    def _feedback(self, packet: rtcp.RtcpPacket, now: float) -> None:
        if isinstance(packet, rtcp.Nack):
            output = self._by_ssrc.get(packet.media)
            if output is not None:
                for sequence in packet.lost[:MAX_NACKED]:
                    output.resend(sequence, now)
        elif isinstance(packet, rtcp.KeyframeRequest):
            self._keyframe(now)
        elif isinstance(packet, rtcp.Remb):
            self.link.remb(packet.bitrate_bps, now)
        elif isinstance(packet, rtcp.ReceiverReport | rtcp.SenderReport):
            for block in packet.blocks:
                self._report(block, now)

    def _keyframe(self, now: float) -> None:
        self.keyframe_requests += 1
        video = self.video()
        longest = CONTROLLER_REPAIR_SECONDS if self.controls else None
        if video is not None and video.source is not None and self._backoff.allow(now, longest):
            video.source.request_keyframe("player")

    def _report(self, block: rtcp.ReportBlock, now: float) -> None:
        output = self._by_ssrc.get(block.ssrc)
        if output is None:
            return
        round_trip = output.round_trip_seconds(block, now)
        if round_trip is not None:
            self.round_trip_seconds = round_trip
        if output.kind == "video":
            self.fraction_lost = block.fraction_lost / 256
            self.packets_lost = block.packets_lost
            self.jitter_seconds = block.jitter / output.numbering.clock_rate
            self.link.loss(self.fraction_lost, now)
