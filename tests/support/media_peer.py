"""A WebRTC peer with its hands on every byte: a full ICE agent on one UDP socket, aiortc's DTLS and SCTP, raw RTP
and RTCP.

It stands for a streamer or a player in tests that care about packets rather than pictures, and can misbehave on
request.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from collections.abc import Callable
from typing import Any

from aiortc import (
    RTCCertificate,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCSctpTransport,
)
from aiortc import rtcdtlstransport as dtls_module
from aiortc.rtcsctptransport import RTCSctpCapabilities

from runtime.relay.core import rtcp, sdp, stun

ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
VIDEO_PT, RTX_PT, AUDIO_PT = 96, 97, 111
VIDEO_SSRC, AUDIO_SSRC = 1111, 2222
FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb")


class _Dtls(RTCDtlsTransport):
    """Hands decrypted packets over as bytes instead of parsing them."""

    def __init__(self, transport: Any, certificate: RTCCertificate, peer: RawPeer) -> None:
        super().__init__(transport, [certificate])
        self._peer = peer

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self._peer.rtp.append(data)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self._peer.rtcp.append(data)


class _Ice(asyncio.DatagramProtocol):
    """The controlling full agent: checks, nominates, answers the other side's checks."""

    role = "controlling"

    def __init__(self) -> None:
        self.ufrag = secrets.token_hex(4)
        self.pwd = secrets.token_hex(16)
        self.remote_ufrag = self.remote_pwd = ""
        self.remote: tuple[str, int] | None = None
        self.transport: asyncio.DatagramTransport | None = None
        self.connected = asyncio.Event()
        self.answers_probes = True
        self.probes = 0
        self.errors: list[bytes] = []
        self.mapped: tuple[bytes, int] | None = None
        self.raw: list[bytes] = []
        self.drop_incoming: Callable[[bytes], bool] = lambda data: False
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self.check_interval = 0.05

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.drop_incoming(data):
            return
        self.raw.append(data)
        if data[0] < 4:
            self._stun(data)
        else:
            self._queue.put_nowait(data)

    def _stun(self, data: bytes) -> None:
        message = stun.parse(data)
        if message.kind == stun.BINDING_RESPONSE:
            assert message.authentic(self.remote_pwd.encode())
            self.mapped = stun.mapped_address(message)
            self.connected.set()
        elif message.kind == stun.BINDING_ERROR:
            self.errors.append(data)
        elif message.authentic(self.pwd.encode()):
            self.probes += 1
            if self.answers_probes:
                reply = stun.binding_response(message.transaction, b"\x7f\0\0\1", 1, self.pwd.encode())
                self.send(reply)

    def check(self, *, nominate: bool = True, controlled: bool = False) -> bytes:
        request = stun.binding_request(
            secrets.token_bytes(12),
            f"{self.remote_ufrag}:{self.ufrag}",
            self.remote_pwd.encode(),
            tie_breaker=1,
            controlled=controlled,
            nominate=nominate,
        )
        self.send(request)
        return request

    def keep_checking(self) -> None:
        self.check()
        delay = self.check_interval if not self.connected.is_set() else 1.0
        self._timer = asyncio.get_running_loop().call_later(delay, self.keep_checking)

    def stop_checking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def send(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.sendto(data, self.remote)

    def close(self) -> None:
        self.stop_checking()
        self._queue.put_nowait(None)
        if self.transport is not None:
            self.transport.close()

    async def _recv(self) -> bytes:
        data = await self._queue.get()
        if data is None:
            raise ConnectionError
        return data

    async def _send(self, data: bytes) -> None:
        self.send(data)


class RawPeer:
    """Create, ``open``, exchange descriptions, ``connect``; ``close`` at the end."""

    def __init__(self, *, aes_gcm: bool = True) -> None:
        self.ice = _Ice()
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.messages: list[bytes | str] = []
        self.channel: RTCDataChannel | None = None
        self.certificate = RTCCertificate.generateCertificate()
        self.dtls = _Dtls(self.ice, self.certificate, self)
        if not aes_gcm:
            self.dtls._srtp_profiles = [dtls_module.SRTP_AES128_CM_SHA1_80]
        self.sctp = RTCSctpTransport(self.dtls, 5000)
        self.sctp.on("datachannel", self.use_channel)
        self.remote: sdp.Description | None = None
        self._sequences: dict[int, int] = {}

    async def open(self, host: str = "127.0.0.1") -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self.ice, local_addr=(host, 0))

    # Descriptions.

    def _transport(self, mid: str, setup: str) -> str:
        digest = next(f for f in self.certificate.getFingerprints() if f.algorithm == "sha-256").value
        return (
            f"c=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=ice-ufrag:{self.ice.ufrag}\r\na=ice-pwd:{self.ice.pwd}\r\n"
            f"a=fingerprint:sha-256 {digest}\r\na=setup:{setup}\r\na=rtcp-mux\r\n"
        )

    def offer(
        self,
        codec: str = "VP8",
        *,
        audio: bool = True,
        fmtp: str = "",
        feedback: tuple[str, ...] = FEEDBACK,
        extensions: tuple[str, ...] = ("1 " + ABS_SEND_TIME,),
        direction: str = "sendonly",
        extra_video: str = "",
        pt: int = VIDEO_PT,
        audio_direction: str = "",
    ) -> str:
        """A streamer's offer, or with ``direction`` recvonly a player's."""
        video = f"m=video 9 UDP/TLS/RTP/SAVPF {pt} {RTX_PT}\r\n" + self._transport("v", "actpass")
        video += f"a={direction}\r\na=rtpmap:{pt} {codec}/90000\r\n"
        video += f"a=fmtp:{pt} {fmtp}\r\n" if fmtp else ""
        video += "".join(f"a=rtcp-fb:{pt} {name}\r\n" for name in feedback)
        video += f"a=rtpmap:{RTX_PT} rtx/90000\r\na=fmtp:{RTX_PT} apt={pt}\r\n"
        video += "".join(f"a=extmap:{extension}\r\n" for extension in extensions)
        video += (f"a=ssrc:{VIDEO_SSRC} cname:x\r\n" if direction == "sendonly" else "") + extra_video
        sound = ""
        if audio:
            sound = f"m=audio 9 UDP/TLS/RTP/SAVPF {AUDIO_PT}\r\n" + self._transport("a", "actpass")
            sound += f"a={audio_direction or direction}\r\n"
            sound += f"a=rtpmap:{AUDIO_PT} opus/48000/2\r\na=fmtp:{AUDIO_PT} stereo=1\r\n"
        data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" + self._transport("d", "actpass")
        data += "a=sctp-port:5000\r\na=max-message-size:262144\r\n"
        bundle = "v a d" if audio else "v d"
        head = f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {bundle}\r\n"
        return head + video + sound + data

    def answer(
        self, offer: str, *, accept_rtx: bool = True, microphone: bool = False, feedback: tuple[str, ...] = ()
    ) -> str:
        """Accept everything, as a browser would: our own credentials in the offer's shape."""
        self.remote = sdp.parse(offer)
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
        for section in self.remote.sections:
            formats = [f for f in section.formats if accept_rtx or not f.isdigit() or not self._is_rtx(section, int(f))]
            lines.append(f"m={section.kind} 9 {section.protocol} {' '.join(formats)}")
            lines += self._transport(section.mid, "active").split("\r\n")[:-1]
            direction = "sendrecv" if microphone and section.kind == "audio" else "recvonly"
            lines.append(f"a={direction}" if section.kind != "application" else "a=sctp-port:5000")
            for codec in section.codecs.values():
                if str(codec.pt) in formats:
                    lines += [f"a=rtpmap:{codec.pt} {codec.rtpmap}"]
                    lines += [f"a=fmtp:{codec.pt} {codec.fmtp}"] if codec.fmtp else []
                    lines += [f"a=rtcp-fb:{codec.pt} {name}" for name in feedback if section.kind == "video"]
            lines += [f"a=extmap:{number} {uri}" for uri, number in section.extensions.items()]
            if section.kind == "application":
                lines.append("a=max-message-size:262144")
        return "\r\n".join(lines) + "\r\n"

    @staticmethod
    def _is_rtx(section: sdp.Section, pt: int) -> bool:
        return section.codecs[pt].upper_name == "RTX"

    # Connecting.

    def know(self, remote_sdp: str) -> None:
        """Take the relay's description without connecting yet."""
        self.remote = sdp.parse(remote_sdp)
        self.ice.remote_ufrag, self.ice.remote_pwd = self.remote.ufrag, self.remote.pwd
        candidates = [line.split() for line in remote_sdp.split("\r\n") if line.startswith("a=candidate")]
        family = socket.AF_INET6 if self.local_host and ":" in self.local_host else socket.AF_INET
        match = next(c for c in candidates if (":" in c[4]) == (family == socket.AF_INET6))
        self.ice.remote = (match[4], int(match[5]))

    @property
    def local_host(self) -> str:
        assert self.ice.transport is not None
        return str(self.ice.transport.get_extra_info("sockname")[0])

    async def connect(self, remote_sdp: str | None = None) -> None:
        """ICE, DTLS, SCTP; we are always the DTLS client, as browsers are."""
        if remote_sdp is not None:
            self.know(remote_sdp)
        assert self.remote is not None
        self.ice.keep_checking()
        await asyncio.wait_for(self.ice.connected.wait(), 5)
        self.dtls._set_role("client")
        prints = [RTCDtlsFingerprint(algorithm=a, value=v) for a, v in self.remote.fingerprints]
        await asyncio.wait_for(self.dtls.start(RTCDtlsParameters(prints)), 10)
        assert self.dtls.state == "connected", self.dtls.state
        if self.remote.sctp_port:
            await self.sctp.start(RTCSctpCapabilities(maxMessageSize=262_144), self.remote.sctp_port)

    async def close(self) -> None:
        await self.sctp.stop()
        await self.dtls.stop()
        self.ice.close()
        await asyncio.sleep(0)

    def vanish(self) -> None:
        """Go without a goodbye."""
        self.ice.close()

    # Media.

    def packet(
        self,
        *,
        ssrc: int = VIDEO_SSRC,
        pt: int = VIDEO_PT,
        sequence: int | None = None,
        timestamp: int = 0,
        marker: bool = True,
        payload: bytes = b"\x90\x80\x01" + b"x" * 100,
        extension: bytes = b"",
    ) -> bytes:
        """One RTP packet; numbers go on by themselves. The default payload is a VP8 delta frame."""
        if sequence is None:
            sequence = self._sequences.get(ssrc, 99) + 1 & 0xFFFF
        self._sequences[ssrc] = sequence
        first = 0x90 if extension else 0x80
        head = struct.pack("!BBHII", first, marker << 7 | pt, sequence, timestamp & 0xFFFFFFFF, ssrc)
        return head + extension + payload

    async def send_rtp(self, packet: bytes) -> None:
        await self.dtls._send_rtp(packet)

    async def send_rtcp(self, packet: bytes) -> None:
        self.ice.send(self.dtls._tx_srtp.protect_rtcp(packet))

    async def estimate(self, bitrate_bps: int) -> None:
        """As a player: say what the link takes."""
        await self.send_rtcp(rtcp.remb(5, bitrate_bps, [self.kinds()["video"].ssrcs[0]]))

    def feedback(self) -> list[rtcp.RtcpPacket]:
        """Everything RTCP that arrived, parsed."""
        return [packet for data in self.rtcp for packet in rtcp.parse(data)]

    def received(self, ssrc: int) -> list[bytes]:
        return [packet for packet in self.rtp if struct.unpack_from("!I", packet, 8)[0] == ssrc]

    def kinds(self) -> dict[str, sdp.Section]:
        assert self.remote is not None
        return {section.kind: section for section in self.remote.sections}

    # Data.

    def open_channel(self, label: str = "datachannel") -> None:
        self.use_channel(RTCDataChannel(self.sctp, RTCDataChannelParameters(label=label)))

    def use_channel(self, channel: RTCDataChannel) -> None:
        self.channel = channel
        channel.on("message", self.messages.append)

    def send_data(self, message: bytes) -> None:
        assert self.channel is not None
        self.channel.send(message)


def sequence_of(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


def timestamp_of(packet: bytes) -> int:
    return int.from_bytes(packet[4:8], "big")


VP8_KEYFRAME = b"\x90\x80\x01\x00" + b"k" * 100
VP8_DELTA = b"\x90\x80\x01\x01" + b"d" * 100


def ssrc_of(player: RawPeer, kind: str) -> int:
    """Under which the relay sends this kind of media to the player."""
    return player.kinds()[kind].ssrcs[0]


async def send_frames(streamer: RawPeer, count: int, *, start: int = 0, payload: bytes = VP8_DELTA) -> None:
    """Frames of one packet, 30 a second by their timestamps."""
    for i in range(count):
        await streamer.send_rtp(streamer.packet(timestamp=3000 * (start + i), payload=payload))
