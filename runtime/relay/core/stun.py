"""STUN binding messages as ICE uses them (RFC 8489, RFC 8445): parse, verify, build.

Only what an ICE-lite agent needs. ``parse`` accepts a message or raises :class:`StunError`; it never verifies,
because which password to verify with is known only after the user name was read.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from dataclasses import dataclass

COOKIE = 0x2112A442
COOKIE_BYTES = struct.pack("!I", COOKIE)
HEADER_BYTES = 20
BINDING_REQUEST = b"\x00\x01"
BINDING_RESPONSE = b"\x01\x01"
BINDING_ERROR = b"\x01\x11"
ROLE_CONFLICT = 487
MAX_ATTRIBUTES = 32

_USERNAME = 0x0006
_INTEGRITY = 0x0008
_ERROR_CODE = 0x0009
_XOR_MAPPED_ADDRESS = 0x0020
_PRIORITY = 0x0024
_USE_CANDIDATE = 0x0025
_FINGERPRINT = 0x8028
_CONTROLLED = 0x8029
_CONTROLLING = 0x802A
_FINGERPRINT_MASK = 0x5354554E
_INTEGRITY_BYTES = 24  # with attribute header
_FINGERPRINT_BYTES = 8
_ATTRIBUTE = struct.Struct("!HH")
# The least an authenticated binding request can be: header, USERNAME "a:b", MESSAGE-INTEGRITY, FINGERPRINT.
MIN_REQUEST_BYTES = HEADER_BYTES + 8 + _INTEGRITY_BYTES + _FINGERPRINT_BYTES


class StunError(ValueError):
    """Not a STUN message that ICE could have sent."""


@dataclass(frozen=True)
class StunMessage:
    """A parsed message; ``raw`` is kept for verification."""

    kind: bytes
    transaction: bytes
    username: bytes
    nominated: bool
    controlled: bool  # the sender says it is in the controlled role
    integrity_at: int  # offset of MESSAGE-INTEGRITY
    raw: bytes

    def authentic(self, password: bytes) -> bool:
        """True when MESSAGE-INTEGRITY was made with ``password`` (RFC 8489 section 14.5)."""
        start = self.integrity_at
        covered = bytearray(self.raw[:start])
        struct.pack_into("!H", covered, 2, start + _INTEGRITY_BYTES - HEADER_BYTES)
        digest = hmac.new(password, covered, hashlib.sha1).digest()
        return hmac.compare_digest(digest, self.raw[start + 4 : start + _INTEGRITY_BYTES])


def local_fragment(data: bytes) -> bytes:
    """Our user fragment out of USERNAME, without parsing the rest: all the work that a stranger gets for free."""
    pos = HEADER_BYTES
    for _ in range(MAX_ATTRIBUTES):
        if pos + 4 > len(data):
            break
        kind, size = _ATTRIBUTE.unpack_from(data, pos)
        if kind == _USERNAME:
            return data[pos + 4 : pos + 4 + size].partition(b":")[0]
        pos += 4 + (size + 3 & ~3)
    return b""


def parse(data: bytes) -> StunMessage:
    """Raises :class:`StunError` unless ``data`` is a whole message with integrity and a right fingerprint."""
    if len(data) < HEADER_BYTES or len(data) % 4 or data[4:8] != COOKIE_BYTES:
        raise StunError("not a STUN message")
    if struct.unpack_from("!H", data, 2)[0] != len(data) - HEADER_BYTES:
        raise StunError("wrong length")
    username = b""
    nominated = controlled = False
    integrity_at = fingerprint_at = 0
    pos = HEADER_BYTES
    for _ in range(MAX_ATTRIBUTES):
        if pos >= len(data):
            break
        kind, size = _ATTRIBUTE.unpack_from(data, pos)
        if pos + 4 + size > len(data):
            raise StunError("attribute runs over the end")
        if kind == _FINGERPRINT and size == 4:
            fingerprint_at = pos
        elif integrity_at:
            pass  # anything but FINGERPRINT behind MESSAGE-INTEGRITY is ignored (RFC 8489 section 14.5)
        elif kind == _INTEGRITY and size == _INTEGRITY_BYTES - 4:
            integrity_at = pos
        elif kind == _USERNAME:
            username = data[pos + 4 : pos + 4 + size]
        elif kind == _USE_CANDIDATE:
            nominated = True
        elif kind == _CONTROLLED:
            controlled = True
        pos += 4 + (size + 3 & ~3)
    if not integrity_at or fingerprint_at != len(data) - _FINGERPRINT_BYTES:
        raise StunError("no integrity or fingerprint")
    if struct.unpack_from("!I", data, fingerprint_at + 4)[0] != zlib.crc32(data[:fingerprint_at]) ^ _FINGERPRINT_MASK:
        raise StunError("wrong fingerprint")
    return StunMessage(data[:2], data[8:20], username, nominated, controlled, integrity_at, data)


def binding_response(transaction: bytes, ip: bytes, port: int, password: bytes) -> bytes:
    """Success, telling the peer the address its request came from. ``ip`` is 4 or 16 bytes."""
    mask = COOKIE_BYTES + transaction
    mapped = struct.pack("!BBH", 0, 1 if len(ip) == 4 else 2, port ^ COOKIE >> 16)
    mapped += bytes(a ^ b for a, b in zip(ip, mask, strict=False))
    return _sealed(BINDING_RESPONSE, transaction, _attribute(_XOR_MAPPED_ADDRESS, mapped), password)


def binding_error(transaction: bytes, code: int, reason: str, password: bytes) -> bytes:
    value = struct.pack("!HBB", 0, code // 100, code % 100) + reason.encode()
    return _sealed(BINDING_ERROR, transaction, _attribute(_ERROR_CODE, value), password)


def binding_request(
    transaction: bytes, username: str, password: bytes, *, tie_breaker: int, controlled: bool, nominate: bool = False
) -> bytes:
    """A check: what a full agent sends, and what we send to probe an address."""
    body = _attribute(_USERNAME, username.encode()) + _attribute(_PRIORITY, struct.pack("!I", 1))
    body += _attribute(_CONTROLLED if controlled else _CONTROLLING, struct.pack("!Q", tie_breaker))
    body += _attribute(_USE_CANDIDATE, b"") if nominate else b""
    return _sealed(BINDING_REQUEST, transaction, body, password)


def mapped_address(message: StunMessage) -> tuple[bytes, int] | None:
    """(4 or 16 address bytes, port) out of a success response; None if it has no XOR-MAPPED-ADDRESS."""
    data, pos = message.raw, HEADER_BYTES
    while pos + 4 <= len(data):
        kind, size = _ATTRIBUTE.unpack_from(data, pos)
        if kind == _XOR_MAPPED_ADDRESS and size in (8, 20):
            mask = COOKIE_BYTES + message.transaction
            port = struct.unpack_from("!H", data, pos + 6)[0] ^ COOKIE >> 16
            return bytes(a ^ b for a, b in zip(data[pos + 8 : pos + 4 + size], mask, strict=False)), port
        pos += 4 + (size + 3 & ~3)
    return None


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def _sealed(kind: bytes, transaction: bytes, body: bytes, password: bytes) -> bytes:
    """Header and body with MESSAGE-INTEGRITY and FINGERPRINT; both are computed as if the message ended with them."""
    size = len(body) + _INTEGRITY_BYTES
    message = kind + struct.pack("!H", size) + COOKIE_BYTES + transaction + body
    message += _attribute(_INTEGRITY, hmac.new(password, message, hashlib.sha1).digest())
    message = kind + struct.pack("!H", size + _FINGERPRINT_BYTES) + message[4:]
    return message + _attribute(_FINGERPRINT, struct.pack("!I", zlib.crc32(message) ^ _FINGERPRINT_MASK))
