"""The session's UDP port: one socket per local address, all with the same number, shared by every peer.

Datagrams are told apart by their first byte (RFC 7983) and by their source. A stranger gets as little work out of
the port as possible: media and DTLS from unknown addresses cost a dictionary look-up, STUN that names no user
fragment of ours one scan.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ipaddress
import logging
import socket
import sys
import time
from collections.abc import Sequence

import psutil

from runtime.relay.core import stun

from .ice import IcePeer, Path
from .segmentation import Address, SegmentedSocket

logger = logging.getLogger(__name__)

RECEIVE_BYTES = 2048
BATCH_PACKETS = 64
SOCKET_BUFFER_BYTES = 4 << 20
UNCLAIMED_SECONDS = 30.0
PORT_ATTEMPTS = 20
MAX_CANDIDATES = 16
_LINUX_SO_RCVBUFFORCE, _LINUX_SO_SNDBUFFORCE = 33, 32


class StrangerLimit:
    """Caps the HMAC work done for addresses that have not authenticated yet, per source host and in total.

    Only requests that name an existing user fragment come here, and those are secret: an outsider who floods the
    port cannot use up the allowance of a viewer who is joining. Fixed one-second windows, cleared as a whole, keep
    the table bounded.
    """

    def __init__(self, per_host: int = 200, total: int = 2000) -> None:
        self.per_host, self.total = per_host, total
        self._counts: collections.Counter[str] = collections.Counter()
        self._seen = 0

    def allow(self, host: str) -> bool:
        if self._seen >= self.total:
            return False
        self._seen += 1
        self._counts[host] += 1
        return self._counts[host] <= self.per_host

    def next_window(self) -> None:
        self._counts.clear()
        self._seen = 0


class BoundSocket(SegmentedSocket):
    """One local address of the port, and who may send to it from where."""

    def __init__(self, host: str, number: int, counters: collections.Counter[str], segmentation: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setblocking(False)
            _enlarge_buffers(sock)
            sock.bind((host, number))
        except BaseException:
            sock.close()
            raise
        super().__init__(sock, counters, segmentation)
        self.host = host
        self.number: int = sock.getsockname()[1]
        self.peers: dict[Address, IcePeer] = {}

    def claim(self, address: Address, peer: IcePeer) -> None:
        self.peers[address] = peer

    def release(self, address: Address, peer: IcePeer) -> None:
        if self.peers.get(address) is peer:
            del self.peers[address]


class UdpPort:
    """The sockets, the table of peers, and the STUN server side. ``open`` binds, ``close`` frees."""

    def __init__(
        self, addresses: Sequence[str], number: int = 0, segmentation: str = "", consent_seconds: float = 30.0
    ):
        self.number = number
        self.counters: collections.Counter[str] = collections.Counter()
        self.rx = bytearray(RECEIVE_BYTES)
        self.view = memoryview(self.rx)
        self.sockets: list[BoundSocket] = []
        self._addresses = tuple(addresses)
        self._segmentation = segmentation
        self._consent_seconds = consent_seconds
        self._by_ufrag: dict[bytes, IcePeer] = {}
        self._strangers = StrangerLimit()
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Bind every address. Raises OSError when one is taken or not local; then nothing stays bound."""
        loop = asyncio.get_running_loop()
        hosts = expand_wildcards(self._addresses)
        self.sockets = _bind_all(hosts, self.number, self.counters, self._segmentation)
        self.number = self.sockets[0].number
        for bound in self.sockets:
            loop.add_reader(bound.sock.fileno(), self._readable, bound)
        self._timer = loop.call_later(1.0, self._every_second)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for peer in list(self._by_ufrag.values()):
            peer.close("the relay stops")
        loop = asyncio.get_running_loop()
        for bound in self.sockets:
            loop.remove_reader(bound.sock.fileno())
            bound.sock.close()
        self.sockets = []

    def add_peer(self) -> IcePeer:
        peer = IcePeer(self)
        self._by_ufrag[peer.local_ufrag.encode()] = peer
        return peer

    def forget(self, peer: IcePeer, paths: Sequence[Path]) -> None:
        self._by_ufrag.pop(peer.local_ufrag.encode(), None)
        for bound, address in paths:
            bound.release(address, peer)

    def candidates(
        self, announced: Sequence[str] = (), announced_port: int | None = None, remote: bool = True
    ) -> tuple[str, ...]:
        """Host candidates, the only type a lite agent may offer. A ``remote`` peer is not told of loopback addresses
        unless there are no others: it would check its own machine."""
        hosts = list(announced) or [bound.host for bound in self.sockets]
        if remote and not announced:
            hosts = [host for host in hosts if not ipaddress.ip_address(host.partition("%")[0]).is_loopback] or hosts
        number = (announced_port if announced else None) or self.number
        return tuple(
            f"candidate:{i + 1} 1 udp {(126 << 24) | ((65535 - i) << 8) | 255} {host} {number} typ host"
            for i, host in enumerate(hosts[:MAX_CANDIDATES])
        )

    def _readable(self, bound: BoundSocket) -> None:
        """Drain up to one batch. RTP is handed over in place in ``rx``; the end of the batch is signalled once per
        peer."""
        receive, rx, peers, view = bound.sock.recvfrom_into, self.rx, bound.peers, self.view
        touched: set[IcePeer] = set()
        for _ in range(BATCH_PACKETS):
            try:
                size, address = receive(rx)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                # Windows reports an ICMP "port unreachable" for an earlier send here; the socket is fine.
                continue
            if size < 2:
                continue
            first = rx[0]
            peer = peers.get(address)
            if first < 4:
                self._stun(bytes(view[:size]), bound, address, peer)
            elif peer is None:
                self.counters["unknown_source"] += 1
            elif 128 <= first < 192:
                if peer.on_media is not None:
                    peer.on_media(size)
                    touched.add(peer)
            elif 20 <= first < 64:
                peer.push(bytes(view[:size]), (bound, address))
            else:
                self.counters["unknown_protocol"] += 1
        for peer in touched:
            if peer.on_batch_end is not None:
                peer.on_batch_end()

    def _stun(self, data: bytes, bound: BoundSocket, address: Address, peer: IcePeer | None) -> None:
        """Answer a valid binding request; anything else gets silence, so that the port reflects nothing."""
        if data[:2] in (stun.BINDING_RESPONSE, stun.BINDING_ERROR):
            self._stun_response(data, (bound, address), peer)
            return
        if len(data) < stun.MIN_REQUEST_BYTES or data[:2] != stun.BINDING_REQUEST or data[4:8] != stun.COOKIE_BYTES:
            self.counters["stun_ignored"] += 1
            return
        target = self._by_ufrag.get(stun.local_fragment(data))
        if target is None:
            self.counters["stun_unknown_ufrag"] += 1
            return
        if target.throttled() if peer is target else not self._strangers.allow(address[0]):
            self.counters["stun_limited"] += 1
            return
        try:
            request = stun.parse(data)
        except stun.StunError:
            self.counters["stun_malformed"] += 1
            return
        if not target.accepts(request):
            self.counters["stun_refused"] += 1
            return
        bound.send(target.reply(request, address), address)
        self.counters["stun_valid"] += 1
        target.validated(request, (bound, address))

    def _stun_response(self, data: bytes, path: Path, peer: IcePeer | None) -> None:
        if peer is None or peer.throttled():
            self.counters["stun_ignored"] += 1
            return
        try:
            response = stun.parse(data)
        except stun.StunError:
            self.counters["stun_malformed"] += 1
            return
        peer.answered(response, path)

    def _every_second(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(1.0, self._every_second)
        self._strangers.next_window()
        now = time.perf_counter()
        for peer in list(self._by_ufrag.values()):
            peer.next_window()
            if peer.path is None and now - peer.last_check > UNCLAIMED_SECONDS:
                peer.close("no connectivity check arrived; is UDP blocked on the way?")
            elif peer.path is not None and now - peer.last_check > self._consent_seconds:
                peer.close("consent expired: the peer stopped answering")


def expand_wildcards(addresses: Sequence[str]) -> list[str]:
    """Named addresses as they are; a wildcard becomes the machine's addresses of that family, without link-local
    ones."""
    hosts: list[str] = []
    for address in addresses:
        if address not in ("0.0.0.0", "::"):
            hosts.append(address)
            continue
        family = socket.AF_INET6 if address == "::" else socket.AF_INET
        found = [item.address for items in psutil.net_if_addrs().values() for item in items if item.family == family]
        usable = [host for host in found if not ipaddress.ip_address(host.partition("%")[0]).is_link_local]
        hosts += sorted(usable, key=lambda host: ipaddress.ip_address(host.partition("%")[0]).is_loopback)
    return list(dict.fromkeys(hosts))


def _bind_all(
    hosts: Sequence[str], number: int, counters: collections.Counter[str], segmentation: str
) -> list[BoundSocket]:
    """One socket per address, all with one number; a number that the kernel chose may be taken on another address."""
    if not hosts:
        raise OSError("no local address to bind the media port to")
    for attempt in range(PORT_ATTEMPTS):
        bound: list[BoundSocket] = []
        try:
            for host in hosts:
                bound.append(BoundSocket(host, bound[0].number if bound else number, counters, segmentation))
        except OSError:
            for each in bound:
                each.sock.close()
            if number or attempt + 1 == PORT_ATTEMPTS:
                raise
        else:
            return bound
    raise AssertionError("unreachable")


def _enlarge_buffers(sock: socket.socket) -> None:
    """Ask for room for 0.3 s of a 100 Mbit/s stream; past the system's limit only where we are privileged."""
    for option, forced in (
        (socket.SO_RCVBUF, _LINUX_SO_RCVBUFFORCE),
        (socket.SO_SNDBUF, _LINUX_SO_SNDBUFFORCE),
    ):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, forced, SOCKET_BUFFER_BYTES)
