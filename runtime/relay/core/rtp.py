"""RTP packets as bytes (RFC 3550, RFC 8285, RFC 4588): what a forwarder has to read and change.

Packets stay ``bytes`` with their 12-byte header unpacked once; nothing here allocates per viewer.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping

MIN_PACKET_BYTES = 12
# The fixed header: first byte, marker and payload type, sequence number, timestamp, SSRC.
HEADER = struct.Struct("!BBHII")
Header = tuple[int, int, int, int, int]

ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
RTP_STREAM_ID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

# Extensions whose value stays true after forwarding. Not among them: mid and rid, which name the other leg's
# sections; the transport-wide sequence number, of which every transport has its own; the dependency descriptor,
# whose frame numbers start anew with every streamer and layer, upon which a browser drops frames as old.
FORWARDED_EXTENSIONS = (
    AUDIO_LEVEL,
    ABS_SEND_TIME,
    "urn:ietf:params:rtp-hdrext:toffset",
    "urn:3gpp:video-orientation",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
    "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
    "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
)

_ONE_BYTE = 0xBEDE


def is_rtcp(second_byte: int) -> bool:
    """RTP and RTCP on one port are told apart by the second byte (RFC 5761 section 4)."""
    return 192 <= second_byte <= 223


def header_bytes(packet: bytes) -> int:
    """Length of the header with CSRCs and extension block, or 0 when the packet is shorter than it claims."""
    size = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if len(packet) < size + 4:
            return 0
        size += 4 + 4 * int.from_bytes(packet[size + 2 : size + 4], "big")
    return size if size <= len(packet) else 0


def payload(packet: bytes) -> bytes:
    """The payload without padding; empty for a malformed packet."""
    start, end = header_bytes(packet), len(packet)
    if packet[0] & 0x20:
        end -= packet[-1]
    return packet[start:end] if start else b""


def extensions(packet: bytes) -> Iterator[tuple[int, int, int]]:
    """(number, offset, length) of every header extension element, in either form of RFC 8285."""
    if not packet[0] & 0x10 or not header_bytes(packet):
        return
    pos = 12 + 4 * (packet[0] & 0x0F)
    profile, words = struct.unpack_from("!HH", packet, pos)
    pos += 4
    end = pos + 4 * words
    two_byte = profile & 0xFFF0 == 0x1000
    if not two_byte and profile != _ONE_BYTE:
        return
    while pos < end:
        first = packet[pos]
        if first == 0:
            pos += 1
            continue
        if two_byte:
            if pos + 1 >= end:
                return
            number, size, pos = first, packet[pos + 1], pos + 2
        else:
            number, size, pos = first >> 4, (first & 0x0F) + 1, pos + 1
            if number == 15:
                return
        if pos + size > end:
            return
        yield number, pos, size
        pos += size


def extension_offset(packet: bytes, number: int, size: int) -> int:
    """Where the value of extension ``number`` begins, if it is there with exactly ``size`` bytes; else 0."""
    for found, pos, length in extensions(packet):
        if found == number and length == size:
            return pos
    return 0


def extension_text(packet: bytes, number: int) -> str:
    """The value of extension ``number`` as ASCII, as stream identifiers are; empty if it is not there."""
    for found, pos, length in extensions(packet):
        if found == number:
            return packet[pos : pos + length].decode("ascii", "replace")
    return ""


def renumber_extensions(packet: bytes, numbers: Mapping[int, int]) -> bytes:
    """The packet with extension numbers replaced and its length unchanged; those that map to 0 become padding."""
    if not packet[0] & 0x10 or not header_bytes(packet):
        return packet
    out = bytearray(packet)
    two_byte = packet[12 + 4 * (packet[0] & 0x0F)] == 0x10
    for number, pos, size in extensions(packet):
        new = numbers.get(number, 0)
        head = 2 if two_byte else 1
        if new == 0 or (new > 14 and not two_byte):
            out[pos - head : pos + size] = bytes(head + size)
        elif two_byte:
            out[pos - 2] = new
        else:
            out[pos - 1] = new << 4 | (size - 1)
    return bytes(out)


def extension_numbers(
    source: Mapping[str, int],
    target: Mapping[str, int],
    others: Collection[int] = (),
    reserved: Collection[int] = (),
) -> tuple[tuple[int, int], ...] | None:
    """How to renumber ``source``'s extensions for ``target``, or None when packets need not be touched.

    A number that the target did not negotiate is ignored by it, so it need not be cleared unless the target uses the
    same number for something else. ``others`` are numbers of the source's that are not passed on, ``reserved`` ones
    that the target negotiated for what it does not get.
    """
    taken = {*target.values(), *reserved}
    same = taken.isdisjoint(others) and all(
        target.get(uri, number) == number and (uri in target or number not in taken) for uri, number in source.items()
    )
    return None if same else tuple((number, target.get(uri, 0)) for uri, number in source.items())


def retransmission(packet: bytes, payload_type: int, sequence: int, ssrc: int) -> bytes:
    """``packet`` in RTX form (RFC 4588 section 4): own stream, the original sequence number in front of the payload."""
    first, marker, _, timestamp, _ = HEADER.unpack_from(packet)
    body = header_bytes(packet)
    head: bytes = HEADER.pack(first, marker & 0x80 | payload_type, sequence, timestamp, ssrc)
    return head + packet[12:body] + packet[2:4] + packet[body:]


def abs_send_time(seconds: float) -> bytes:
    """24-bit fixed point, 6 bits of seconds and 18 of fraction, wrapping every 64 s."""
    return (int(seconds * 262_144) & 0xFFFFFF).to_bytes(3, "big")
