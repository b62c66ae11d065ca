"""What has to be true of an SCTP packet (RFC 9260) before a reader that trusts its lengths may see it."""

from __future__ import annotations

_HEADER_BYTES = 12
# Where parameters begin in the chunks that have some: INIT, INIT ACK, HEARTBEAT and its ACK, ABORT, ERROR, RE-CONFIG.
_PARAMETERS_AT = {1: 20, 2: 20, 4: 4, 5: 4, 6: 4, 9: 4, 130: 4}


def holds_together(packet: bytes) -> bool:
    """False for a packet without a chunk, with a chunk that is longer than what is left, or with a chunk or a parameter
    that is shorter than its own header.

    A reader that steps from one parameter to the next by their lengths would stay at one of length 0 for ever, and with
    it everything that shares its event loop.
    """
    pos = _HEADER_BYTES
    if len(packet) < pos + 4:
        return False
    while pos + 4 <= len(packet):
        kind, size = packet[pos], int.from_bytes(packet[pos + 2 : pos + 4], "big")
        end = pos + size
        if size < 4 or end > len(packet):
            return False
        at = pos + _PARAMETERS_AT.get(kind, size)
        while at + 4 <= end:
            step = int.from_bytes(packet[at + 2 : at + 4], "big")
            if step < 4:
                return False
            at += step + 3 & ~3
        pos += size + 3 & ~3
    return True
