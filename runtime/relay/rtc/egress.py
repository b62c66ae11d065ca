"""A player's side: which of the streams it gets, and what it reports about them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from runtime.relay.core import rtcp, transport_cc
from runtime.relay.core.bandwidth import BandwidthLimits, LinkEstimate
from runtime.relay.core.delay_estimate import DelayEstimate
from runtime.relay.core.keyframes import RepairBackoff
from runtime.relay.core.layers import MIN_STAY_SECONDS, choose_layer
from runtime.relay.core.rtp import TRANSPORT_CC
from runtime.relay.core.temporal import ALL_LAYERS

from .ingest import Ingest
from .output import Output
from .pacing import Pacer
from .peer import Peer
from .source import Source

MAX_NACKED = 512
# Far more than a link that still shows a picture can lose; looking each of them up is work.
MAX_NACKED_PER_SECOND = 20_000
# The same of arrival times: six times the packets of 30 Mbit/s. What is told beyond them is not read. Each feedback
# counts as some packets more, so that empty ones are not free.
MAX_REPORTED_PER_SECOND = 20_000
FEEDBACK_PACKETS = 50
# The longest a player in control waits between two repairs of its picture.
CONTROLLER_REPAIR_SECONDS = 1.0


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
        self.max_layers: int | None = None
        self.max_temporal: int | None = None
        self._ingest: Ingest | None = None
        self._changed_at = 0.0
        self._backoff = RepairBackoff()
        self._wishes = RepairBackoff()  # of its data channel: a page that wishes for one must still be able to repair
        self._nacked_now = self._reported_now = 0
        self._estimate: DelayEstimate | None = None  # for a player that gives none itself
        self._by_ssrc = {output.ssrc: output for output in outputs}
        self._measured: tuple[float, int, int] = (time.perf_counter(), 0, 0)

    def start(self, ingest: Ingest | None) -> None:
        """The player is connected."""
        limits = self.link.limits
        self.peer.on_rtcp.append(self._feedback)
        for output in self.outputs:
            # Sound is small and must not wait behind a picture.
            output.pacer = self.pacer if output.kind == "video" else None
            if TRANSPORT_CC in output.stream.extensions:
                output.delay_estimate = self._estimate = DelayEstimate(limits.start_bps, limits.maximum_bps)
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

    def limit(self, layers: int | None, temporal: int | None) -> None:
        """How many simulcast layers may be used, counted from the worst, and up to which temporal layer; None: all."""
        self.max_layers, self.max_temporal = layers, temporal
        self._changed_at = 0.0  # somebody chose: what was changed before does not hold that up

    def adapt(self, now: float) -> None:
        """Change to the layers that the link carries now; about once a second."""
        video, ingest = self.video(), self._ingest
        if video is None or video.source is None or ingest is None:
            return
        if ingest.layered:
            self._adapt_layer(video, video.source, ingest, now)
        self._adapt_temporal(video, video.source, ingest, now)

    def _adapt_layer(self, video: Output, source: Source, ingest: Ingest, now: float) -> None:
        wanted = self._layer(ingest, now)
        if wanted is None or wanted is (video.next_source or source):
            return
        if wanted.bitrate_bps > source.bitrate_bps:
            self.link.trying_more(now)
        self._changed_at = now
        video.change_to(wanted)

    def _adapt_temporal(self, video: Output, source: Source, ingest: Ingest, now: float) -> None:
        """Leave frames out where the link does not carry all of them and the encoder is not asked to fit this link."""
        rates = source.temporal_bps
        top = len(rates) - 1
        if top < 1:
            video.limit_temporal(ALL_LAYERS)
            return
        thinner = video.thinner
        current = min(thinner.target, top) if thinner is not None else top
        usable = self.link.usable_bps(now) or self.link.limits.start_bps
        chosen: int | None = top
        if usable < ingest.target_bps:
            stayed = now - self._changed_at > max(MIN_STAY_SECONDS, self.link.hold_seconds)
            chosen = choose_layer(rates, current, usable, may_try=stayed and self.link.may_try_more(now))
        wanted = min(top if chosen is None else chosen, top if self.max_temporal is None else self.max_temporal)
        if wanted == current:
            return
        if wanted > current:
            self.link.trying_more(now)
        self._changed_at = now
        video.limit_temporal(wanted if wanted < top else ALL_LAYERS)

    def _layer(self, ingest: Ingest, now: float) -> Source | None:
        layers = ingest.by_quality("video")
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
            may_rise=now - self._changed_at > MIN_STAY_SECONDS,
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
        self._nacked_now = self._reported_now = 0
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
            self._nacked_now += len(packet.lost)
            if self._nacked_now > MAX_NACKED_PER_SECOND:
                self.peer.close("it asks for more packets again than it can have lost")
                return
            output = self._by_ssrc.get(packet.media)
            if output is not None:
                for sequence in packet.lost[:MAX_NACKED]:
                    output.resend(sequence, now)
        elif isinstance(packet, rtcp.KeyframeRequest):
            self._keyframe(now, self._backoff)
        elif isinstance(packet, rtcp.Remb):
            self.link.remb(packet.bitrate_bps, now)
        elif isinstance(packet, rtcp.TransportFeedback):
            self._arrivals(packet, now)
        elif isinstance(packet, rtcp.ReceiverReport | rtcp.SenderReport):
            for block in packet.blocks:
                self._report(block, now)

    def _arrivals(self, packet: rtcp.TransportFeedback, now: float) -> None:
        if self._estimate is None:
            return
        self._reported_now += FEEDBACK_PACKETS + transport_cc.reported(packet.body)
        if self._reported_now > MAX_REPORTED_PER_SECOND:
            self.peer.port.counters["rtcp_limited"] += 1
            return
        try:
            estimate = self._estimate.feedback(packet.body, now)
        except ValueError:
            self.peer.port.counters["rtcp_malformed"] += 1
            return
        if estimate is not None:
            self.link.remb(estimate, now)

    def request_keyframe(self, now: float) -> None:
        """The player wishes for one over its data channel; who keeps wishing is heard ever less often."""
        self._keyframe(now, self._wishes)

    def _keyframe(self, now: float, account: RepairBackoff) -> None:
        self.keyframe_requests += 1
        video = self.video()
        longest = CONTROLLER_REPAIR_SECONDS if self.controls else None
        if video is not None and video.source is not None and account.allow(now, longest):
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
