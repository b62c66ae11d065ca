"""One system call for many packets: UDP segmentation offload with its fallbacks.

A batch for one player is one buffer of equally long datagrams of which only the last may be shorter. Linux takes it
with one ``sendmsg`` and a control message, Windows (and Linux, for tests) with a socket option and ``sendto``,
everything else packet by packet. A socket that refuses segmentation once stays with single packets: the reasons (no
checksum offload, an MTU that is smaller than a segment) do not go away.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections import Counter
from typing import Any

Address = tuple[Any, ...]  # exactly what recvfrom returned

UDP_LEVEL = 17
LINUX_UDP_SEGMENT = 103
WINDOWS_UDP_SEND_MSG_SIZE = 2
# The kernel's limits are 64 segments and one IP packet's length for the whole.
MAX_SEGMENTS = 64
MAX_BYTES = 60_000
_REFUSED = frozenset(
    code
    for name in ("EIO", "EINVAL", "EMSGSIZE", "ENOPROTOOPT", "EOPNOTSUPP", "WSAEINVAL", "WSAEMSGSIZE", "WSAEOPNOTSUPP")
    if (code := getattr(errno, name, None)) is not None
)
_ancillary: dict[int, list[tuple[int, int, bytes]]] = {}


class SegmentedSocket:
    """A bound UDP socket that sends single datagrams and batches; nothing it does blocks or raises for the network's
    sake."""

    def __init__(self, sock: socket.socket, counters: Counter[str], mode: str = "") -> None:
        self.sock = sock
        self.counters = counters
        self.mode = mode or _default_mode()
        self._option = WINDOWS_UDP_SEND_MSG_SIZE if sys.platform == "win32" else LINUX_UDP_SEGMENT
        self._option_size = 0

    def send(self, data: bytes | memoryview, address: Address) -> bool:
        """Send or drop: a full socket buffer must never block the relay."""
        try:
            if self._option_size:
                self._set_option(0)
            self.sock.sendto(data, address)
        except OSError as error:
            self._count(error)
            return False
        return True

    def send_batch(self, data: memoryview, stride: int, count: int, address: Address) -> int:
        """Send ``count`` datagrams of ``stride`` bytes, the last possibly shorter; returns how many were taken."""
        if count == 1:
            return int(self.send(data, address))
        if self.mode != "none":
            try:
                if self.mode == "gso":
                    self.sock.sendmsg((data,), _control(stride), 0, address)
                else:
                    if self._option_size != stride:
                        self._set_option(stride)
                    self.sock.sendto(data, address)
                return count
            except OSError as error:
                if error.errno not in _REFUSED:
                    self._count(error)
                    return 0
                self.counters["segmentation_refused"] += 1
                self.mode = "none"
        starts = range(0, len(data), stride)
        return sum(self.send(data[start : start + stride], address) for start in starts)

    def _set_option(self, size: int) -> None:
        self.sock.setsockopt(UDP_LEVEL, self._option, size)
        self._option_size = size

    def _count(self, error: OSError) -> None:
        self.counters["send_" + errno.errorcode.get(error.errno or 0, "error")] += 1


def _default_mode() -> str:
    if sys.platform == "linux":
        return "gso"
    return "option" if sys.platform == "win32" else "none"


def _control(stride: int) -> list[tuple[int, int, bytes]]:
    control = _ancillary.get(stride)
    if control is None:
        control = _ancillary[stride] = [(UDP_LEVEL, LINUX_UDP_SEGMENT, struct.pack("=H", stride))]
    return control
