"""Ports of this host's sessions, among foreign processes that may sit anywhere in the range."""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection, Sequence
from ipaddress import ip_address

from .config import PortRange, RelayPlace
from .policy.places import port_order


class PortLedger:
    """Which session ports are given out. No method awaits, so that no port is given twice."""

    def __init__(self, ports: PortRange, place: RelayPlace) -> None:
        self._ports, self._place = ports, place
        self._taken: set[int] = set()
        self._last: int | None = None

    def hold(self, port: int) -> None:
        """The port of an adopted session."""
        self._taken.add(port)
        self._last = port

    def claim(self, refused: Collection[int]) -> int | None:
        """A port that is free now and not in ``refused``; None when there is none."""
        for port in port_order(self._ports.first, self._ports.last, {*self._taken, *refused}, self._last):
            if is_port_free(self._place.listen_address, self._place.media_addresses, port):
                self.hold(port)
                return port
        return None

    def release(self, port: int) -> None:
        self._taken.discard(port)


def is_port_free(address: str, media_addresses: Sequence[str], port: int) -> bool:
    """Whether a relay could bind ``port`` now, for TCP and UDP; foreign processes may sit anywhere in the range."""
    wanted = [(address, socket.SOCK_STREAM), *((media, socket.SOCK_DGRAM) for media in media_addresses)]
    for host, kind in wanted:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, kind) as probe:
            # As servers bind: the last session's connections in TIME_WAIT are no obstacle. On Windows the same option
            # would let the probe share a port that is in use.
            if kind is socket.SOCK_STREAM and sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
