"""The streamer's peers: who is connected, what they ask, and who may set the encoder.

Knows neither sockets nor signalling: ``reply`` functions carry messages back to whoever introduced a player.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from runtime.chassis.clock import Clock
from runtime.chassis.lifecycle import Background, periodic
from runtime.protocol.datachannel import MalformedMessageError

from . import commands, messages
from .audio import FRAME_SAMPLES, FRAME_SECONDS, Sound
from .config import StreamerOptions
from .encode import EncodedFrame, h264_level
from .messages import Message
from .ratecontrol import RateControl
from .rtc import NegotiationError, Peer
from .state import Effect
from .video import Input, VideoPipeline

logger = logging.getLogger(__name__)
Reply = Callable[[dict[str, Any]], None]

MAX_PEERS = 32
MAX_SUB_PLAYERS = 200


@dataclass
class _Member:
    """One connected peer. ``sub_players`` are the players that an SFU speaks for."""

    peer: Peer
    reply: Reply
    sfu: bool
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    open: bool = False
    flowing: bool = False
    stopped: bool = False
    sub_players: set[str] = field(default_factory=set)


class Session:
    """All peers of one streamer, its picture and its sound. Implements ``rtc.PeerEvents``."""

    def __init__(self, options: StreamerOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._members: dict[str, _Member] = {}
        self._owner: str | None = None
        self._background = Background()
        self.rate = RateControl(options.bitrate_bps, options.min_bitrate_bps, options.max_bitrate_bps)
        self.video = VideoPipeline(options, clock, self._on_frame, self._on_effects)
        self._sound = Sound()
        self.counters: Counter[str] = Counter()
        self.ice_servers: list[dict[str, Any]] = []

    async def run(self) -> None:
        """Produce picture and sound until cancelled; raises what either raised, and closes every peer."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.video.run(), name="video")
                group.create_task(self._run_sound(), name="sound")
                group.create_task(periodic(1.0, self._tell_figures, "telling figures"), name="figures")
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every peer."""
        await self._background.close()
        members, self._members = list(self._members.values()), {}
        if self.counters:
            logger.info("totals: %s", ", ".join(f"{name} {count}" for name, count in sorted(self.counters.items())))
        await asyncio.gather(*(member.peer.close() for member in members))

    # Signalling

    def connect_player(self, player_id: str, reply: Reply, *, sfu: bool, loopback: bool) -> None:
        """Offer media to a player. A second call for the same id starts its connection anew."""
        self.disconnect_player(player_id)
        if len(self._members) >= MAX_PEERS:
            logger.warning("refusing player %s: %d are connected", player_id, len(self._members))
            reply({"type": "disconnectPlayer", "playerId": player_id, "reason": "full"})
            return
        settings = self.video.settings
        level = h264_level(settings.width, settings.height, self._options.fps)[1]
        peer = Peer(
            player_id,
            self,
            codec=self._options.codec,
            level_idc=level,
            loopback=loopback,
            ice_servers=self.ice_servers,
        )
        member = self._members[player_id] = _Member(peer, reply, sfu)
        self._in_turn(member, lambda: self._offer(member))

    def disconnect_player(self, player_id: str) -> None:
        """Close a player's connection; unknown ids are ignored."""
        member = self._members.pop(player_id, None)
        if member is None:
            return
        self.rate.on_left(player_id)
        self.video.want_bitrate(self.rate.target_bps)
        self.video.release_all()
        if self._owner == player_id:
            self._pass_ownership(next((key for key, other in self._members.items() if other.open), None))
        self._note_flow()
        self._background.spawn(f"close {player_id}", self._close_in_turn(member))

    async def _close_in_turn(self, member: _Member) -> None:
        """Close after what is under way: closed while it gathers, aiortc would leave its sockets open."""
        async with member.turn:
            await member.peer.close()

    def disconnect_all(self) -> None:
        """Close every connection: the signalling server is gone, and its player ids mean nothing to the next one."""
        for player_id in list(self._members):
            self.disconnect_player(player_id)

    def on_answer(self, player_id: str, sdp: str) -> None:
        """A player's answer."""
        member = self._members.get(player_id)
        if member is not None:
            self._in_turn(member, lambda: member.peer.accept(sdp))

    def on_candidate(self, player_id: str, candidate: Any) -> None:
        """A player's trickled candidate. Candidates may need a name resolved, so they do not wait for each other."""
        member = self._members.get(player_id)
        if member is not None:
            self._background.spawn(f"candidate {player_id}", self._take_candidate(member, candidate))

    def on_player_channels(self, sfu_id: str, player: str, send_id: int, receive_id: int) -> None:
        """An SFU wants a pair of negotiated channels for one of its players."""
        member = self._members.get(sfu_id)
        if member is None or not member.sfu or len(member.sub_players) >= MAX_SUB_PLAYERS:
            self.counters["channels_refused"] += 1
            logger.warning("no channels for player %.40s: %.40s is no SFU of ours, or it has too many", player, sfu_id)
            return
        try:
            member.peer.open_pair(player, send_id, receive_id)
        except NegotiationError as error:
            self.counters["channels_refused"] += 1
            logger.warning("no channels for player %.40s: %s", player, error)
            return
        member.sub_players.add(player)
        logger.info("player %.40s has channels %d and %d", player, send_id, receive_id)

    def _in_turn(self, member: _Member, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work`` after everything asked for this member before; a failure ends the member, not the streamer."""

        def is_here() -> bool:
            return self._members.get(member.peer.player_id) is member

        async def guarded() -> None:
            async with member.turn:
                if not is_here():
                    return
                try:
                    await work()
                except (NegotiationError, TimeoutError) as error:
                    # A player that left meanwhile makes its negotiation fail, which is nobody's fault.
                    if is_here():
                        logger.warning("player %s: %s", member.peer.player_id, str(error) or "took too long")
                        self.counters["negotiations_failed"] += 1
                        self.disconnect_player(member.peer.player_id)

        self._background.spawn(f"negotiate {member.peer.player_id}", guarded())

    async def _offer(self, member: _Member) -> None:
        sdp = await member.peer.offer()
        member.reply({"type": "offer", "playerId": member.peer.player_id, "sdp": sdp})

    async def _take_candidate(self, member: _Member, candidate: Any) -> None:
        async with member.turn:
            pass  # the answer that was sent before this candidate must be in place
        try:
            await member.peer.candidate(candidate)
        except (NegotiationError, TimeoutError):
            self.counters["candidates_refused"] += 1

    # Media

    def _on_frame(self, frame: EncodedFrame) -> None:
        for member in self._members.values():
            if not member.stopped:
                member.peer.video.push(frame.packet, frame.keyframe)

    async def _run_sound(self) -> None:
        start = self._clock.monotonic()
        index = 0
        while True:
            # The pace is kept by the clock; after a pause of the machine the missed time is skipped, not caught up.
            late = self._clock.monotonic() - start - index * FRAME_SECONDS
            if late > 0.2:
                index += int(late / FRAME_SECONDS)
            await asyncio.sleep(max(0.0, -late))
            packet = self._sound.encode(index * FRAME_SAMPLES) if self._anybody_flows() else None
            index += 1
            if packet is not None:
                for member in self._members.values():
                    if not member.stopped:
                        member.peer.audio.push(packet, True)

    def _anybody_flows(self) -> bool:
        return any(member.flowing and not member.stopped for member in self._members.values())

    def _note_flow(self) -> None:
        self.video.flow(self._anybody_flows())

    # rtc.PeerEvents

    def on_open(self, peer: Peer) -> None:
        member = self._members.get(peer.player_id)
        if member is None:
            return
        member.open = True
        for message in messages.protocol_messages():
            peer.send(message)
        peer.send(self._initial_settings())
        if self._owner is None:
            self._pass_ownership(peer.player_id)
        else:
            peer.send(messages.flag("QualityControlOwnership", False))
        peer.send(messages.flag("InputControlOwnership", True))

    def on_flow(self, peer: Peer) -> None:
        member = self._members.get(peer.player_id)
        if member is not None:
            member.flowing = True
            logger.info("media flows to player %s", peer.player_id)
        self._note_flow()

    def on_gone(self, peer: Peer) -> None:
        member = self._members.get(peer.player_id)
        if member is not None and member.peer is peer:
            logger.info("player %s is gone", peer.player_id)
            self.disconnect_player(peer.player_id)

    def on_player_gone(self, peer: Peer, player: str) -> None:
        member = self._members.get(peer.player_id)
        if member is not None:
            member.sub_players.discard(player)
            self.video.release_all()

    def on_keyframe_wanted(self, peer: Peer) -> None:
        self.counters["keyframe_requests"] += 1
        self.video.want_keyframe()

    def on_estimate(self, peer: Peer, bitrate_bps: int) -> None:
        if peer.player_id in self._members:
            self.rate.on_estimate(peer.player_id, bitrate_bps)
            self.video.want_bitrate(self.rate.target_bps)

    def on_loss(self, peer: Peer, fraction: float) -> None:
        if peer.player_id in self._members:
            self.rate.on_loss(peer.player_id, fraction, self._clock.monotonic())
            self.video.want_bitrate(self.rate.target_bps)

    def on_data(self, peer: Peer, data: bytes, player: str | None) -> None:
        member = self._members.get(peer.player_id)
        if member is None:
            return
        try:
            message = messages.parse(data, from_sfu=member.sfu and player is None)
        except MalformedMessageError as error:
            self.counters["messages_malformed"] += 1
            if self.counters["messages_malformed"] <= 20:
                logger.warning("player %s: %s", peer.player_id, error)
            return
        self.counters["messages"] += 1
        player = player if player is not None else message.player
        if messages.is_control(message):
            if message.name in ("MouseDown", "MouseDouble"):
                self._sound.press(message.values[0])
            elif message.name == "TouchStart":
                self._sound.press(message.values[3])
            self.video.give(Input(message, (peer, player), self._shown_name(peer, player)))
        else:
            self._answer(member, message, player)

    def _shown_name(self, peer: Peer, player: str | None) -> str:
        """Who did it, when there is more than one who could have."""
        if player is not None:
            return player[:16]
        return peer.player_id[:16] if len(self._members) > 1 else ""

    # Questions and settings

    def _answer(self, member: _Member, message: Message, player: str | None) -> None:
        peer, now_ms = member.peer, self._clock.now_ms()
        match message.name:
            case "IFrameRequest":
                self.on_keyframe_wanted(peer)
            case "RequestQualityControl":
                self._pass_ownership(peer.player_id)
            case "RequestInitialSettings":
                peer.send(self._initial_settings(), player)
            case "LatencyTest":
                peer.send(messages.as_json("LatencyTest", self._latency(now_ms)), player)
            case "DataChannelLatencyTest":
                self._answer_channel_test(peer, player, message.values[0], now_ms)
            case "TestEcho":
                peer.send(messages.empty("TestEcho"), player)
            case "StartStreaming" | "StopStreaming":
                member.stopped = message.name == "StopStreaming"
                self._note_flow()
                self.video.want_keyframe()
            case "Command":
                self._obey(peer, message.values[0])
            case "ChannelRelayStatus":
                if not message.values[0]:
                    self.on_player_gone(peer, message.player or "")
                elif len(member.sub_players) < MAX_SUB_PLAYERS:
                    member.sub_players.add(message.player or "")

    def _latency(self, now_ms: int) -> dict[str, Any]:
        """What Epic's page wants to know, in its words; times are epoch milliseconds."""
        facts = self.video.facts()
        return {
            "ReceiptTimeMs": now_ms,
            "EncodeMs": round(facts.encode_ms, 2),
            "CaptureToSendMs": round(facts.encode_ms + facts.draw_ms, 2),
            "TransmissionTimeMs": self._clock.now_ms(),
        }

    def _answer_channel_test(self, peer: Peer, player: str | None, text: str, received_ms: int) -> None:
        try:
            wanted = json.loads(text)
            size = min(65_536, max(0, int(wanted.get("FillResponseSize") or 0)))
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
            self.counters["messages_malformed"] += 1
            return
        answer = {"Seq": wanted.get("Seq"), "Filler": "A" * size, "ReceivedTimestamp": received_ms}
        answer["SentTimestamp"] = self._clock.now_ms()
        peer.send(messages.as_json("DataChannelLatencyTest", answer), player)

    def _obey(self, peer: Peer, text: str) -> None:
        """Encoder settings count from the owner of quality control only, as in Unreal."""
        if peer.player_id != self._owner:
            self.counters["commands_refused"] += 1
            return
        try:
            change = commands.parse(text, allow_console=self._options.allow_commands)
        except ValueError:
            self.counters["messages_malformed"] += 1
            return
        if change.size is not None:
            self.video.want_size(*change.size)
        if change.fps is not None:
            self.video.want_fps(change.fps)
        if change.min_qp is not None or change.max_qp is not None:
            self.video.want_quantiser(change.min_qp, change.max_qp)
        if change.min_bitrate_bps is not None or change.max_bitrate_bps is not None:
            self.rate.limit(min_bps=change.min_bitrate_bps, max_bps=change.max_bitrate_bps)
            self.video.want_bitrate(self.rate.target_bps)

    def _initial_settings(self) -> bytes:
        return messages.as_json("InitialSettings", commands.initial_settings(self._options, self.video, self.rate))

    def _pass_ownership(self, player_id: str | None) -> None:
        self._owner = player_id
        for key, member in self._members.items():
            if member.open:
                member.peer.send(messages.flag("QualityControlOwnership", key == player_id))

    def _on_effects(self, effects: list[tuple[object, Effect]]) -> None:
        names = {"response": "Response", "keyboard": "Command", "pad": "GamepadResponse"}
        for source, effect in effects:
            peer, player = source if isinstance(source, tuple) else (None, None)
            if isinstance(peer, Peer):
                peer.send(messages.as_json(names[effect.kind], effect.value), player)

    async def _tell_figures(self) -> None:
        quality = self.video.facts().average_qp
        if quality is None:
            return
        message = messages.text("VideoEncoderAvgQP", f"{quality:.1f}")
        for member in self._members.values():
            if member.open:
                member.peer.send(message)
