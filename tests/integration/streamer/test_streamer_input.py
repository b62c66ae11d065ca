"""Input through a real data channel: the picture answers, questions are answered, rubbish is ignored."""

from __future__ import annotations

import json
import time

import numpy as np
import psutil
import pytest

from runtime.protocol.datachannel import multiplexed
from runtime.streamer import layout
from runtime.streamer.messages import from_player
from tests.support.streamer_peer import JoinPlayer, SignallingServer, StartStreamer
from tests.support.waiting import until

SMALL = ("--size", "640x360")
PLACE = (0.35, 0.72)
AT = (int(PLACE[0] * 65536), int(PLACE[1] * 65536))


async def test_a_click_changes_the_picture_at_its_place(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start(*SMALL)
    await server.identified()
    player = await join()
    player.send("UIInteraction", json.dumps({"press": "pause"}))
    await player.reading(lambda reading: reading.toggles == 1, "the discs rest")
    await player.more_frames(20)
    before, inputs = player.around(*PLACE), player.readings[-1].inputs
    player.send("MouseDown", 0, *AT)
    reading = await player.reading(lambda reading: reading.inputs == inputs + 1, "the click is applied")
    assert (reading.click_x, reading.click_y, reading.buttons) == (*AT, 1)
    await player.more_frames(3)
    difference = np.abs(player.around(*PLACE).astype(int) - before)
    assert np.count_nonzero(difference > 40) > 30
    await until(lambda: player.received("Response"), "the answer to the click")
    answer = next(body for body in player.received_json("Response") if body["type"] == "click")
    assert (answer["x"], answer["y"], answer["target"]) == (pytest.approx(0.35, abs=1e-3), 0.72, "scene")
    player.send("MouseUp", 0, *AT)
    player.send("KeyDown", 65, 0)
    reading = await player.reading(lambda reading: reading.keys == 1, "the key is applied")
    assert reading.buttons == 0


async def test_typing_shows_in_the_text_field(server: SignallingServer, start: StartStreamer, join: JoinPlayer) -> None:
    await start(*SMALL)
    await server.identified()
    player = await join()
    x, y = layout.TEXT_FIELD.centre
    player.send("MouseDown", 0, int(x * 65536), int(y * 65536))
    await until(lambda: player.received("Command"), "the keyboard is asked for")
    assert player.received_json("Command")[0]["showOnScreenKeyboard"] is True
    left = layout.TEXT_FIELD.left + 0.06
    before = player.around(left, y, 0.03)
    for character in "Typed text":
        player.send("KeyPress", ord(character))
    await player.reading(lambda reading: reading.inputs == 11, "the text is applied")
    await player.more_frames(3)
    assert np.count_nonzero(np.abs(player.around(left, y, 0.03).astype(int) - before) > 40) > 20


async def test_questions_are_answered(server: SignallingServer, start: StartStreamer, join: JoinPlayer) -> None:
    await start(*SMALL)
    await server.identified()
    player = await join()
    await until(lambda: player.received("InitialSettings"), "settings at the beginning")
    player.send("LatencyTest", json.dumps({"StartTime": 1}))
    player.send("TestEcho")
    player.send("DataChannelLatencyTest", json.dumps({"Seq": 4, "FillResponseSize": 300, "Filler": ""}))
    player.send("RequestInitialSettings")
    player.send("GamepadConnected")
    for name in ("LatencyTest", "TestEcho", "DataChannelLatencyTest", "GamepadResponse"):
        await until(lambda name=name: player.received(name), name)  # type: ignore[misc]
    await until(lambda: len(player.received("InitialSettings")) == 2, "settings when asked")
    latency = player.received_json("LatencyTest")[0]
    assert latency["ReceiptTimeMs"] <= latency["TransmissionTimeMs"]
    assert latency["EncodeMs"] > 0
    test = player.received_json("DataChannelLatencyTest")[0]
    assert (test["Seq"], len(test["Filler"])) == (4, 300)
    assert player.received_json("GamepadResponse") == [{"controllerId": 0}]


async def test_stop_and_start_streaming(server: SignallingServer, start: StartStreamer, join: JoinPlayer) -> None:
    await start(*SMALL)
    await server.identified()
    player = await join()
    await player.more_frames(10)
    player.send("StopStreaming")
    await until(lambda: time.monotonic() - player.last_frame_seconds > 0.4, "no more frames")
    last = player.readings[-1]
    player.send("StartStreaming")
    # aiortc's jitter buffer gives out a frame when the next one comes, so one frame is from before.
    following = await player.reading(lambda reading: reading.frame > last.frame + 1, "frames again")
    # Nothing was drawn meanwhile: the numbers go on although time passed.
    assert following.frame - last.frame <= 15
    assert following.time_ms - last.time_ms > 400


async def test_rubbish_is_ignored(server: SignallingServer, start: StartStreamer, join: JoinPlayer) -> None:
    streamer = await start(*SMALL)
    await server.identified()
    player = await join()
    assert player.channel is not None
    forged = multiplexed("other", from_player("KeyDown", 65, 0))
    for data in (b"", b"\xff", b"\xc8abc", b"\x48", b"\x32\xff\xff", forged, bytes(100_000), "text"):
        player.channel.send(data)
    for text in ("", "{", "[]", "null", '{"type": 5}', '{"type": "playerConnected"}', "[" * 50_000):
        server.send_raw(text)
    server.send(type="answer", playerId="nobody", sdp="v=0")
    server.send(type="iceCandidate", playerId="player1", candidate={"candidate": "candidate:nonsense"})
    server.send(type="iceCandidate", playerId="player1", candidate=None)
    server.send(type="somethingNew", value=1)
    server.send(type="playerDisconnected", playerId="nobody")
    server.send(type="streamerDataChannels", sfuId="player1", playerId="x", sendStreamId=1, recvStreamId=2)
    player.send("MouseDown", 0, *AT)
    reading = await player.reading(lambda reading: reading.click_x == AT[0], "the stream goes on")
    assert (reading.inputs, reading.keys) == (1, 0)
    server.send(type="ping", time=12345)
    await until(lambda: {"type": "pong", "time": 12345} in server.received, "a pong")
    assert server.connections == 1
    assert streamer.process.returncode is None
    assert not streamer.logged("Traceback")


async def test_an_unusable_answer_ends_that_player_only(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    streamer = await start(*SMALL)
    await server.identified()
    player = await join()
    server.send(type="playerConnected", playerId="broken", dataChannel=True, sfu=False)
    await until(lambda: [m for m in server.of_type("offer") if m["playerId"] == "broken"], "an offer for broken")
    server.send(type="answer", playerId="broken", sdp="this is no sdp")
    await until(lambda: streamer.logged("player broken"), "the refusal is logged")
    await player.more_frames(15)


async def test_players_that_come_and_go_at_once_leave_nothing_behind(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    streamer = await start(*SMALL)
    await server.identified()
    for number in range(20):
        server.send(type="playerConnected", playerId=f"hasty{number % 3}", dataChannel=True, sfu=False)
        if number % 2:
            server.send(type="iceCandidate", playerId=f"hasty{number % 3}", candidate={"candidate": "candidate:x"})
            server.send(type="playerDisconnected", playerId=f"hasty{number % 3}")
    for number in range(40):
        server.send(type="playerConnected", playerId=f"many{number}", dataChannel=True, sfu=False)
    await until(lambda: server.of_type("disconnectPlayer"), "the bound on players holds")
    for number in range(40):
        server.send(type="playerDisconnected", playerId=f"many{number}")
    for number in range(3):
        server.send(type="playerDisconnected", playerId=f"hasty{number}")
    await (await join()).more_frames(10)
    assert not streamer.logged("Traceback")
    assert not streamer.logged(" error ")
    await until(lambda: len(psutil.Process(streamer.process.pid).net_connections("udp")) <= 4, "sockets are closed")


async def test_players_behind_an_sfu_are_told_apart(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start(*SMALL)
    await server.identified()
    relay = await join("relay", sfu=True)
    assert relay.channel is not None
    relay.channel.send(multiplexed("ada", from_player("MouseDown", 0, *AT)))
    await relay.reading(lambda reading: reading.click_x == AT[0], "input of a multiplexed player")
    await until(lambda: [m for m in relay.messages if m[0] == 1], "its answer")


async def test_players_with_channels_of_their_own(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start(*SMALL)
    await server.identified()
    relay = await join("relay", sfu=True)
    down, up = relay.open_channel(100), relay.open_channel(101)
    answers: list[bytes] = []
    down.on("message", answers.append)
    server.send(type="streamerDataChannels", sfuId="relay", playerId="ada", sendStreamId=100, recvStreamId=101)
    server.send(type="ping", time=1)
    await until(lambda: {"type": "pong", "time": 1} in server.received, "the request arrived")
    up.send(from_player("MouseDown", 0, *AT))
    await relay.reading(lambda reading: reading.click_x == AT[0], "input on the player's channel")
    await until(lambda: [m for m in answers if m[0] == 1], "the answer on the player's channel")
    assert not relay.received("Response")
    # The player leaves with its button down: the relay closes its channels.
    await relay.reading(lambda reading: reading.buttons == 1, "the button is down")
    down.close()
    up.close()
    await relay.reading(lambda reading: reading.buttons == 0, "the button is let go")


async def test_a_player_that_leaves_lets_go_of_its_buttons(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start(*SMALL)
    await server.identified()
    staying, leaving = await join("staying"), await join("leaving")
    leaving.send("MouseDown", 0, *AT)
    await staying.reading(lambda reading: reading.buttons == 1, "a button held")
    server.send(type="playerDisconnected", playerId="leaving")
    await staying.reading(lambda reading: reading.buttons == 0, "the button released")
