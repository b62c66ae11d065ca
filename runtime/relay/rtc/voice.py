"""Voice between participants: each has a connection of its own on the session's port; Opus is passed on undecoded."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, Protocol

from runtime.relay.core import rtcp, sdp
from runtime.relay.core.delay_estimate import DelayEstimate
from runtime.relay.core.forwarding import Reception
from runtime.relay.core.negotiation import Outgoing, offer_voice
from runtime.relay.core.rtp import AUDIO_LEVEL, HEADER, MIN_PACKET_BYTES, extension_offset, is_rtcp, payload
from runtime.relay.core.voice import CLOCK_RATE, Floor, Slot

from . import srtp
from .aiortc_adapter import Certificate
from .batch import BatchSender
from .ice import Path
from .interface import BadDescriptionError, MediaSettings, UnknownPlayerError
from .pacing import Pacer
from .peer import Peer
from .udp import UdpPort

logger = logging.getLogger(__name__)

SLOTS = 8
LEVEL_ID = 1
OPUS = sdp.Codec(111, "opus", CLOCK_RATE, 2, "minptime=10;useinbandfec=1")
_TICK_SECONDS = 0.2
_REPORT_SECONDS = 2.0
# A page sends 50 packets a second; frames of 10 ms make it 100. More is not speech.
_MAX_PACKETS_PER_TICK = 60
_CNAME = b"relay"


class VoiceEvents(Protocol):
    """Called on the event loop, never from inside a call into :class:`VoiceHub`."""

    def on_voice_speaking(self, participant_ids: tuple[str, ...]) -> None:
        """These are heard now; told when it changes, and every second while somebody is."""

    def on_voice_closed(self, participant_id: str, why: str) -> None:
        """The connection is gone by itself. Not called after ``remove`` or ``close``."""


class _Leg:
    """One participant's connection: a microphone in, the slots out. Also the ``Receiver`` that sending asks for."""

    def __init__(self, participant_id: str, peer: Peer, candidates: tuple[str, ...], ssrcs: list[int]) -> None:
        self.participant_id, self.peer = participant_id, peer
        self.muted = False
        self.reception = Reception(CLOCK_RATE)
        self.own_ssrc = secrets.randbits(31) or 1
        self.ssrc = 0
        self.sequence_offset = self.timestamp_offset = 0
        self.srtp_handle: Any = None
        self.packets = self.octets = self.frames = self.sends_dropped = 0
        self.pacer: Pacer | None = None
        self.delay_estimate: DelayEstimate | None = None
        self.source = 0
        self.level_id = 0
        self.payload_type = OPUS.pt
        self.packets_this_tick = 0
        slots = [Outgoing("audio", f"slot{i}", OPUS, {}, ssrc) for i, ssrc in enumerate(ssrcs)]
        self.offer = offer_voice(slots, OPUS, {AUDIO_LEVEL: LEVEL_ID}, peer.local("actpass", candidates))

    @property
    def path(self) -> Path:
        path = self.peer.ice.media_path
        if path is None:
            raise RuntimeError("a voice peer was sent to before it was connected")
        return path

    @property
    def can_receive(self) -> bool:
        return self.peer.connected and self.srtp_handle is not None and self.peer.ice.media_path is not None


class VoiceHub:
    """The call. Made by ``MediaHub.open_voice``; all methods belong to its event loop."""

    def __init__(
        self,
        port: UdpPort,
        certificate: Certificate,
        sender: BatchSender,
        settings: MediaSettings,
        events: VoiceEvents,
    ) -> None:
        self._port, self._certificate, self._sender = port, certificate, sender
        self._settings, self._events = settings, events
        self._legs: dict[str, _Leg] = {}
        self._floor = Floor(SLOTS)
        # The same numbers towards everybody: each connection has its own keys, so they cannot clash.
        self._ssrcs = [(secrets.randbits(28) << 3 | i) + 1 for i in range(SLOTS)]
        self._pointer = srtp.pointer(port.rx)
        self._length = srtp.int_array(1)
        self._closing: set[asyncio.Task[None]] = set()
        self._told: tuple[str, ...] = ()
        self._told_at = self._reported_at = time.perf_counter()
        self._timer: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)

    def offer(self, participant_id: str) -> str:
        """Begin a connection, anew if there was one. The returned offer never changes while the connection lasts."""
        self.remove(participant_id)
        peer = Peer(self._port, self._certificate, f"voice of {participant_id}", self._settings.handshake_seconds)
        candidates = self._port.candidates(self._settings.announced_addresses, self._settings.announced_port)
        leg = _Leg(participant_id, peer, candidates, self._ssrcs)
        peer.on_connected = lambda: self._connected(leg)
        peer.on_closed = lambda why: self._closed(leg, why)
        self._legs[participant_id] = leg
        return leg.offer

    def answer(self, participant_id: str, text: str) -> None:
        """The page's answer. Raises UnknownPlayerError without an offer, BadDescriptionError."""
        leg = self._legs.get(participant_id)
        if leg is None or leg.peer.started:
            raise UnknownPlayerError("no voice offer waits for this answer")
        try:
            answer = sdp.parse(text)
        except sdp.SdpError as error:
            raise BadDescriptionError(str(error)) from error
        section = answer.by_mid("mic")
        if section is None or section.kind != "audio" or not section.active:
            raise BadDescriptionError("the answer has no section for the microphone")
        leg.level_id = section.extensions.get(AUDIO_LEVEL, 0)
        opus = next((c for c in section.ordered_codecs() if c.upper_name == "OPUS"), None)
        if opus is None:
            raise BadDescriptionError("the answer does not take Opus")
        leg.payload_type = opus.pt
        leg.peer.start(answer, answer.setup == "passive")

    def remove(self, participant_id: str) -> None:
        """End a connection. Unknown ids are ignored."""
        leg = self._legs.pop(participant_id, None)
        self._floor.leave(participant_id)
        if leg is not None:
            leg.peer.on_closed = _ignore
            leg.peer.close("left the call")
            self._track(leg.peer)

    def set_muted(self, participant_id: str, muted: bool) -> None:
        """Nothing of a muted participant is passed on, whatever the page sends."""
        leg = self._legs.get(participant_id)
        if leg is not None:
            leg.muted = muted
            if muted:
                self._floor.silence(participant_id)

    async def close(self) -> None:
        """Say goodbye to everybody. Idempotent; the port stays."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for participant_id in list(self._legs):
            self.remove(participant_id)
        if self._closing:
            await asyncio.wait(self._closing, timeout=1.0)

    # Inside.

    def _connected(self, leg: _Leg) -> None:
        if self._legs.get(leg.participant_id) is not leg:
            return
        keys = leg.peer.srtp
        leg.srtp_handle = keys.send_handle
        minimum = MIN_PACKET_BYTES + keys.tag_bytes
        leg.peer.ice.on_media = lambda size: self._media(leg, keys, minimum, size)
        self._floor.join(leg.participant_id)

    def _closed(self, leg: _Leg, why: str) -> None:
        if self._legs.get(leg.participant_id) is leg:
            del self._legs[leg.participant_id]
            self._floor.leave(leg.participant_id)
            self._track(leg.peer)
            self._soon(self._events.on_voice_closed, leg.participant_id, why)

    def _track(self, peer: Peer) -> None:
        if peer.closing is not None:
            self._closing.add(peer.closing)
            peer.closing.add_done_callback(self._closing.discard)

    def _media(self, leg: _Leg, keys: srtp.SrtpPair, minimum: int, size: int) -> None:
        """One packet in the port's buffer."""
        rx, counters = self._port.rx, self._port.counters
        if is_rtcp(rx[1]):
            return  # nothing in a page's reports changes what is passed on
        _, marker, sequence, timestamp, ssrc = HEADER.unpack_from(rx)
        leg.packets_this_tick += 1
        if size < minimum or marker & 0x7F != leg.payload_type or leg.packets_this_tick > _MAX_PACKETS_PER_TICK:
            counters["voice_unexpected"] += 1
            return
        if not keys.known(ssrc.to_bytes(4, "big")):
            counters["voice_unexpected"] += 1
            return
        self._length[0] = size
        if srtp.unprotect(keys.receive_handle, self._pointer, self._length):
            counters["voice_unprotect_failed"] += 1
            return
        now = time.perf_counter()
        packet = bytes(self._port.view[: self._length[0]])
        if ssrc != leg.source:
            leg.source, leg.reception = ssrc, Reception(CLOCK_RATE)
            self._floor.restart(leg.participant_id)
        leg.reception.packet(sequence, now)
        leg.reception.measure_jitter(timestamp, now)
        if leg.muted:
            return
        slot = self._floor.packet(leg.participant_id, _level(packet, leg.level_id), now)
        if slot is not None:
            self._pass_on(leg, slot, payload(packet), sequence, timestamp, now)

    def _pass_on(self, leg: _Leg, slot: Slot, body: bytes, sequence: int, timestamp: int, now: float) -> None:
        if not body:
            return
        sequence, timestamp, begins = slot.renumbered(sequence, timestamp, now)
        # The marker says: a talkspurt begins (RFC 3551 section 4.1).
        head = HEADER.pack(0x80, begins << 7 | OPUS.pt, sequence, timestamp, self._ssrcs[slot.index])
        packet = head + body
        for other in self._legs.values():
            if other is not leg and other.can_receive:
                self._sender.send_one(packet, other)

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)
        now = time.perf_counter()
        for leg in self._legs.values():
            leg.packets_this_tick = 0
        speaking = self._floor.speaking(now)
        if speaking != self._told or (speaking and now - self._told_at >= 1.0):
            self._told, self._told_at = speaking, now
            self._notify(self._events.on_voice_speaking, speaking)
        if now - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = now
            self._report(now)

    def _report(self, now: float) -> None:
        """Receiver reports: by them a page learns of loss and adds redundancy to its Opus."""
        for leg in self._legs.values():
            if leg.source and leg.peer.connected:
                block = leg.reception.report(leg.source, now)
                packet = rtcp.receiver_report(leg.own_ssrc, [block]) + rtcp.source_description(leg.own_ssrc, _CNAME)
                leg.peer.send_rtcp(packet)

    def _soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        asyncio.get_running_loop().call_soon(self._notify, callback, *arguments)

    def _notify(self, callback: Callable[..., None], *arguments: Any) -> None:
        if self._timer is None:
            return
        try:
            callback(*arguments)
        except Exception:
            logger.exception("a voice event was not handled")


def _level(packet: bytes, extension: int) -> int | None:
    """The audio level (RFC 6464): 0 is full scale, 127 silence."""
    if not extension:
        return None
    offset = extension_offset(packet, extension, 1)
    return packet[offset] & 0x7F if offset else None


def _ignore(why: str) -> None:
    """The owner asked for the end itself."""
