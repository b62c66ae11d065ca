"""Packets that Chromium sent to a relay, decrypted where they were encrypted, and ways to spoil them."""

from __future__ import annotations

import json
import random
from pathlib import Path

from google_crc32c import value as crc32c

_FILE = Path(__file__).parents[1] / "unit" / "relay_media" / "data" / "chromium_packets.json"
PACKETS: dict[str, list[bytes]] = {
    kind: [bytes.fromhex(text) for text in texts]
    for kind, texts in json.loads(_FILE.read_text(encoding="utf-8")).items()
}
# Lengths and counts stand in values like these.
_SHARP = (0, 1, 0x7F, 0x80, 0xFF)


def spoiled(packet: bytes, dice: random.Random) -> bytes:
    """The packet with one to four things wrong with it; most of it still looks right."""
    data = bytearray(packet)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(data):
                data[at] = dice.choice(_SHARP)
            case 2:
                del data[at:]
            case 3:
                data[at:at] = dice.randbytes(dice.randint(1, 8))
            case 4:
                del data[at : at + dice.randint(1, 8)]
            case _:
                # Headers are where a parser decides how far to read.
                place = dice.randrange(min(24, len(data)) + 1)
                data[place : place + 2] = bytes((dice.choice(_SHARP), dice.choice(_SHARP)))
    return bytes(data)


def sealed_sctp(packet: bytes, tag: int) -> bytes:
    """The packet with the association's verification tag and a right checksum, without which nobody reads on."""
    head, rest = packet[:4].ljust(4, b"\0") + tag.to_bytes(4, "big"), packet[12:]
    return head + crc32c(head + bytes(4) + rest).to_bytes(4, "little") + rest
