"""WinRM message encryption over HTTP (MS-WSMV 2.2.9.1): SOAP messages sealed by the NTLM session."""

from __future__ import annotations

import re
import struct
from typing import Any

BOUNDARY = b"--Encrypted Boundary"
CONTENT_TYPE = 'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"'
_SPLIT = re.compile(rb"-- ?Encrypted Boundary(?:--)?\r\n")
_PAYLOAD_MARK = b"application/octet-stream\r\n"


def unseal(context: Any, raw: bytes) -> bytes:
    """Plain message out of a sealed body; ``context`` is a pyspnego server context."""
    parts = [part for part in _SPLIT.split(raw) if part.strip()]
    plain = b""
    for part in parts[1::2]:
        blob = part.split(_PAYLOAD_MARK, 1)[1]
        (length,) = struct.unpack("<i", blob[:4])
        plain += context.unwrap_winrm(blob[4 : 4 + length], blob[4 + length :])
    return bytes(plain)


def seal(context: Any, plain: bytes) -> bytes:
    """Sealed body for a plain message."""
    sealed = context.wrap_winrm(plain)
    length = len(plain) + sealed.padding_length
    head = (
        b"\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n"
        b"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=%d\r\n" % length
    )
    payload = (
        b"\r\n\tContent-Type: application/octet-stream\r\n" + struct.pack("<i", len(sealed.header)) + sealed.header
    )
    return bytes(BOUNDARY + head + BOUNDARY + payload + sealed.data + BOUNDARY + b"--\r\n")
