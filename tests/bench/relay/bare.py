"""The bare forwarder: our sockets, handshakes, decryption, encryption and segmented sends, and no other duty.

What the full relay costs more than this is what its duties cost: packet cache and resends, loss and jitter accounting,
reports, keyframe recognition, header extensions, continuous numbering, pacing, statistics.
"""

from __future__ import annotations

import collections
import struct
from itertools import repeat
from typing import Any

from runtime.relay.core.rtp import Header
from runtime.relay.rtc import srtp
from runtime.relay.rtc.batch import BatchSender, runs
from runtime.relay.rtc.hub import MediaHub
from runtime.relay.rtc.source import Source

_SSRC = struct.Struct("!I").pack_into
_SSRC_OFFSET = 8
_consume = collections.deque[Any](maxlen=0).extend


def push(source: Source, header: Header, packet: bytes, now: float) -> None:
    source._packets.append(packet)


def batch_end(source: Source, now: float) -> None:
    packets = source._packets
    if not packets:
        return
    source._packets = []
    sizes = [len(packet) for packet in packets]
    sender: BatchSender = source.ingest.sender
    for wire, outputs in source.outputs.items():
        padding = bytes(wire.tag_bytes)
        for start, end in runs(sizes, wire.tag_bytes):
            stride, count = sizes[start] + wire.tag_bytes, end - start
            template = padding.join(packets[start:end]) + padding
            total = len(template)
            scratch, lengths, template_lengths = sender._scratch, sender._lengths, sender._template_lengths
            for i, size in enumerate(sizes[start:end]):
                template_lengths[i] = size
            offsets = range(_SSRC_OFFSET, count * stride, stride)
            pointers, length_pointers = sender._pointers(stride)[:count], sender._length_pointers[:count]
            for output in outputs:
                scratch[:total] = template
                _consume(map(_SSRC, repeat(scratch), offsets, repeat(output.ssrc)))
                srtp.copy_ints(lengths, template_lengths, count)
                any(map(srtp.protect, repeat(output.srtp_handle), pointers, length_pointers))
                path = output.path
                path[0].send_batch(sender._view[:total], stride, count, path[1])


def strip() -> None:
    """Take every other duty out of the hubs that are made from now on. For a process of its own: there is no way
    back."""
    setattr(Source, "push", push)  # noqa: B010 (a replacement, not an attribute)
    setattr(Source, "batch_end", batch_end)  # noqa: B010
    for tick in ("_fast_tick", "_slow_tick"):
        setattr(MediaHub, tick, lambda hub: None)
