"""One stream from the streamer: its packets in, batches out to the players that follow it, feedback back."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from runtime.relay.core import rtcp
from runtime.relay.core.forwarding import PacketCache, Reception
from runtime.relay.core.keyframes import KeyframePolicy, starts_keyframe
from runtime.relay.core.negotiation import Track
from runtime.relay.core.pacing import GATHER_SECONDS, may_gather
from runtime.relay.core.picture import picture_size
from runtime.relay.core.rtp import ABS_SEND_TIME, TRANSPORT_CC, Header, abs_send_time, extension_offset, payload
from runtime.relay.core.temporal import layer_of

from .batch import Batch, Wire

if TYPE_CHECKING:
    from .ingest import Ingest
    from .output import Output

NACK_INTERVAL_SECONDS = 0.05
# Encoders may put delimiters and parameter sets into packets of their own in front of a keyframe's first slice.
FRAME_START_PACKETS = 4
MAX_NACK = 64
TEMPORAL_LAYERS = 4
SMOOTHING = 0.2  # what a second counts in the steady bitrate


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
        self.thinned: list[Output] = []  # who get only some of the temporal layers, each its own way
        self.temporal_bps: list[int] = []  # what the first, the first two, ... temporal layers take together
        self.packets = 0
        self.octets = 0
        self.frames = 0
        self.bitrate_bps = 0
        self.steady_bps = 0.0  # smoothed over some seconds
        self.picture_size: tuple[int, int] | None = None  # of a simulcast layer, in pixels, where its codec tells
        self.fps = 0.0
        self._measured: tuple[float, int, int] = (time.perf_counter(), 0, 0)
        self._layer = 0
        self._layer_octets = [0] * TEMPORAL_LAYERS
        # Sequence number, timestamp and time of the packet that is furthest on, and the packet; late ones do not count.
        self.last: tuple[int, int, float] | None = None
        self.last_packet = b""
        self.last_report: tuple[rtcp.SenderReport, float] | None = None
        self._headers: list[Header] = []
        self._packets: list[bytes] = []
        self._transport_cc_offsets: list[int] = []
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
        self._join(output)
        self._players += 1
        self._fresh.append(output)

    def _join(self, output: Output) -> None:
        self.outputs.setdefault(output.wire, []).append(output)

    def _part(self, output: Output) -> bool:
        group = self.outputs.get(output.wire, [])
        if output not in group:
            return False
        group.remove(output)
        if not group:
            del self.outputs[output.wire]
        return True

    def thin(self, output: Output) -> None:
        """``output`` goes its own way through the temporal layers from the next packet on."""
        self.flush(time.perf_counter())
        if self._part(output):
            self.thinned.append(output)

    def unthin(self, output: Output) -> None:
        """``output`` gets every packet again, like the others."""
        self.thinned.remove(output)
        self._join(output)

    def add_at_keyframe(self, output: Output) -> None:
        """``output`` wants to change to this source, which it can only at a keyframe."""
        if output not in self._waiting:
            self._waiting.append(output)
        self.request_keyframe("switch")

    def remove(self, output: Output) -> None:
        self.forget_waiting(output)
        if self._part(output):
            self._players -= 1
        elif output in self.thinned:
            self.thinned.remove(output)
            self._players -= 1
        if output in self._fresh:
            self._fresh.remove(output)

    def forget_waiting(self, output: Output) -> None:
        if output in self._waiting:
            self._waiting.remove(output)

    def all_outputs(self) -> Iterator[Output]:
        return itertools.chain(*self.outputs.values(), self.thinned)

    # Packets.

    def switch(self, ssrc: int) -> None:
        """Packets come from another SSRC now, or under other numbers; every output's go on where they were."""
        if self.ssrc:
            self.flush(time.perf_counter())
            for output in self.all_outputs():
                output.remember()
            for output in tuple(self.thinned):
                output.end_thinning()
            self._fresh = list(self.all_outputs())
            self.cache.clear()
        self.ssrc = ssrc
        self.reception = Reception(self.track.codec.clock_rate)
        self.last = None
        self.last_report = None

    def push(self, header: Header, packet: bytes, now: float) -> None:
        sequence = header[2]
        reception = self.reception
        if sequence != reception.expected and reception.restarts_with(sequence):
            self._restart()
            reception = self.reception
        self.cache.put(sequence, packet)
        lost = reception.packet(sequence, now)
        if lost and self.ingest.can_nack:
            self._nack(lost)
        if header[3] != self._frame_timestamp:
            self._frame_timestamp = header[3]
            self._frame_checks = FRAME_START_PACKETS if self.kind == "video" else 0
        if self._frame_checks:
            self._frame_checks -= 1
            self._look_at_frame(payload(packet), now)
        self._layer_octets[self._layer] += len(packet)
        if self._transport_cc_id:
            offset = extension_offset(packet, self._transport_cc_id, 2)
            self._transport_cc_offsets.append(offset)
            if offset:
                self.ingest.arrivals.add(packet[offset] << 8 | packet[offset + 1], now)
        headers = self._headers
        if not headers:
            self._gathers_since = now
        self._arrived_at = now
        # Sound is a frame a packet; its marker means something else.
        if header[1] >= 0x80 or self.kind != "video":
            self._frame_ended = True
        headers.append(header)
        self._packets.append(packet)

    def _restart(self) -> None:
        """The numbers begin elsewhere: passed on as they are, every player's SRTP would refuse them as too old."""
        self.switch(self.ssrc)
        if self.kind == "video":
            self.request_keyframe("switch")

    def _look_at_frame(self, body: bytes, now: float) -> None:
        """One of the first packets of a frame: what kind of frame is it?"""
        if starts_keyframe(self._codec, body):
            self._frame_checks = 0
            self._layer = 0
            if self.rid:
                self.picture_size = picture_size(self._codec, body) or self.picture_size
            self.keyframes.keyframe(now)
            if self._waiting:
                self._change_over(now)
        elif (layer := layer_of(self._codec, body)) is not None:
            self._layer = min(layer.number, TEMPORAL_LAYERS - 1)

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
        numbered = self._transport_cc_offsets
        self._headers, self._packets, self._transport_cc_offsets, self._frame_ended = [], [], [], False
        first, last = headers[0], headers[-1]
        fresh, self._fresh = self._fresh, []
        for output in fresh:
            output.align(first[2], first[3], now)
            if self.kind == "video":
                self._go_on_at(output, packets[0])
        if (last[2] + 1) & 0xFFFF == self.reception.expected:
            self.last, self.last_packet = (last[2], last[3], now), packets[-1]
        elif (i := _furthest(headers, self.last)) is not None:
            self.last, self.last_packet = (headers[i][2], headers[i][3], now), packets[i]
        self.reception.measure_jitter(last[3], self._arrived_at)
        frames = sum([header[1] >> 7 for header in headers])
        self.packets += len(packets)
        self.frames += frames
        self.octets += sum(map(len, packets))
        offsets: list[int] = []
        if self._send_time_id:
            offsets = [extension_offset(packet, self._send_time_id, 3) for packet in packets]
        batch = Batch(headers, packets, offsets, abs_send_time(now), frames, numbered, now)
        for wire, outputs in self.outputs.items():
            self.ingest.sender.fan_out(batch, wire, outputs)
        for output in tuple(self.thinned):
            self._send_thinned(output, batch)
        if fresh and self.last_report is not None:
            # A joiner cannot align sound and picture before the first report; the streamer's next may be seconds away.
            report, at = self.last_report
            current = report.after(now - at, self.track.codec.clock_rate)
            for output in fresh:
                output.sender_report(current, now)

    def _go_on_at(self, output: Output, packet: bytes) -> None:
        """``output`` may look otherwise from this packet on, and then belongs to another group."""
        was_grouped = self._part(output)
        output.go_on_at(packet)
        if was_grouped:
            self._join(output)

    def _send_thinned(self, output: Output, batch: Batch) -> None:
        part = output.thinned(batch)
        if part.packets:
            self.ingest.sender.fan_out(part, output.wire, (output,))
        if output.thinner is not None and output.thinner.is_over:
            output.end_thinning()

    def measure(self, now: float) -> None:
        at, octets, frames = self._measured
        seconds = max(0.001, now - at)
        self.bitrate_bps = int((self.octets - octets) * 8 / seconds)
        self.steady_bps += (self.bitrate_bps - self.steady_bps) * (SMOOTHING if self.steady_bps else 1.0)
        self.fps = (self.frames - frames) / seconds
        self._measured = (now, self.octets, self.frames)
        counted = [int(8 * n / seconds) for n in self._layer_octets]
        while counted and not counted[-1]:
            counted.pop()
        self.temporal_bps = list(itertools.accumulate(counted))
        self._layer_octets = [0] * TEMPORAL_LAYERS

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


def _furthest(headers: Sequence[Header], last: tuple[int, int, float] | None) -> int | None:
    """Index of the packet that is furthest on and beyond ``last``; None when all are late."""
    at, highest = (None, last[0]) if last is not None else (0, headers[0][2])
    for i, header in enumerate(headers):
        if 0 < (header[2] - highest) & 0xFFFF < 0x8000:
            at, highest = i, header[2]
    return at
