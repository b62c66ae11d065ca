"""One stream to one player: its numbers, its resends, its share of the temporal layers, its sender reports."""

from __future__ import annotations

import collections
import dataclasses
import secrets
from typing import Any

from runtime.relay.core import rtcp
from runtime.relay.core.delay_estimate import DelayEstimate
from runtime.relay.core.forwarding import CACHE_PACKETS, Numbering, ResendBudget
from runtime.relay.core.negotiation import Outgoing
from runtime.relay.core.picture_numbers import PictureNumbers, numbers_of, shift_after
from runtime.relay.core.rtp import (
    ABS_SEND_TIME,
    HEADER,
    TRANSPORT_CC,
    Header,
    abs_send_time,
    extension_numbers,
    extension_offset,
    retransmission,
)
from runtime.relay.core.temporal import ALL_LAYERS, Thinner

from .batch import Batch, BatchSender, Wire
from .ice import Path
from .ingest import CNAME
from .pacing import Pacer
from .peer import Peer
from .source import Source

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
        self.thinner: Thinner | None = None
        self.delay_estimate: DelayEstimate | None = None
        # The first number under the present offsets, and how many packets the source had sent on before it.
        self._first: tuple[int, int] | None = None
        self._last_pictures: PictureNumbers | None = None  # as this player saw them
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
        track = source.track
        others = track.numbers - {*track.extensions.values()}
        numbers = extension_numbers(track.extensions, self.stream.extensions, others, self.stream.reserved)
        self.wire = Wire(
            self.peer.srtp.tag_bytes,
            self.stream.codec.pt,
            numbers,
            ABS_SEND_TIME in self.stream.extensions,
            TRANSPORT_CC in self.stream.extensions and TRANSPORT_CC in track.extensions,
        )
        self.srtp_handle = self.peer.srtp.send_handle
        self._first = None
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
            self.remember()
            if self.thinner is not None:
                self._settle_numbers(self.thinner)
            self.source.remove(self)
            self.source = None

    def limit_temporal(self, layer: int) -> None:
        """Send temporal layers up to this one, ``ALL_LAYERS`` for everything; from the next frame on where fewer are
        wanted, from one that allows it where more are."""
        if self.thinner is not None:
            self.thinner.target = layer
        elif self.source is not None and layer < ALL_LAYERS:
            self.source.thin(self)
            self.thinner = Thinner(self.source.track.codec.upper_name, layer)

    def thinned(self, batch: Batch) -> Batch:
        """What of a batch this output gets, in numbers that close up."""
        thinner = self.thinner
        if thinner is None:
            return batch
        headers: list[Header] = []
        packets: list[bytes] = []
        offsets: list[int] = []
        numbered: list[int] = []
        for i, (header, packet) in enumerate(zip(batch.headers, batch.packets, strict=True)):
            taken = thinner.take(header, packet)
            if taken is not None:
                headers.append((header[0], header[1], taken[0], header[3], header[4]))
                packets.append(taken[1])
                offsets += batch.send_time_offsets[i : i + 1]
                numbered += batch.transport_cc_offsets[i : i + 1]
        frames = sum([header[1] >> 7 for header in headers])
        return Batch(headers, packets, offsets, batch.send_time, frames, numbered, batch.at)

    def end_thinning(self) -> None:
        """Every layer passes again."""
        if self.thinner is not None and self.source is not None:
            self._settle_numbers(self.thinner)
            self.source.unthin(self)

    def _settle_numbers(self, thinner: Thinner) -> None:
        """Keep the numbers that were reached. What was sent under the old ones can no longer be asked for."""
        self.thinner = None
        self.sequence_offset = self.numbering.sequence_offset = (self.sequence_offset + thinner.offset) & 0xFFFF
        source = self.source
        if source is not None and source.last is not None and self._first is not None:
            self._first = (source.last[0] + 1 + self.sequence_offset) & 0xFFFF, source.packets

    def _offset_by_clock(self, source: Source) -> int | None:
        """The timestamp offset under which another layer of the same picture goes on exactly in time, from the sender
        reports of both; None when the sources have no clock in common."""
        old = self.source
        if old is None or old.ingest is not source.ingest or old.last_report is None or source.last_report is None:
            return None
        before, after = old.last_report[0], source.last_report[0]
        elapsed = round((after.ntp - before.ntp) * self.numbering.clock_rate / (1 << 32))
        return before.rtp + self.timestamp_offset - after.rtp + elapsed

    def remember(self) -> None:
        """Before a change: where our own numbers stopped follows from the last packet of the present source."""
        source, thinner = self.source, self.thinner
        if source is None or source.last is None or not self.packets:
            return
        sequence, timestamp, now = source.last
        self.numbering.sent(sequence + (thinner.offset if thinner is not None else 0), timestamp, now)
        numbers = numbers_of(self.stream.codec.upper_name, source.last_packet)
        if numbers is not None:
            withheld = thinner.pictures_withheld if thinner is not None else 0
            self._last_pictures = numbers.as_sent(self.wire.pictures, withheld)

    def go_on_at(self, packet: bytes) -> None:
        """``packet`` is the first that is sent of the present source: let its picture's numbers follow the last."""
        codec = self.stream.codec.upper_name
        last, first = self._last_pictures, numbers_of(codec, packet)
        shift = shift_after(codec, last, first) if last is not None and first is not None else None
        self.wire = dataclasses.replace(self.wire, pictures=shift)

    def align(self, sequence: int, timestamp: int, now: float) -> None:
        """The next packet sent will be this one of the source."""
        self.numbering.align(sequence, timestamp, now, self._clock_offset)
        self.sequence_offset = self.numbering.sequence_offset
        self.timestamp_offset = self.numbering.timestamp_offset
        if self.source is not None:
            self._first = (sequence + self.sequence_offset) & 0xFFFF, self.source.packets

    def resend(self, wanted: int, now: float) -> None:
        """Answer one NACKed sequence number, as RTX if the player takes it."""
        self.nacked += 1
        self.budget.earn(self.packets - self._earned)
        self._earned = self.packets
        source = self.source
        if source is None or not self._has_sent(source, wanted):
            return
        packet = self._cached(source, wanted)
        if packet is None or not self.budget.spend(wanted, now):
            return
        if self._sender.send_one(self._renumbered(packet, wanted, now), self):
            self.resent += 1

    def _has_sent(self, source: Source, wanted: int) -> bool:
        """Whether ``wanted`` may be a packet of this source under the present numbers. Only while the cache may hold
        older ones: half the range later, 16 bits can no longer tell before from after."""
        if self._first is None:
            return False
        number, packets_before = self._first
        return source.packets - packets_before > CACHE_PACKETS or (wanted - number) & 0xFFFF < 0x8000

    def _cached(self, source: Source, wanted: int) -> bytes | None:
        number = (wanted - self.sequence_offset) & 0xFFFF
        if self.thinner is None:
            return source.cache.get(number)
        original = self.thinner.original(number)
        packet = source.cache.get(original) if original is not None else None
        return None if packet is None else self.thinner.again(number, packet)

    def _renumbered(self, packet: bytes, wanted: int, now: float) -> bytes:
        packet = self.wire.apply(packet)
        if self.wire.send_time:
            offset = extension_offset(packet, self.stream.extensions[ABS_SEND_TIME], 3)
            if offset:
                packet = packet[:offset] + abs_send_time(now) + packet[offset + 3 :]
        if self.wire.transport_cc and self.delay_estimate is not None:
            offset = extension_offset(packet, self.stream.extensions[TRANSPORT_CC], 2)
            number = self.delay_estimate.take(1, len(packet), now)[0] if offset else 0
            packet = packet[:offset] + number.to_bytes(2, "big") + packet[offset + 2 :] if offset else packet
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
