"""Stream and data channel through a real relay process, with aiortc at both ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from runtime.protocol import datachannel as dc
from runtime.protocol.states import Role
from tests.integration.relay_room.relay_harness import (
    PROTOCOL,
    SETTINGS,
    STREAMER_SECRET,
    Picture,
    Player,
    Socket,
    Streamer,
    person,
    running_relay,
    up,
)
from tests.support.waiting import until


async def test_a_player_streams_and_controls(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        owner = await relay.player("anna", Role.OWNER)
        await owner.hear("streamerList")
        assert owner.kinds() == ["config", "streamerList"]
        streamer = await relay.streamer()
        assert (await streamer.hear("endpointIdConfirm"))["committedId"] == "TestStreamer"
        assert streamer.kinds()[:2] == ["identify", "config"]
        await owner.streaming()
        await until(lambda: owner.got[:3] == [*PROTOCOL, b"\x0c\x01"], "the cached messages, in order")
        owner.send(up("RequestInitialSettings"))
        await until(lambda: SETTINGS in owner.got, "the settings")
        owner.send(up("KeyDown", 65, 0))
        await until(lambda: up("KeyDown", 65, 0) in streamer.got, "the key reaches the streamer")

        watcher = await relay.player("ben")
        await watcher.streaming()
        await until(lambda: b"\x0c\x00" in watcher.got, "told that it is not in control")
        watcher.send(up("KeyDown", 66, 0))
        watcher.send(up("LatencyTest", "{}"))
        await until(lambda: up("LatencyTest", "{}") in streamer.got, "the question")
        assert up("KeyDown", 66, 0) not in streamer.got
        streamer.send(dc.text_message(6, "{}"))
        await until(lambda: dc.text_message(6, "{}") in watcher.got, "the answer")
        assert dc.text_message(6, "{}") not in owner.got
        file = [
            dc.text_message(8, "txt"),
            dc.text_message(9, "text/plain"),
            b"\x0a" + (3).to_bytes(4, "little") + b"abc",
        ]
        for message in (*file, dc.text_message(1, "to all")):
            streamer.send(message)
        await until(lambda: dc.text_message(1, "to all") in watcher.got, "a response for everybody")
        assert not set(file) & set(watcher.got), "a file is for who is in control"
        await until(lambda: set(file) <= set(owner.got), "the file")

        room = await relay.room("anna", Role.OWNER)
        await room.say("control.grant", participant=person("ben"))
        await until(lambda: up("KeyUp", 65) in streamer.got, "the held key is let go")
        watcher.send(up("KeyDown", 66, 0))
        await until(lambda: up("KeyDown", 66, 0) in streamer.got, "the new holder's key")
        await watcher.end()
        await until(lambda: up("KeyUp", 66) in streamer.got, "a leaving player's key is let go")


async def test_big_messages_pass_and_a_flood_closes_that_player_alone(tmp_path: Path) -> None:
    limits = {"data_messages_per_second": 100, "data_messages_burst": 300}
    async with running_relay(tmp_path, limits=limits) as relay:
        streamer = await relay.streamer()
        owner, eve = await relay.player("anna", Role.OWNER), await relay.player("eve")
        await owner.streaming()
        await eve.streaming()
        big = bytes((1,)) + bytes(range(256)) * 1000
        streamer.send(big)
        await until(lambda: big in owner.got and big in eve.got, "a message of 256 KB")
        for _ in range(1000):
            eve.send(up("MouseMove", 1, 1, 1, 1))
        assert (await eve.hear("subscribeFailed"))["message"]
        assert await eve.close_code() == 1008
        owner.send(up("KeyDown", 65, 0))
        await until(lambda: up("KeyDown", 65, 0) in streamer.got, "the other player goes on")


async def test_a_streamer_that_comes_back_is_seen_again_without_a_reload(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        first = await relay.streamer()
        room, stream = await relay.room("anna", Role.OWNER), await relay.player("anna", Role.OWNER)
        await stream.streaming()
        await first.crash()
        assert (await room.hear("stream", 2))["state"] == "lost"
        joiner = await relay.player("ben")
        assert (await joiner.hear("streamerList"))["ids"] == []
        stream.got.clear()
        second = await relay.streamer()
        assert (await room.hear("stream", 3))["state"] == "live"
        await stream.streaming()
        await joiner.streaming()
        await until(lambda: stream.got[:2] == list(PROTOCOL), "what the new streamer says")
        stream.send(up("KeyDown", 65, 0))
        await until(lambda: up("KeyDown", 65, 0) in second.got, "control of the new streamer")


async def test_a_stale_streamer_connection_is_replaced(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        stale = await relay.streamer()
        stream = await relay.player("anna", Role.OWNER)
        await stream.streaming()
        fresh = await relay.streamer()
        assert await stale.close_code() == 4000
        await until(lambda: fresh.channel is not None and fresh.channel.readyState == "open", "the new connection")
        assert (await fresh.hear("endpointIdConfirm"))["committedId"] == "TestStreamer", "no number is appended"
        await stream.streaming()


async def test_the_stream_outlives_the_streamers_signalling(tmp_path: Path) -> None:
    async with running_relay(tmp_path, policy={"streamer_grace_seconds": 1.0}) as relay:
        streamer = await relay.streamer()
        room, stream = await relay.room("anna", Role.OWNER), await relay.player("anna", Role.OWNER)
        await stream.streaming()
        await streamer.vanish()
        joiner = await relay.player("ben")
        await joiner.streaming()
        await asyncio.sleep(2.5)  # longer than the grace time for a lost streamer
        frames = stream.frames
        await until(lambda: stream.frames > frames, "the picture goes on")
        assert [body["state"] for body in room.all("stream")] == ["live"]
        assert (await relay.status())["end_reason"] is None


async def test_a_streamer_that_stays_away_ends_the_session(tmp_path: Path) -> None:
    async with running_relay(tmp_path, policy={"streamer_grace_seconds": 1.0}) as relay:
        streamer = await relay.streamer()
        room, stream = await relay.room("anna", Role.OWNER), await relay.player("anna", Role.OWNER)
        await stream.streaming()
        await streamer.crash()
        assert (await room.hear("ended"))["reason"] == "app_crashed"
        assert await stream.close_code() == 1001
        assert await relay.exit_code() == 0


async def test_a_streamer_that_never_names_itself_is_offered_to_as_unreal_4_27(tmp_path: Path) -> None:
    class Legacy(Streamer):
        async def on_message(self, body: dict[str, Any]) -> None:
            if body["type"] != "offer":
                return
            self.peer = peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            peer.addTrack(Picture())
            peer.on("datachannel", self._opened)
            await peer.setRemoteDescription(RTCSessionDescription(body["sdp"], "offer"))
            await peer.setLocalDescription(await peer.createAnswer())
            await self.say("answer", sdp=peer.localDescription.sdp, playerId=body["playerId"])

        def _opened(self, channel: Any) -> None:
            self.channel = channel
            channel.on("message", self.got.append)

    async with running_relay(tmp_path, limits={"legacy_streamer_seconds": 0.3}) as relay:
        stream = await relay.player("anna", Role.OWNER)
        streamer = await relay.streamer_of(Legacy)
        assert (await streamer.hear("offer"))["playerId"] == 1
        await stream.streaming()
        stream.send(up("KeyDown", 65, 0))
        await until(lambda: up("KeyDown", 65, 0) in streamer.got, "the key reaches the streamer")


async def test_a_multiplexing_streamer_tells_players_apart(tmp_path: Path) -> None:
    class Multiplexing(Streamer):
        offer_members: ClassVar[dict[str, Any]] = {"multiplex": True}

        def greet(self) -> None:
            """It greets each player instead."""

    async with running_relay(tmp_path) as relay:
        streamer = await relay.streamer_of(Multiplexing)
        owner, ben = await relay.player("anna", Role.OWNER), await relay.player("ben")
        await owner.streaming()
        await ben.streaming()
        opened = [dc.channel_relay_status(player, True) for player in "12"]
        await until(lambda: all(message in streamer.got for message in opened), "both players are announced")
        streamer.send(dc.multiplexed("2", SETTINGS))
        await until(lambda: SETTINGS in ben.got, "addressed settings")
        assert SETTINGS not in owner.got
        owner.send(up("KeyDown", 65, 0))
        await until(lambda: dc.multiplexed("1", up("KeyDown", 65, 0)) in streamer.got, "input with its player")
        ben.send(dc.multiplexed("1", up("KeyDown", 66, 0)))
        ben.send(up("LatencyTest", "{}"))
        await until(
            lambda: dc.multiplexed("2", up("LatencyTest", "{}")) in streamer.got, "the question with its player"
        )
        assert not any(up("KeyDown", 66, 0) in message for message in streamer.got), "a forged wrapper"
        streamer.send(dc.text_message(1, "to all"))
        await until(
            lambda: dc.text_message(1, "to all") in ben.got and dc.text_message(1, "to all") in owner.got, "all"
        )
        await ben.end()
        await until(lambda: dc.channel_relay_status("2", False) in streamer.got, "the player is gone")
        await streamer.say("disconnectPlayer", playerId="1", reason="enough")
        assert await owner.close_code() == 1011


async def test_a_player_that_offers_itself(tmp_path: Path) -> None:
    class Offering(Player):
        async def on_message(self, body: dict[str, Any]) -> None:
            if body["type"] == "config":
                self.peer = peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
                self.channel = peer.createDataChannel("cirrus")
                self.channel.on("message", self.got.append)
                peer.on("track", lambda track: self._drains.append(asyncio.create_task(self._drain(track))))
                peer.addTransceiver("video", "recvonly")
                await peer.setLocalDescription(await peer.createOffer())
                await self.say("offer", sdp=peer.localDescription.sdp)
            elif body["type"] == "answer" and self.peer is not None:
                await self.peer.setRemoteDescription(RTCSessionDescription(body["sdp"], "answer"))

    async with running_relay(tmp_path) as relay:
        early = await relay.player("anna", Role.OWNER, Offering)
        streamer = await relay.streamer()
        await early.streaming()
        early.send(up("KeyDown", 65, 0))
        await until(lambda: up("KeyDown", 65, 0) in streamer.got, "the key reaches the streamer")
        late = await relay.player("ben", Role.WATCHER, Offering)
        await late.streaming()
        await until(lambda: late.got[:2] == list(PROTOCOL), "the cached messages")
        assert late.all("offer") == [], "only the page offers"


async def test_a_player_whose_media_died_is_offered_anew_on_the_same_socket(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.streamer()
        stream = await relay.player("anna", Role.OWNER)
        await stream.streaming()
        assert stream.peer is not None
        await stream.peer.close()
        await stream.hear("offer", 2)
        await stream.streaming()
        assert not stream.closed.is_set()


async def test_a_streamer_that_disconnects_the_relay_is_asked_again(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        streamer = await relay.streamer()
        stream = await relay.player("anna", Role.OWNER)
        await stream.streaming()
        await streamer.say("disconnectPlayer", playerId="relay", reason="bored")
        assert await streamer.hear("playerConnected", 2) == await streamer.hear("playerConnected")
        await stream.streaming()
        assert not stream.closed.is_set()


@pytest.mark.parametrize("sdp", ["", "v=0", "x" * 50_000, "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"])
async def test_unusable_descriptions_are_answered_and_harm_nobody(tmp_path: Path, sdp: str) -> None:
    async with running_relay(tmp_path) as relay:
        bad = await Socket.open(f"ws://{relay.private}/streamer/{STREAMER_SECRET}")
        relay.open_sockets.append(bad)
        await bad.say("endpointId", id="x")
        await bad.hear("playerConnected")
        await bad.say("offer", sdp=sdp, playerId="relay")
        await bad.hear("playerConnected", 2)
        await relay.streamer()
        stream = await relay.player("anna", Role.OWNER)
        await stream.streaming()
        eve = await Socket.open(f"ws://{relay.public}/player?token={relay.token('eve')}")
        relay.open_sockets.append(eve)
        await eve.say("offer", sdp=sdp)
        assert (await eve.hear("error"))["code"] == "bad_message"
        await eve.say("subscribe", streamerId="TestStreamer")
        await eve.hear("offer")
        await eve.say("answer", sdp=sdp)
        assert (await eve.hear("error", 2))["code"] == "bad_message"
        await stream.streaming()


async def test_a_page_that_subscribes_without_end_is_closed(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.streamer()
        eve = await Socket.open(f"ws://{relay.public}/player?token={relay.token('eve')}")
        relay.open_sockets.append(eve)
        for _ in range(60):
            await eve.say("subscribe", streamerId="TestStreamer")
        assert await eve.close_code() == 1008
        assert len(eve.all("offer")) < 20
        assert eve.all("error")[0]["code"] == "rate_limited"


async def test_ice_servers_reach_the_page_as_lists(tmp_path: Path) -> None:
    servers = [
        {"urls": ["turn:turn.example.org"], "username": "1:anna", "credential": "c"},
        {"urls": ["stun:s.example.org"]},
    ]
    async with running_relay(tmp_path, ice_servers=servers) as relay:
        stream = await relay.player("anna", Role.OWNER)
        assert (await stream.hear("config"))["peerConnectionOptions"] == {"iceServers": servers}
        assert json.dumps(servers[0])  # the credential is for the page alone:
        assert "1:anna" not in relay.log()


async def test_pixel_streaming_1_gets_a_channel_pair_for_each_player(tmp_path: Path) -> None:
    class PerPlayer(Streamer):
        def __init__(self, connection: Any) -> None:
            super().__init__(connection)
            self.pairs: dict[str, Any] = {}
            self.by_player: dict[str, list[bytes]] = {}

        async def on_message(self, body: dict[str, Any]) -> None:
            await super().on_message(body)
            if body["type"] == "streamerDataChannels":
                assert self.peer is not None
                got = self.by_player[body["playerId"]] = []
                receiving = self.peer.createDataChannel("receive", negotiated=True, id=body["recvStreamId"])
                receiving.on("message", got.append)
                sending = self.peer.createDataChannel("send", negotiated=True, id=body["sendStreamId"])
                self.pairs[body["playerId"]] = sending

    async with running_relay(tmp_path, streamer_as_sfu=True) as relay:
        streamer = await relay.streamer_of(PerPlayer)
        assert (await streamer.hear("playerConnected"))["sfu"] is True
        owner, ben = await relay.player("anna", Role.OWNER), await relay.player("ben")
        await owner.streaming()
        await ben.streaming()
        await until(lambda: set(streamer.pairs) == {"1", "2"}, "both pairs")
        owner.send(up("KeyDown", 65, 0))
        await until(lambda: up("KeyDown", 65, 0) in streamer.by_player["1"], "input on the player's own channel")
        streamer.pairs["2"].send(dc.text_message(1, "for ben"))
        await until(lambda: dc.text_message(1, "for ben") in ben.got, "an addressed response")
        assert dc.text_message(1, "for ben") not in owner.got
        assert streamer.by_player["2"] == []
