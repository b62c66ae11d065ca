"""RTCP packets (RFC 3550, RFC 4585, RFC 5104, REMB): parse what peers send, build what a relay says.

``parse`` takes a decrypted compound packet apart. Types that mean nothing to a relay are skipped; a packet whose
lengths do not add up raises :class:`RtcpError` as a whole, so that nothing half-read is acted on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SENDER_REPORT, RECEIVER_REPORT, SDES, BYE, RTPFB, PSFB = 200, 201, 202, 203, 205, 206
FMT_NACK, FMT_TRANSPORT_CC = 1, 15
FMT_PLI, FMT_FIR, FMT_AFB = 1, 4, 15
_REMB = b"REMB"
MAX_PACKETS = 64
_BLOCK = struct.Struct("!IIIIII")
_NACK_ENTRY = struct.Struct("!HH")


class RtcpError(ValueError):
    """A compound packet that does not hold together."""


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """One source as a receiver sees it (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int  # 0..255 = 256ths
    packets_lost: int  # signed 24 bits
    highest_sequence: int  # extended
    jitter: int  # in RTP timestamp units
    last_sr: int  # middle 32 bits of the NTP time of the last sender report, 0: none
    delay_since_sr: int  # 1/65536 s


@dataclass(frozen=True, slots=True)
class SenderReport:
    ssrc: int
    ntp: int  # 32.32 fixed point seconds
    rtp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()

    def after(self, seconds: float, clock_rate: int) -> SenderReport:
        """The same clocks some time later."""
        ntp = self.ntp + int(seconds * (1 << 32))
        rtp = (self.rtp + int(seconds * clock_rate)) & 0xFFFFFFFF
        return SenderReport(self.ssrc, ntp, rtp, self.packets, self.octets)


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Nack:
    sender: int
    media: int
    lost: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeyframeRequest:
    """PLI or FIR: the same to a relay."""

    sender: int
    media: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Remb:
    """Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03)."""

    sender: int
    bitrate_bps: int
    media: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """Transport-wide congestion control feedback; ``body`` is read by ``transport_cc``."""

    sender: int
    media: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Bye:
    sources: tuple[int, ...]


RtcpPacket = SenderReport | ReceiverReport | Nack | KeyframeRequest | Remb | TransportFeedback | Bye


def parse(data: bytes) -> list[RtcpPacket]:
    """Raises :class:`RtcpError`."""
    result: list[RtcpPacket] = []
    pos = 0
    for _ in range(MAX_PACKETS):
        if pos == len(data):
            return result
        if pos + 4 > len(data):
            raise RtcpError("cut in a header")
        first, kind, words = struct.unpack_from("!BBH", data, pos)
        end = pos + 4 + 4 * words
        if first >> 6 != 2 or end > len(data):
            raise RtcpError("wrong version or length")
        stop = end
        if first & 0x20:
            stop -= data[end - 1]
            if stop < pos + 4:
                raise RtcpError("more padding than packet")
        packet = _parse_one(kind, first & 0x1F, data[pos + 4 : stop])
        if packet is not None:
            result.append(packet)
        pos = end
    raise RtcpError("too many packets")


def _parse_one(kind: int, count: int, body: bytes) -> RtcpPacket | None:
    try:
        if kind == SENDER_REPORT:
            ssrc, high, low, rtp, packets, octets = struct.unpack_from("!IIIIII", body)
            return SenderReport(ssrc, high << 32 | low, rtp, packets, octets, _blocks(body, 24, count))
        if kind == RECEIVER_REPORT:
            return ReceiverReport(struct.unpack_from("!I", body)[0], _blocks(body, 4, count))
        if kind == BYE:
            return Bye(struct.unpack_from(f"!{count}I", body))
        if kind == RTPFB:
            return _parse_rtpfb(count, body)
        if kind == PSFB:
            return _parse_psfb(count, body)
    except struct.error as error:
        raise RtcpError(f"type {kind} is too short") from error
    return None


def _blocks(body: bytes, start: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for i in range(count):
        ssrc, lost, highest, jitter, lsr, dlsr = _BLOCK.unpack_from(body, start + 24 * i)
        total = lost & 0xFFFFFF
        blocks.append(
            ReportBlock(ssrc, lost >> 24, total - (total >> 23 << 24), highest, jitter, lsr, dlsr),
        )
    return tuple(blocks)


def _parse_rtpfb(fmt: int, body: bytes) -> RtcpPacket | None:
    sender, media = struct.unpack_from("!II", body)
    if fmt == FMT_TRANSPORT_CC:
        return TransportFeedback(sender, media, body[8:])
    if fmt != FMT_NACK:
        return None
    lost: list[int] = []
    for pos in range(8, len(body) - 3, 4):
        first, bits = _NACK_ENTRY.unpack_from(body, pos)
        lost.append(first)
        if bits:
            lost += [(first + i + 1) & 0xFFFF for i in range(16) if bits >> i & 1]
    return Nack(sender, media, tuple(lost))


def _parse_psfb(fmt: int, body: bytes) -> RtcpPacket | None:
    sender, media = struct.unpack_from("!II", body)
    if fmt == FMT_PLI:
        return KeyframeRequest(sender, (media,))
    if fmt == FMT_FIR:
        return KeyframeRequest(sender, tuple(struct.unpack_from("!I", body, p)[0] for p in range(8, len(body) - 7, 8)))
    if fmt == FMT_AFB and body[8:12] == _REMB:
        count, high, low = struct.unpack_from("!BBH", body, 12)
        bitrate = ((high & 0x03) << 16 | low) << (high >> 2)
        return Remb(sender, bitrate, struct.unpack_from(f"!{count}I", body, 16))
    return None


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def _pack_block(block: ReportBlock) -> bytes:
    lost = max(-(1 << 23), min(block.packets_lost, (1 << 23) - 1)) & 0xFFFFFF
    return _BLOCK.pack(
        block.ssrc,
        min(block.fraction_lost, 255) << 24 | lost,
        block.highest_sequence & 0xFFFFFFFF,
        min(block.jitter, 0xFFFFFFFF),
        block.last_sr,
        min(block.delay_since_sr, 0xFFFFFFFF),
    )


def sender_report(report: SenderReport) -> bytes:
    head = struct.pack(
        "!IQIII",
        report.ssrc,
        report.ntp & 0xFFFFFFFFFFFFFFFF,
        report.rtp & 0xFFFFFFFF,
        report.packets & 0xFFFFFFFF,
        report.octets & 0xFFFFFFFF,
    )
    return _packet(SENDER_REPORT, len(report.blocks), head + b"".join(map(_pack_block, report.blocks)))


def receiver_report(ssrc: int, blocks: Sequence[ReportBlock]) -> bytes:
    return _packet(RECEIVER_REPORT, len(blocks), struct.pack("!I", ssrc) + b"".join(map(_pack_block, blocks)))


def source_description(ssrc: int, cname: bytes) -> bytes:
    """SDES with one CNAME: every compound packet with a report has one (RFC 3550 section 6.1)."""
    item = bytes((1, len(cname))) + cname
    item += bytes(4 - len(item) % 4)
    return _packet(SDES, 1, struct.pack("!I", ssrc) + item)


def bye(ssrcs: Sequence[int]) -> bytes:
    return _packet(BYE, len(ssrcs), struct.pack(f"!{len(ssrcs)}I", *ssrcs))


def nack(sender: int, media: int, lost: Iterable[int]) -> bytes:
    """Generic NACK (RFC 4585 section 6.2.1); ``lost`` in rising order packs best."""
    entries: list[tuple[int, int]] = []
    for sequence in lost:
        if entries:
            first, bits = entries[-1]
            ahead = (sequence - first) & 0xFFFF
            if 1 <= ahead <= 16:
                entries[-1] = (first, bits | 1 << (ahead - 1))
                continue
        entries.append((sequence, 0))
    body = struct.pack("!II", sender, media) + b"".join(_NACK_ENTRY.pack(*entry) for entry in entries)
    return _packet(RTPFB, FMT_NACK, body)


def picture_loss(sender: int, media: int) -> bytes:
    return _packet(PSFB, FMT_PLI, struct.pack("!II", sender, media))


def full_intra_request(sender: int, media: int, number: int) -> bytes:
    """FIR (RFC 5104 section 4.3.1); ``number`` must differ from the last request's, or it is taken for a repetition."""
    return _packet(PSFB, FMT_FIR, struct.pack("!IIIBxxx", sender, 0, media, number & 0xFF))


def remb(sender: int, bitrate_bps: int, media: Sequence[int]) -> bytes:
    exponent = max(0, bitrate_bps.bit_length() - 18)
    mantissa = bitrate_bps >> exponent
    body = struct.pack("!II", sender, 0) + _REMB
    body += struct.pack("!BBH", len(media), exponent << 2 | mantissa >> 16, mantissa & 0xFFFF)
    return _packet(PSFB, FMT_AFB, body + struct.pack(f"!{len(media)}I", *media))


def transport_feedback(sender: int, media: int, body: bytes) -> bytes:
    return _packet(RTPFB, FMT_TRANSPORT_CC, struct.pack("!II", sender, media) + body)
