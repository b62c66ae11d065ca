"""DTLS records in datagrams (RFC 6347 section 4.1, RFC 9147 section 4)."""

from __future__ import annotations


def split_records(data: bytes, mtu: int) -> list[bytes]:
    """Group whole DTLS records into datagrams of at most ``mtu`` bytes; a record is never cut."""
    datagrams: list[bytes] = []
    start = pos = 0
    while pos < len(data):
        end = min(len(data), pos + _record_bytes(data, pos))
        if end - start > mtu and pos > start:
            datagrams.append(data[start:pos])
            start = pos
        pos = end
    if data[start:]:
        datagrams.append(data[start:])
    return datagrams


def _record_bytes(data: bytes, pos: int) -> int:
    """Length of the record at ``pos``. The unified header of DTLS 1.3 (RFC 9147 section 4) starts with 0b001."""
    first = data[pos]
    if first & 0xE0 != 0x20:
        return 13 + int.from_bytes(data[pos + 11 : pos + 13], "big")
    header = 1 + (2 if first & 0x08 else 1)
    if not first & 0x04:
        return len(data) - pos
    return header + 2 + int.from_bytes(data[pos + header : pos + header + 2], "big")
