"""The hot path: one batch of packets from the streamer, encrypted and sent to many players.

The plaintext is joined once per run of equal sizes, with room for the authentication tags. Per player there is then
one copy, the 12-byte headers, encryption in place and one system call. Loops are ``map`` over C functions: measured
about a fifth faster than ``for``, and this is where a relay spends its time.
"""

from __future__ import annotations

import collections
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol

from runtime.relay.core.delay_estimate import DelayEstimate
from runtime.relay.core.picture_numbers import PictureShift
from runtime.relay.core.rtp import HEADER, Header, renumber_extensions

from . import srtp
from .ice import Path
from .pacing import Pacer
from .segmentation import MAX_BYTES, MAX_SEGMENTS
from .udp import BATCH_PACKETS, RECEIVE_BYTES

MAX_CACHED_STRIDES = 512
_SLOT_BYTES = RECEIVE_BYTES + srtp.HEADROOM
_pack_header = HEADER.pack_into
_pack_number = struct.Struct("!H").pack_into
_consume = collections.deque[Any](maxlen=0).extend


@dataclass(frozen=True)
class Wire:
    """How packets look for one group of players: they share the encryption overhead and all numbers but the SSRC."""

    tag_bytes: int
    pt: int
    extensions: tuple[tuple[int, int], ...] | None = None  # streamer's number -> player's, None: the same
    send_time: bool = False  # abs-send-time is negotiated: stamp it when the packet leaves
    transport_cc: bool = False  # each player numbers its packets itself
    pictures: PictureShift | None = None

    @property
    def changes(self) -> bool:
        """Whether packets look otherwise than they came, besides what is in the first 12 octets."""
        return self.extensions is not None or self.pictures is not None

    def apply(self, packet: bytes) -> bytes:
        if self.pictures is not None:
            packet = self.pictures.apply(packet)
        return packet if self.extensions is None else renumber_extensions(packet, dict(self.extensions))


@dataclass
class Batch:
    """What one wake-up brought of one stream, still in the streamer's numbers."""

    headers: Sequence[Header]
    packets: Sequence[bytes]
    send_time_offsets: Sequence[int]  # where abs-send-time stands in each packet, 0: nowhere; may be empty
    send_time: bytes
    frames: int
    transport_cc_offsets: Sequence[int] = ()  # the same of the transport-wide number
    at: float = 0.0


class Receiver(Protocol):
    """One player's copy of a stream, as far as sending is concerned."""

    ssrc: int
    sequence_offset: int
    timestamp_offset: int
    srtp_handle: Any
    packets: int
    octets: int
    frames: int
    sends_dropped: int
    pacer: Pacer | None  # None: packets leave at once
    delay_estimate: DelayEstimate | None  # where ``Wire.transport_cc`` is set

    @property
    def path(self) -> Path: ...


def runs(sizes: Sequence[int], tag_bytes: int) -> list[tuple[int, int]]:
    """Split a batch where segmentation must: all datagrams of one send are equally long, only the last may be
    shorter."""
    result = []
    start, count = 0, len(sizes)
    while start < count:
        size = sizes[start]
        stop = min(count, start + max(1, min(MAX_SEGMENTS, MAX_BYTES // (size + tag_bytes))))
        end = start + 1
        while end < stop and sizes[end] == size:
            end += 1
        if end < stop and sizes[end] < size:
            end += 1
        result.append((start, end))
        start = end
    return result


def _leaves_at(receiver: Receiver, now: float) -> float:
    """When a packet leaves that is handed to the pacer now."""
    pacer = receiver.pacer
    return (
        now if pacer is None or not pacer.waiting_bytes else now + pacer.waiting_bytes / pacer.bucket.bytes_per_second
    )


class BatchSender:
    """Scratch memory for encryption, and the sends. One per relay: the event loop is the lock."""

    def __init__(self, counters: collections.Counter[str]) -> None:
        self.counters = counters
        self._scratch = bytearray(_SLOT_BYTES * BATCH_PACKETS)
        self._view = memoryview(self._scratch)
        self._pointer = srtp.pointer(self._scratch)
        self._lengths = srtp.int_array(BATCH_PACKETS)
        self._template_lengths = srtp.int_array(BATCH_PACKETS)
        self._length_pointers = [self._lengths + i for i in range(BATCH_PACKETS)]
        self._packet_pointers: dict[int, list[Any]] = {}

    def fan_out(self, batch: Batch, wire: Wire, receivers: Sequence[Receiver]) -> None:
        """Send a batch to all ``receivers``, which share ``wire``."""
        packets = [wire.apply(p) for p in batch.packets] if wire.changes else batch.packets
        if len(packets) == 1:
            self._send_single(bytearray(packets[0]), batch, wire, receivers)
            return
        sizes = [len(packet) for packet in packets]
        padding = bytes(wire.tag_bytes)
        for start, end in runs(sizes, wire.tag_bytes):
            stride = sizes[start] + wire.tag_bytes
            template = bytearray(padding.join(packets[start:end]) + padding)
            if wire.send_time and batch.send_time_offsets:
                for i, offset in enumerate(batch.send_time_offsets[start:end]):
                    if offset:
                        position = i * stride + offset
                        template[position : position + 3] = batch.send_time
            for i in range(end - start):
                self._template_lengths[i] = sizes[start + i]
            places: list[int] = []
            if wire.transport_cc:
                offsets = batch.transport_cc_offsets[start:end]
                places = [i * stride + offset for i, offset in enumerate(offsets) if offset]
            self._send_run(template, stride, batch.headers[start:end], wire.pt, receivers, places, batch.at)
        for receiver in receivers:
            receiver.frames += batch.frames

    def _send_run(
        self,
        template: bytearray,
        stride: int,
        headers: Sequence[Header],
        pt: int,
        receivers: Sequence[Receiver],
        places: Sequence[int],
        now: float,
    ) -> None:
        """``places``: where transport-wide numbers stand."""
        count, total = len(headers), len(template)
        firsts, markers, sequences, stamps, _ = zip(*headers, strict=True)
        markers = tuple([marker & 0x80 | pt for marker in markers])
        offsets, pointers = range(0, count * stride, stride), self._pointers(stride)
        scratch, lengths, template_lengths = self._scratch, self._lengths, self._template_lengths
        length_pointers = self._length_pointers[:count]
        data = self._view[:total]
        for receiver in receivers:
            sequence_offset, timestamp_offset = receiver.sequence_offset, receiver.timestamp_offset
            scratch[:total] = template
            _consume(
                map(
                    _pack_header,
                    repeat(scratch),
                    offsets,
                    firsts,
                    markers,
                    [(s + sequence_offset) & 0xFFFF for s in sequences] if sequence_offset else sequences,
                    [(t + timestamp_offset) & 0xFFFFFFFF for t in stamps] if timestamp_offset else stamps,
                    repeat(receiver.ssrc),
                )
            )
            if places and receiver.delay_estimate is not None:
                numbers = receiver.delay_estimate.take(len(places), stride, _leaves_at(receiver, now))
                _consume(map(_pack_number, repeat(scratch), places, numbers))
            srtp.copy_ints(lengths, template_lengths, count)
            if any(map(srtp.protect, repeat(receiver.srtp_handle), pointers, length_pointers)):
                self.counters["protect_failed"] += 1
                continue
            pacer = receiver.pacer
            if pacer is None:
                path = receiver.path
                taken = path[0].send_batch(data, stride, count, path[1])
            else:
                taken = pacer.send(data, stride, count)
            receiver.packets += taken
            receiver.octets += total if taken == count else taken * stride
            if taken != count:
                receiver.sends_dropped += count - taken

    def _send_single(self, packet: bytearray, batch: Batch, wire: Wire, receivers: Sequence[Receiver]) -> None:
        """A batch of one, as a paced stream brings them: without what only pays for many."""
        first, marker, sequence, timestamp, _ = batch.headers[0]
        if wire.send_time and batch.send_time_offsets and batch.send_time_offsets[0]:
            offset = batch.send_time_offsets[0]
            packet[offset : offset + 3] = batch.send_time
        marker = marker & 0x80 | wire.pt
        size, total = len(packet), len(packet) + wire.tag_bytes
        scratch, lengths, pointer, protect = self._scratch, self._lengths, self._pointer, srtp.protect
        data = self._view[:total]
        for receiver in receivers:
            scratch[:size] = packet
            _pack_header(
                scratch,
                0,
                first,
                marker,
                (sequence + receiver.sequence_offset) & 0xFFFF,
                (timestamp + receiver.timestamp_offset) & 0xFFFFFFFF,
                receiver.ssrc,
            )
            if wire.transport_cc and receiver.delay_estimate is not None and batch.transport_cc_offsets[0]:
                number = receiver.delay_estimate.take(1, total, _leaves_at(receiver, batch.at))
                _pack_number(scratch, batch.transport_cc_offsets[0], number[0])
            lengths[0] = size
            receiver.frames += batch.frames
            if protect(receiver.srtp_handle, pointer, lengths):
                self.counters["protect_failed"] += 1
                continue
            pacer = receiver.pacer
            if pacer is None:
                path = receiver.path
                taken = path[0].send(data, path[1])
            else:
                taken = bool(pacer.send(data, total, 1))
            if taken:
                receiver.packets += 1
                receiver.octets += total
            else:
                receiver.sends_dropped += 1

    def send_one(self, packet: bytes, receiver: Receiver) -> bool:
        """Encrypt and send one finished packet, for resends."""
        size = len(packet)
        self._scratch[:size] = packet
        self._lengths[0] = size
        if srtp.protect(receiver.srtp_handle, self._pointer, self._lengths):
            self.counters["protect_failed"] += 1
            return False
        size = self._lengths[0]
        path = receiver.path
        if not path[0].send(self._view[:size], path[1]):
            receiver.sends_dropped += 1
            return False
        receiver.octets += size
        return True

    def _pointers(self, stride: int) -> list[Any]:
        """C pointers to the packets of a run; cached, because making one costs as much as encrypting a small packet."""
        pointers = self._packet_pointers.get(stride)
        if pointers is None:
            if len(self._packet_pointers) >= MAX_CACHED_STRIDES:
                self._packet_pointers.clear()
            pointers = [self._pointer + i * stride for i in range(BATCH_PACKETS)]
            self._packet_pointers[stride] = pointers
        return pointers
