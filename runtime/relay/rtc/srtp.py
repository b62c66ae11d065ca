"""Every name of pylibsrtp that is not public, in one place: SRTP in place in a buffer, without a copy per packet.

pylibsrtp is pinned to an exact version. ``lib``, ``ffi`` and ``Session._srtp`` are used behind its public interface.
:func:`self_test` runs at start.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable
from typing import Any

from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session, ffi, lib  # type: ignore[attr-defined]

MAX_SSRCS = 32
# Raw libsrtp calls write up to this much behind a packet (SRTP_MAX_TRAILER_LEN); buffers must have room for it.
HEADROOM = 144

protect: Callable[[Any, Any, Any], int] = lib.srtp_protect
unprotect: Callable[[Any, Any, Any], int] = lib.srtp_unprotect


class SrtpPair:
    """Both directions of one peer's SRTP. ``send_handle`` and ``receive_handle`` are ``srtp_t`` for the raw calls
    and valid only while this object lives."""

    def __init__(self, receive: Session, send: Session) -> None:
        self._receive, self._send = receive, send
        self.receive_handle: Any = receive._srtp[0]
        self.send_handle: Any = send._srtp[0]
        self.tag_bytes = _tag_bytes(send)
        self._ssrcs: set[bytes] = set()

    def known(self, ssrc: bytes) -> bool:
        """Bound the number of SSRCs a peer may use: libsrtp keeps a context for each of them for good."""
        if ssrc in self._ssrcs:
            return True
        if len(self._ssrcs) >= MAX_SSRCS:
            return False
        self._ssrcs.add(ssrc)
        return True

    def protect_rtcp(self, packet: bytes) -> bytes:
        return bytes(self._send.protect_rtcp(packet))

    def unprotect_rtcp(self, data: bytes) -> bytes | None:
        """None unless the packet is authentic and new."""
        try:
            return bytes(self._receive.unprotect_rtcp(data))
        except (SrtpError, ValueError):
            return None


def pointer(buffer: bytearray) -> Any:
    """C pointer to a bytearray, which must not be resized while the pointer is in use."""
    return ffi.from_buffer(buffer)


def int_array(size: int) -> Any:
    return ffi.new("int[]", size)


def copy_ints(target: Any, source: Any, count: int) -> None:
    ffi.memmove(target, source, 4 * count)


def _tag_bytes(session: Session) -> int:
    """Bytes that protection adds (16 for GCM, 10 for SHA1_80): measured, so that no profile table is needed."""
    packet = struct.pack("!BBHII", 0x80, 0, 0, 0, secrets.randbits(32)) + b"probe"
    return len(session.protect(packet)) - len(packet)


def self_test() -> None:
    """Raises RuntimeError at start, rather than in a call, if pylibsrtp's raw calls do not do what ``Session`` does."""
    key = secrets.token_bytes(30)
    packet = struct.pack("!BBHII", 0x80, 96, 1, 2, 3) + b"payload"
    send = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    receive = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND))
    reference = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    buffer = bytearray(packet + bytes(HEADROOM))
    length = int_array(1)
    length[0] = len(packet)
    failed = protect(send._srtp[0], pointer(buffer), length)
    if failed or bytes(buffer[: length[0]]) != reference.protect(packet):
        raise RuntimeError("pylibsrtp's raw calls do not match Session.protect; install the pinned version")
    if unprotect(receive._srtp[0], pointer(buffer), length) or bytes(buffer[: length[0]]) != packet:
        raise RuntimeError("pylibsrtp's raw calls do not match Session.unprotect; install the pinned version")
