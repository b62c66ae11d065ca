"""The streamer's side: packets decrypted in place, sorted into streams, handed on in batches, and reported about."""

from __future__ import annotations

import asyncio
import collections
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from runtime.relay.core import rtcp
from runtime.relay.core.forwarding import PacketCache, Reception, accepts_source
from runtime.relay.core.keyframes import KeyframePolicy, starts_keyframe
from runtime.relay.core.negotiation import Track
from runtime.relay.core.pacing import GATHER_SECONDS, may_gather
from runtime.relay.core.rtp import (
    ABS_SEND_TIME,
    HEADER,
    MIN_PACKET_BYTES,
    RTP_STREAM_ID,
    TRANSPORT_CC,
    Header,
    abs_send_time,
    extension_offset,
    extension_text,
    payload,
)
from runtime.relay.core.transport_cc import Arrivals

from . import aiortc_adapter as srtp
from .batch import Batch, BatchSender, Wire
from .peer import Peer

if TYPE_CHECKING:
    from .egress import Output

_unpack_header = HEADER.unpack_from
NACK_INTERVAL_SECONDS = 0.05
# Encoders may put delimiters and parameter sets into packets of their own in front of a keyframe's first slice.
FRAME_START_PACKETS = 4
MAX_NACK = 64
CNAME = b"relay"


class Source:
    """One RTP stream from the streamer and the players' outputs that follow it."""

    def __init__(self, ingest: Ingest, track: Track, rid: str = "") -> None:
        self.ingest, self.track, self.rid = ingest, track, rid
        self.kind = track.kind
        self.ssrc = 0
        self.reception = Reception(track.codec.clock_rate)
        self.cache = PacketCache()
        self.keyframes = KeyframePolicy()
        self.outputs: dict[Wire, list[Output]] = {}
        self.packets = 0
        self.octets = 0
        self.frames = 0
        self.bitrate_bps = 0
        self.fps = 0.0
        self._measured: tuple[float, int, int] = (time.perf_counter(), 0, 0)
        self.last: tuple[int, int, float] | None = None  # sequence number, timestamp and time of the last packet
        self.last_report: tuple[rtcp.SenderReport, float] | None = None
        self._headers: list[Header] = []
        self._packets: list[bytes] = []
        self._gathers_since = self._arrived_at = 0.0
        self._frame_ended = False
        self._gather_timer: asyncio.TimerHandle | None = None
        self._players = 0
        self._fresh: list[Output] = []
        self._waiting: list[Output] = []
        self._codec = track.codec.upper_name
        self._send_time_id = track.extensions.get(ABS_SEND_TIME, 0)
        self._transport_cc_id = track.extensions.get(TRANSPORT_CC, 0)
        self._frame_timestamp = -1
        self._frame_checks = 0
        self._keyframe_timer: asyncio.TimerHandle | None = None
        self._fir_number = secrets.randbits(8)

    # Outputs.

    def add(self, output: Output) -> None:
        self.outputs.setdefault(output.wire, []).append(output)
        self._players += 1
        self._fresh.append(output)

    def add_at_keyframe(self, output: Output) -> None:
        """``output`` wants to change to this source, which it can only at a keyframe."""
        if output not in self._waiting:
            self._waiting.append(output)
        self.request_keyframe("switch")

    def remove(self, output: Output) -> None:
        self.forget_waiting(output)
        group = self.outputs.get(output.wire, [])
        if output in group:
            group.remove(output)
            self._players -= 1
            if not group:
                del self.outputs[output.wire]
        if output in self._fresh:
            self._fresh.remove(output)

    def forget_waiting(self, output: Output) -> None:
        if output in self._waiting:
            self._waiting.remove(output)

    def all_outputs(self) -> Iterator[Output]:
        return (output for group in self.outputs.values() for output in group)

    # Packets.

    def switch(self, ssrc: int) -> None:
        """Packets come from another SSRC now; every output's numbers go on where they were."""
        if self.ssrc:
            for output in self.all_outputs():
                output.remember(self.last)
            self._fresh = list(self.all_outputs())
            self.cache.clear()
        self.ssrc = ssrc
        self.reception = Reception(self.track.codec.clock_rate)
        self.last = None
        self.last_report = None

    def push(self, header: Header, packet: bytes, now: float) -> None:
        sequence = header[2]
        self.cache.put(sequence, packet)
        lost = self.reception.packet(sequence, now)
        if lost and self.ingest.can_nack:
            self._nack(lost)
        if header[3] != self._frame_timestamp:
            self._frame_timestamp = header[3]
            self._frame_checks = FRAME_START_PACKETS if self.kind == "video" else 0
        if self._frame_checks:
            self._frame_checks -= 1
            if starts_keyframe(self._codec, payload(packet)):
                self._frame_checks = 0
                self.keyframes.keyframe(now)
                if self._waiting:
                    self._change_over(now)
        if self._transport_cc_id:
            offset = extension_offset(packet, self._transport_cc_id, 2)
            if offset:
                self.ingest.arrivals.add(packet[offset] << 8 | packet[offset + 1], now)
        if not self._headers:
            self._gathers_since = now
        self._arrived_at = now
        # Sound is a frame a packet; its marker means something else.
        self._frame_ended = self._frame_ended or header[1] >= 0x80 or self.kind != "video"
        self._headers.append(header)
        self._packets.append(packet)

    def batch_end(self, now: float) -> None:
        """What one wake-up brought is here: send it on, or let it wait for the rest of its frame."""
        count = len(self._headers)
        if not count:
            return
        if not may_gather(self._players, count, now - self._gathers_since, frame_ended=self._frame_ended):
            self.flush(now)
        elif self._gather_timer is None:
            self._gather_timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        """Nothing came that took the waiting packets along. The timer is not moved with every batch, so it may find
        younger ones."""
        self._gather_timer = None
        if not self._headers:
            return
        now = time.perf_counter()
        left = self._gathers_since + GATHER_SECONDS - now
        if left > 0.0005:
            self._gather_timer = asyncio.get_running_loop().call_later(left, self._gathered)
        else:
            self.flush(now)

    def _change_over(self, now: float) -> None:
        """The next packet begins a keyframe: outputs that waited for one follow this source from here."""
        self.flush(now)
        waiting, self._waiting = self._waiting, []
        for output in waiting:
            if not output.peer.closed:
                output.attach(self)

    def flush(self, now: float) -> None:
        """Send on what is here."""
        headers, packets = self._headers, self._packets
        if not headers:
            return
        self._headers, self._packets, self._frame_ended = [], [], False
        first, last = headers[0], headers[-1]
        fresh, self._fresh = self._fresh, []
        for output in fresh:
            output.align(first[2], first[3], now)
        self.last = (last[2], last[3], now)
        self.reception.measure_jitter(last[3], self._arrived_at)
        frames = sum([header[1] >> 7 for header in headers])
        self.packets += len(packets)
        self.frames += frames
        self.octets += sum(map(len, packets))
        offsets: list[int] = []
        if self._send_time_id:
            offsets = [extension_offset(packet, self._send_time_id, 3) for packet in packets]
        batch = Batch(headers, packets, offsets, abs_send_time(now), frames)
        for wire, outputs in self.outputs.items():
            self.ingest.sender.fan_out(batch, wire, outputs)
        if fresh and self.last_report is not None:
            # A joiner cannot align sound and picture before the first report; the streamer's next may be seconds away.
            report, at = self.last_report
            current = report.after(now - at, self.track.codec.clock_rate)
            for output in fresh:
                output.sender_report(current, now)

    def measure(self, now: float) -> None:
        at, octets, frames = self._measured
        seconds = max(0.001, now - at)
        self.bitrate_bps = int((self.octets - octets) * 8 / seconds)
        self.fps = (self.frames - frames) / seconds
        self._measured = (now, self.octets, self.frames)

    # Feedback to the streamer.

    def request_keyframe(self, cause: str) -> None:
        """Merged with other requests and throttled by ``KeyframePolicy``; held back ones are sent by a timer."""
        if not self.ssrc:
            return  # nothing was sent yet; a stream begins with a keyframe
        now = time.perf_counter()
        if self.keyframes.want(cause, now):
            self._send_keyframe_request()
        self._schedule_keyframe(now)

    def renack(self, now: float) -> None:
        if self.ingest.can_nack:
            again = self.reception.overdue(now, NACK_INTERVAL_SECONDS)
            if again:
                self._nack(again)

    def stop(self) -> None:
        if self._keyframe_timer is not None:
            self._keyframe_timer.cancel()
            self._keyframe_timer = None
        if self._gather_timer is not None:
            self._gather_timer.cancel()
            self._gather_timer = None

    def sender_report(self, report: rtcp.SenderReport, now: float) -> None:
        self.reception.sender_report(report.ntp, now)
        self.last_report = (report, now)
        for output in self.all_outputs():
            output.sender_report(report, now)

    def _send_keyframe_request(self) -> None:
        ingest = self.ingest
        feedback = self.track.feedback
        if "ccm fir" in feedback and "nack pli" not in feedback:
            self._fir_number = (self._fir_number + 1) & 0xFF
            ingest.peer.send_rtcp(rtcp.full_intra_request(ingest.ssrc, self.ssrc, self._fir_number))
        else:
            ingest.peer.send_rtcp(rtcp.picture_loss(ingest.ssrc, self.ssrc))

    def _schedule_keyframe(self, now: float) -> None:
        wait = self.keyframes.wait_seconds(now)
        if wait is not None and self._keyframe_timer is None:
            self._keyframe_timer = asyncio.get_running_loop().call_later(wait, self._keyframe_due)

    def _keyframe_due(self) -> None:
        self._keyframe_timer = None
        now = time.perf_counter()
        if self.ingest.peer.closed:
            return
        if self.keyframes.due(now):
            self._send_keyframe_request()
        self._schedule_keyframe(now)

    def _nack(self, lost: Iterable[int]) -> None:
        numbers = list(lost)[:MAX_NACK]
        self.ingest.peer.send_rtcp(rtcp.nack(self.ingest.ssrc, self.ssrc, numbers))


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

    def source(self, kind: str) -> Source | None:
        """The stream of a kind; of several layers the best one that is being sent."""
        return max(self.layers(kind), key=lambda source: (source.ssrc != 0, source.bitrate_bps), default=None)

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
