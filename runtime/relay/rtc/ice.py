"""One peer's ICE-lite agent (RFC 8445 section 2.5): who may claim which address, and for how long.

A lite agent never needs to send checks. It answers the checks of full agents, so all of ICE shrinks to a STUN server
with one password per peer. What is left to get right is where to send. Every viewer knows its own password, so it
could name a victim's address as the source of one forged check; therefore media goes only to an address that has
proven to receive from us: the whole DTLS handshake went to it and its end came from it, or it answered a probe of
ours (RFC 8445 lets full agents be checked).
"""

from __future__ import annotations

import asyncio
import collections
import hmac
import ipaddress
import logging
import secrets
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.relay.core import stun

from .segmentation import Address

if TYPE_CHECKING:
    from .udp import BoundSocket, UdpPort

logger = logging.getLogger(__name__)

MAX_PATHS = 8
MAX_QUEUE = 1024
MAX_CHECKS_PER_SECOND = 200
PROBE_INTERVALS_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
Path = tuple["BoundSocket", Address]


class IcePeer:
    """One peer's share of the port. Its DTLS runs on ``receive`` and ``send``; media goes to ``media_path``."""

    def __init__(self, port: UdpPort) -> None:
        self.port = port
        self.local_ufrag = _token(8)
        self.local_pwd = _token(32)
        self.remote_ufrag = ""
        self.remote_pwd = ""
        self.closed = False
        self.path: Path | None = None
        self.media_path: Path | None = None
        self.checks = 0
        self.moves = 0
        self.last_check = time.perf_counter()
        self.checked = asyncio.Event()
        self.nominated = asyncio.Event()
        self.on_dtls: Callable[[bytes], None] | None = None
        self.on_media: Callable[[int], None] | None = None
        self.on_batch_end: Callable[[], None] | None = None
        self.on_ready: Callable[[], None] | None = None
        self.on_closed: Callable[[str], None] | None = None
        self._key = self.local_pwd.encode()
        self._paths: collections.OrderedDict[Path, None] = collections.OrderedDict()
        self._transactions: collections.deque[bytes] = collections.deque(maxlen=64)
        self._checks_in_window = 0
        self._handshake_sent: set[Path] = set()
        self._handshake_heard: Path | None = None
        self._wants_media = False
        self._probe: tuple[bytes, Path] | None = None
        self._probe_timer: asyncio.TimerHandle | None = None
        self._tie_breaker = secrets.randbits(64)
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_QUEUE)

    # What DTLS runs on.

    async def receive(self) -> bytes:
        data = None if self.closed and self._queue.empty() else await self._queue.get()
        if data is None:
            raise ConnectionError("the peer's transport is closed")
        return data

    def send(self, data: bytes) -> None:
        path = self.media_path or self.path
        if path is None or self.closed:
            raise ConnectionError("the peer has no address")
        if self.media_path is None and len(self._handshake_sent) < MAX_PATHS:
            self._handshake_sent.add(path)
        path[0].send(data, path[1])

    def push(self, data: bytes, path: Path) -> None:
        """Queue a DTLS datagram from a validated address. Dropping when full is safe: DTLS and SCTP repeat.

        Before nomination the peer's choice of path is the best hint there is: it sends DTLS only where its own
        checks were answered, whereas the first check may have come over a path on which our answers are lost.
        """
        if self.media_path is None:
            self._handshake_heard = path
            if not self.nominated.is_set():
                self.path = path
        if self.on_dtls is not None:
            self.on_dtls(data)
        if not self._queue.full():
            self._queue.put_nowait(data)

    # What the port calls.

    def accepts(self, request: stun.StunMessage) -> bool:
        """True if the request proves knowledge of our password and names the right pair of user fragments."""
        remote = request.username.partition(b":")[2]
        if self.remote_ufrag and not hmac.compare_digest(remote, self.remote_ufrag.encode()):
            return False
        return request.authentic(self._key)

    def reply(self, request: stun.StunMessage, address: Address) -> bytes:
        if request.controlled:
            # Both of us controlled: the other side must take the controlling role (RFC 8445 section 7.3.1.1).
            return stun.binding_error(request.transaction, stun.ROLE_CONFLICT, "Role Conflict", self._key)
        ip, port = mapped_address(address)
        return stun.binding_response(request.transaction, ip, port, self._key)

    def validated(self, request: stun.StunMessage, path: Path) -> None:
        """Record a valid check. A repeated transaction was answered but has no other effect."""
        if request.transaction in self._transactions or request.controlled:
            return
        self._transactions.append(request.transaction)
        self.last_check = time.perf_counter()
        self.checks += 1
        self._remember(path)
        if self.media_path is not None:
            if request.nominated and path != self.media_path:
                self._send_probe(path)
        elif self.path is None or request.nominated:
            self.path = path
        if self.media_path is None and self._wants_media and self.path is not None:
            self._send_probe(self.path)  # all probes before may have been lost
        self.checked.set()
        if request.nominated:
            self.nominated.set()

    def answered(self, response: stun.StunMessage, path: Path) -> None:
        """A response to our probe: the peer really is there, so media may go there."""
        probe = self._probe
        if probe is None or probe != (response.transaction, path) or response.kind != stun.BINDING_RESPONSE:
            return
        if response.authentic(self.remote_pwd.encode()):
            self._cancel_probe()
            self._use(path)

    def throttled(self) -> bool:
        """True if this peer sent more checks in the current window than any browser does."""
        self._checks_in_window += 1
        return self._checks_in_window > MAX_CHECKS_PER_SECOND

    def next_window(self) -> None:
        self._checks_in_window = 0

    # What the peer's owner calls.

    def want_media(self) -> None:
        """The handshake is done: use its address if it proved itself, else probe it; ``on_ready`` follows in either
        case."""
        self._wants_media = True
        if self.path is None:
            return
        if self._handshake_sent == {self.path} and self._handshake_heard == self.path:
            self._use(self.path)
        else:
            self._send_probe(self.path)

    @property
    def address(self) -> str | None:
        """Where media goes, as text for statistics."""
        path = self.media_path or self.path
        return None if path is None else f"{path[1][0]} {path[1][1]}"

    def close(self, why: str) -> None:
        if self.closed:
            return
        self.closed = True
        self.on_media = self.on_batch_end = self.on_dtls = self.on_ready = None
        self._cancel_probe()
        self.port.forget(self, list(self._paths))
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None)
        self.checked.set()
        self.nominated.set()
        if self.on_closed is not None:
            self.on_closed(why)

    def _remember(self, path: Path) -> None:
        self._paths[path] = None
        self._paths.move_to_end(path)
        path[0].claim(path[1], self)
        while len(self._paths) > MAX_PATHS:
            oldest = next(p for p in self._paths if p not in (self.path, self.media_path))
            del self._paths[oldest]
            oldest[0].release(oldest[1], self)

    def _use(self, path: Path) -> None:
        first = self.media_path is None
        self.path = self.media_path = path
        if first:
            if self.on_ready is not None:
                self.on_ready()
        else:
            self.moves += 1
            logger.info("a peer moved to another address")

    def _send_probe(self, path: Path) -> None:
        """Check an address; repeated a few times, and again when the peer's next check comes from it."""
        if self._probe is not None and self._probe[1] == path and self._probe_timer is not None:
            return
        self._cancel_probe()
        transaction = secrets.token_bytes(12)
        self._probe = (transaction, path)
        self._repeat_probe(transaction, path, 0)

    def _repeat_probe(self, transaction: bytes, path: Path, attempt: int) -> None:
        self._probe_timer = None
        request = stun.binding_request(
            transaction,
            f"{self.remote_ufrag}:{self.local_ufrag}",
            self.remote_pwd.encode(),
            tie_breaker=self._tie_breaker,
            controlled=True,
        )
        path[0].send(request, path[1])
        if attempt < len(PROBE_INTERVALS_SECONDS):
            delay = PROBE_INTERVALS_SECONDS[attempt]
            loop = asyncio.get_running_loop()
            self._probe_timer = loop.call_later(delay, self._repeat_probe, transaction, path, attempt + 1)

    def _cancel_probe(self) -> None:
        self._probe = None
        if self._probe_timer is not None:
            self._probe_timer.cancel()
            self._probe_timer = None


def _token(length: int) -> str:
    """ICE characters (RFC 8839 section 5.4) at 6 bits each."""
    return secrets.token_urlsafe(length)[:length].replace("-", "+").replace("_", "/")


def mapped_address(address: Address) -> tuple[bytes, int]:
    """The source address as STUN reports it: without scope, and IPv4 again if a dual-stack socket mapped it."""
    host = str(address[0]).partition("%")[0]
    if ":" not in host:
        return socket.inet_aton(host), int(address[1])
    parsed = ipaddress.IPv6Address(host)
    return (parsed.ipv4_mapped or parsed).packed, int(address[1])
