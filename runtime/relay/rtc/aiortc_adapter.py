"""Every name of aiortc that is not public, in one place.

DTLS and SCTP come from aiortc, pinned to an exact version. What is used behind its public interface:

- ``RTCDtlsTransport`` asks its transport for ``_recv``, ``_send`` and ``role``; ``_set_role``, ``_srtp_profiles``,
  ``_rx_srtp``, ``_tx_srtp``, ``_ssl``, ``_write_ssl`` and ``encrypted`` are used or overridden here;
- ``RTCSctpTransport._handle_data``, ``_receive_data_chunk``, ``_receive_forward_tsn_chunk``, ``_receive_sack_chunk``,
  ``_data_channel_receive``, ``_send_chunk`` and the counters they keep are guarded here, because they trust the peer,
  with the ``crc32c`` that its module imports;
- ``RTCCertificate._create_ssl_context``.

``tests/unit/relay_media/test_media_adapter.py`` fails when an update changes one of these names.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aiortc import (
    RTCCertificate,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCSctpTransport,
)
from aiortc import rtcdtlstransport as _dtls
from aiortc.rtcsctptransport import (  # type: ignore[attr-defined]
    WEBRTC_DCEP,
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    RTCSctpCapabilities,
    SackChunk,
    crc32c,
)
from OpenSSL import SSL

from runtime.relay.core.dtls_records import split_records
from runtime.relay.core.negotiation import MAX_MESSAGE_BYTES, SCTP_PORT
from runtime.relay.core.sctp import holds_together

from .srtp import SrtpPair

DTLS_MTU = 1200
FLIGHT_INTERVAL_SECONDS = 0.04
MAX_HEARD = 32
# RFC 9260 section 16. aiortc waits RFC 4960's 3 s, which is what a lost packet of the handshake or of the first message
# would cost a joiner before anything is known of the round trip.
SCTP_FIRST_TIMEOUT_SECONDS = 1.0
MAX_CHANNELS = 64  # that a peer opens itself
MAX_INBOUND_STREAMS = 1024
MAX_REASSEMBLY_CHUNKS = 8192
# aiortc goes through everything that waits for its turn with every chunk: a packet of seventy small chunks with gaps
# between them would take a tenth of a second. A unit is one waiting chunk looked at, about 0.15 us. A page that sends
# 4 MiB/s in the biggest messages, over a link that loses every tenth packet, needs half a million in a second.
MAX_WORK_PER_SECOND = 1_500_000
_HANDSHAKE = 22
_DATA_CHANNEL_OPEN = 3


class HandshakeError(Exception):
    """DTLS did not come up; the text says why."""


class DatagramPath(Protocol):
    """What DTLS runs on."""

    async def receive(self) -> bytes:
        """The next DTLS datagram. Raises ConnectionError when the path is closed."""
        ...

    def send(self, data: bytes) -> None:
        """Send or drop. Raises ConnectionError when the path is closed or leads nowhere yet."""
        ...


class Certificate(RTCCertificate):
    """Self-signed, P-256, without TLS renegotiation (RFC 8827 section 6.5 has no use for it)."""

    def _create_ssl_context(self, srtp_profiles: Any) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_options(SSL.OP_NO_RENEGOTIATION)
        return context

    @property
    def sha256(self) -> str:
        return next(f.value for f in self.getFingerprints() if f.algorithm == "sha-256")


class _Transport:
    """The stand-in for ``RTCIceTransport``."""

    role = "controlled"

    def __init__(self, path: DatagramPath) -> None:
        self._path = path

    async def _recv(self) -> bytes:
        return await self._path.receive()

    async def _send(self, data: bytes) -> None:
        self._path.send(data)


class _Dtls(RTCDtlsTransport):
    """aiortc's DTLS with datagram boundaries kept and quick recovery of a lost flight.

    aiortc reads at most 1500 bytes of its memory BIO per step and sends them as one datagram: a longer flight
    (post-quantum key shares make it so) would be cut inside a record, and its rest would wait for the next step.

    OpenSSL repeats a flight after 1, 2, 4 s whatever it hears meanwhile. A browser that misses it repeats its own
    after 50 ms, so a repeated handshake message is taken as the request to send ours again.
    """

    def __init__(self, path: DatagramPath, certificate: Certificate) -> None:
        super().__init__(_Transport(path), [certificate])  # type: ignore[arg-type]
        # AES-128 first: AES-256 costs more per packet and buys nothing over a 128-bit key exchange.
        self._srtp_profiles = [p for p in _dtls.SRTP_PROFILES if p is not _dtls.SRTP_AEAD_AES_256_GCM]
        self._path = path
        self._flight: list[bytes] = []
        self._flight_at = 0.0
        self._heard: set[bytes] = set()

    def watch(self, data: bytes) -> None:
        """See each datagram before OpenSSL does. The record header is left out: its number differs in a repetition."""
        if self.encrypted or data[0] != _HANDSHAKE:
            return
        body = data[13:]
        now = time.perf_counter()
        if body not in self._heard:
            if len(self._heard) < MAX_HEARD:
                self._heard.add(body)
        elif now - self._flight_at > FLIGHT_INTERVAL_SECONDS:
            self._flight_at = now
            for datagram in self._flight:
                self._path.send(datagram)

    async def _write_ssl(self) -> None:
        pending = bytearray()
        while self._ssl is not None:
            try:
                pending += self._ssl.bio_read(65536)
            except SSL.Error:
                break
        datagrams = split_records(bytes(pending), DTLS_MTU)
        if datagrams and not self.encrypted:
            self._flight, self._flight_at = datagrams, time.perf_counter()
        for datagram in datagrams:
            self._path.send(datagram)


class _Sctp(RTCSctpTransport):
    """aiortc's SCTP without its trust in the peer: nothing a peer sends may raise, loop or grow without bound."""

    def __init__(self, dtls: _Dtls, counters: Counter[str], on_abuse: Callable[[str], None]) -> None:
        super().__init__(dtls, SCTP_PORT)
        self._counters = counters
        self._on_abuse = on_abuse
        self._rto = SCTP_FIRST_TIMEOUT_SECONDS
        self._is_given_up = False
        self._work, self._work_since = 0, time.perf_counter()

    async def _handle_data(self, data: bytes) -> None:
        if self._is_given_up:
            return
        # aiortc drops what fails its own check of these without a word.
        if not holds_together(data) or data[8:12] != _checksum(data):
            self._counters["sctp_malformed"] += 1
            return
        try:
            await super()._handle_data(data)
            waiting = sum(len(stream.reassembly) for stream in self._inbound_streams.values())
            if self._advertised_rwnd < 0 or waiting + len(self._sack_misordered) > MAX_REASSEMBLY_CHUNKS:
                self._give_up("the peer sent more data than it was allowed to")
        except Exception:
            # aiortc checks lengths and states by struct.error, assert, KeyError and more; all of them mean: not usable.
            self._counters["sctp_malformed"] += 1

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        stream = self._inbound_streams.get(chunk.stream_id)
        if not self._may_work(len(self._sack_misordered) + (len(stream.reassembly) if stream is not None else 0)):
            return
        strange = stream is None and len(self._inbound_streams) >= MAX_INBOUND_STREAMS
        if not chunk.user_data or strange:
            self._counters["sctp_malformed"] += 1
            return
        await super()._receive_data_chunk(chunk)

    async def _receive_forward_tsn_chunk(self, chunk: ForwardTsnChunk) -> None:
        if not self._may_work(len(self._sack_misordered) + len(self._inbound_streams)):
            return
        named = {stream_id for stream_id, _ in chunk.streams}
        if len(named | self._inbound_streams.keys()) > MAX_INBOUND_STREAMS:
            self._counters["sctp_malformed"] += 1
            return
        await super()._receive_forward_tsn_chunk(chunk)

    async def _receive_sack_chunk(self, chunk: SackChunk) -> None:
        if not self._may_work(len(self._sent_queue)):
            return
        if sum(abs(end - start) + 1 for start, end in chunk.gaps) > len(self._sent_queue) + 64:
            self._counters["sctp_malformed"] += 1
            return
        await super()._receive_sack_chunk(chunk)

    def _may_work(self, units: int) -> bool:
        """False once the peer has asked for more work within a second than putting its data in order may cost."""
        self._work += units + 1
        if self._work > MAX_WORK_PER_SECOND and not self._is_given_up:
            now = time.perf_counter()
            if now - self._work_since < 1.0:
                self._give_up("the peer's data costs too much to put in order")
            self._work, self._work_since = 0, now
        return not self._is_given_up

    def _give_up(self, why: str) -> None:
        self._is_given_up = True
        self._on_abuse(why)

    async def _data_channel_receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        opens = pp_id == WEBRTC_DCEP and data[:1] == bytes((_DATA_CHANNEL_OPEN,))
        if len(data) > MAX_MESSAGE_BYTES or (opens and len(self._data_channels) >= MAX_CHANNELS):
            self._counters["sctp_malformed"] += 1
            return
        await super()._data_channel_receive(stream_id, pp_id, data)

    async def _send_chunk(self, chunk: Chunk) -> None:
        try:
            await super()._send_chunk(chunk)
        except (ConnectionError, SSL.Error):
            # A timer of the association may fire while its transport goes; what it would have sent is moot.
            return


def _checksum(packet: bytes) -> bytes:
    """CRC-32c with the checksum's own place taken as zeros (RFC 9260 section 6.8)."""
    found: int = crc32c(packet[:8] + bytes(4) + packet[12:])
    return found.to_bytes(4, "little")


class Channel:
    """One data channel. Callbacks are plain functions and must not raise."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        self.label: str = channel.label
        self.on_open: Callable[[], None] = lambda: None
        self.on_message: Callable[[bytes | str], None] = lambda message: None
        self.on_close: Callable[[], None] = lambda: None
        channel.on("open", self._opened)
        channel.on("message", self._received)
        channel.on("close", self._closed)

    @property
    def is_open(self) -> bool:
        return bool(self._channel.readyState == "open")

    @property
    def queued_bytes(self) -> int:
        """Messages that were not handed to SCTP yet; SCTP itself holds at most one message more."""
        return int(self._channel.bufferedAmount)

    def send(self, message: bytes) -> None:
        """Queue a message. The caller checks ``is_open`` and bounds the queue. Raises ValueError when it is too
        long."""
        self._channel.send(message)

    def close(self) -> None:
        self._channel.close()

    def _opened(self) -> None:
        self.on_open()

    def _received(self, message: bytes | str) -> None:
        self.on_message(message)

    def _closed(self) -> None:
        self.on_close()


class SecureTransport:
    """DTLS, SRTP keys and SCTP of one peer, on a datagram path. ``counters``: ``sctp_malformed``, packets and chunks
    that were dropped."""

    def __init__(self, path: DatagramPath, certificate: Certificate, counters: Counter[str]) -> None:
        self.dtls = _Dtls(path, certificate)
        self.sctp = _Sctp(self.dtls, counters, self._abused)
        self.srtp: SrtpPair | None = None
        self.on_channel: Callable[[Channel], None] = lambda channel: None
        self.on_lost: Callable[[str], None] = lambda why: None
        self._stopped = False
        self.sctp.on("datachannel", lambda channel: self.on_channel(Channel(channel)))
        self.dtls.on("statechange", self._changed)

    @property
    def associated(self) -> bool:
        """SCTP is up."""
        return bool(self.sctp.state == "connected")

    def watch(self, data: bytes) -> None:
        self.dtls.watch(data)

    async def connect(
        self, fingerprints: Sequence[tuple[str, str]], client: bool, sctp_port: int, max_message_bytes: int
    ) -> None:
        """Handshake, then start SCTP if the peer has a port for it. Raises :class:`HandshakeError`.

        SCTP is started without giving control back in between: the peer's INIT may already be waiting.
        """
        self.dtls._set_role("client" if client else "server")
        known = [RTCDtlsFingerprint(algorithm=a, value=v) for a, v in fingerprints]
        try:
            await self.dtls.start(RTCDtlsParameters(known))
        except SSL.Error as error:
            raise HandshakeError("DTLS failed") from error
        if self.dtls.state != "connected":
            raise HandshakeError("DTLS failed: wrong fingerprint, no common cipher, or the peer went away")
        self.srtp = SrtpPair(self.dtls._rx_srtp, self.dtls._tx_srtp)
        if sctp_port:
            await self.sctp.start(RTCSctpCapabilities(maxMessageSize=max_message_bytes), sctp_port)

    def open_channel(self, label: str, stream_id: int | None = None) -> Channel:
        """Announce an ordered, reliable channel in-band, or with ``stream_id`` one that both sides agreed upon."""
        parameters = RTCDataChannelParameters(label=label, negotiated=stream_id is not None, id=stream_id)
        return Channel(RTCDataChannel(self.sctp, parameters))

    async def stop(self) -> None:
        """SCTP abort and DTLS close_notify, while the path still leads somewhere."""
        self._stopped = True
        await self.sctp.stop()
        await self.dtls.stop()

    def _changed(self) -> None:
        if self.dtls.state in ("closed", "failed") and self.srtp is not None and not self._stopped:
            self.on_lost(f"DTLS {self.dtls.state}")

    def _abused(self, why: str) -> None:
        if not self._stopped:
            self.on_lost(why)


def new_certificate() -> Certificate:
    return Certificate.generateCertificate()
