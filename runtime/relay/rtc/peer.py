"""One remote peer: ICE-lite, DTLS and SCTP together, from the exchange of descriptions to the goodbye."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from runtime.relay.core import rtcp
from runtime.relay.core.negotiation import Local
from runtime.relay.core.rtp import is_rtcp
from runtime.relay.core.sdp import Description

from .aiortc_adapter import Certificate, Channel, HandshakeError, SecureTransport
from .ice import IcePeer
from .srtp import SrtpPair
from .udp import UdpPort

logger = logging.getLogger(__name__)

# A browser that loses a lot sends about a hundred; every packet is decrypted and taken apart.
MAX_RTCP_PER_SECOND = 1000


class Peer:
    """A connection to the streamer or to a player.

    ``on_connected`` runs at most once, when keys are agreed and the address has proven to receive; ``on_closed`` at
    most once, with the reason; ``on_channel`` for each channel that the peer opens. None of them may raise.
    """

    def __init__(self, port: UdpPort, certificate: Certificate, name: str, handshake_seconds: float) -> None:
        self.name = name
        self.port = port
        self.ice: IcePeer = port.add_peer()
        self.secure = SecureTransport(self.ice, certificate, port.counters)
        self.connected = False
        self.closed = False
        self.on_connected: Callable[[], None] = lambda: None
        self.on_closed: Callable[[str], None] = lambda why: None
        self.created = time.perf_counter()
        self._rtcp_in_window = 0
        self._window_at = self.created
        self.on_rtp: Callable[[int], None] | None = None
        self.on_rtcp: list[Callable[[rtcp.RtcpPacket, float], None]] = []
        self.closing: asyncio.Task[None] | None = None
        self._certificate = certificate
        self._handshake_seconds = handshake_seconds
        self._task: asyncio.Task[None] | None = None
        self.ice.on_dtls = self.secure.watch
        self.ice.on_ready = self._ready
        self.ice.on_closed = self._ice_closed
        self.secure.on_lost = self.close

    def local(self, setup: str, candidates: tuple[str, ...]) -> Local:
        """What the SDP writer needs to know of this side."""
        return Local(self.ice.local_ufrag, self.ice.local_pwd, self._certificate.sha256, setup, candidates)

    def on_channel(self, callback: Callable[[Channel], None]) -> None:
        self.secure.on_channel = callback

    @property
    def started(self) -> bool:
        return self._task is not None

    def start(self, remote: Description, client: bool) -> None:
        """Begin once both descriptions are known. ``client``: we are the DTLS client (a=setup:active)."""
        self.ice.last_check = time.perf_counter()
        self.ice.remote_ufrag, self.ice.remote_pwd = remote.ufrag, remote.pwd
        self._task = asyncio.get_running_loop().create_task(self._run(remote, client))

    @property
    def srtp(self) -> SrtpPair:
        """Keys; only after ``on_connected``."""
        if self.secure.srtp is None:
            raise RuntimeError(f"{self.name} has no keys yet")
        return self.secure.srtp

    def take_media(self) -> None:
        """Keys are there: hand RTP in the port's buffer to ``on_rtp`` and decrypted RTCP to every one of
        ``on_rtcp``."""
        self._keys = self.srtp
        self.ice.on_media = self._media

    def send_rtcp(self, packet: bytes) -> None:
        path, srtp = self.ice.media_path, self.secure.srtp
        if path is not None and srtp is not None and not self.closed:
            path[0].send(srtp.protect_rtcp(packet), path[1])

    def close(self, why: str) -> None:
        """Say goodbye while the address is still known, then let go. The farewell itself runs in ``closing``."""
        if self.closed:
            return
        self.closed = True
        self.connected = False
        self.on_rtp = None
        self.on_rtcp = []
        logger.info("%s closed: %s", self.name, why)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self.closing = asyncio.get_running_loop().create_task(self._farewell(why))
        self.on_closed(why)

    def _media(self, size: int) -> None:
        """One SRTP or SRTCP packet in the port's buffer; runs for every packet that arrives."""
        if not is_rtcp(self.port.rx[1]):
            if self.on_rtp is not None:
                self.on_rtp(size)
            else:
                self.port.counters["rtp_unexpected"] += 1
            return
        counters = self.port.counters
        self._rtcp_in_window += 1
        if self._rtcp_in_window > MAX_RTCP_PER_SECOND:
            now = time.perf_counter()
            if now - self._window_at < 1.0:
                counters["rtcp_limited"] += 1
                return
            self._window_at, self._rtcp_in_window = now, 1
        data = bytes(self.port.view[:size])
        plain = self._keys.unprotect_rtcp(data) if size >= 12 and self._keys.known(data[4:8]) else None
        if plain is None:
            counters["rtcp_unprotect_failed"] += 1
            return
        try:
            packets = rtcp.parse(plain)
        except rtcp.RtcpError:
            counters["rtcp_malformed"] += 1
            return
        now = time.perf_counter()
        for packet in packets:
            for handle in self.on_rtcp:
                handle(packet, now)

    async def _farewell(self, why: str) -> None:
        try:
            await self.secure.stop()
        finally:
            self.ice.close(why)

    async def _run(self, remote: Description, client: bool) -> None:
        """A DTLS server may begin at the first check; a client must not, or its first flight may take a path that is
        not used in the end."""
        await (self.ice.nominated if client else self.ice.checked).wait()
        try:
            async with asyncio.timeout(self._handshake_seconds):
                await self.secure.connect(remote.fingerprints, client, remote.sctp_port, remote.max_message_bytes)
        except TimeoutError:
            self.close("DTLS handshake timed out")
        except (HandshakeError, ConnectionError) as error:
            self.close(str(error) or "the connection went away")
        except Exception as error:
            # OpenSSL and aiortc raise many types for what a peer may send; the peer alone is affected.
            self.close(f"handshake failed: {type(error).__name__}")
        else:
            self.ice.want_media()

    def _ice_closed(self, why: str) -> None:
        self.close(why if self.started else "the offer was not answered")

    def _ready(self) -> None:
        if self.closed:
            return
        self.connected = True
        logger.info("%s connected after %.0f ms", self.name, (time.perf_counter() - self.created) * 1000)
        self.on_connected()
