"""Stream and data channel through a real relay process, with aiortc at both ends."""

from __future__ import annotations

from pathlib import Path

from relay_harness import PROTOCOL, SETTINGS, person, running_relay, until, up

from runtime.protocol.states import Role


async def test_a_player_streams_and_controls(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        owner = await relay.player("anna", Role.OWNER)
        assert owner.heard == [] or owner.kinds()[0] == "config"
        assert (await owner.hear("streamerList"))["ids"] == []
        streamer = await relay.streamer()
        assert (await streamer.hear("endpointIdConfirm"))["committedId"] == "TestStreamer"
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

        room = await relay.room("anna", Role.OWNER)
        await room.say("control.grant", participant=person("ben"))
        await until(lambda: up("KeyUp", 65) in streamer.got, "the held key is let go")
        watcher.send(up("KeyDown", 66, 0))
        await until(lambda: up("KeyDown", 66, 0) in streamer.got, "the new holder's key")
        await watcher.end()
        await until(lambda: up("KeyUp", 66) in streamer.got, "a leaving player's key is let go")
