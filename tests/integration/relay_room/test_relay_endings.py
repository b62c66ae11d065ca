"""How a relay process starts, ends and says why."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from runtime.chassis.clock import SystemClock
from runtime.chassis.codec import decode
from runtime.chassis.entropy import new_session_id
from runtime.chassis.tokens import TokenSigner
from runtime.protocol.control import RelayStatus
from runtime.protocol.states import EndReason, Role
from tests.integration.relay_room.relay_harness import KEY, Socket, person, running_relay, write_config
from tests.support.waiting import until

SHORT_IDLE = {"idle_seconds": 1.0, "idle_warning_seconds": 2.0}


async def test_nobody_active_countdown_cancel_and_end(tmp_path: Path) -> None:
    async with running_relay(tmp_path, policy=SHORT_IDLE, owner_participant=person("anna")) as relay:
        streamer = await relay.streamer()
        anna, ben = await relay.room("anna", Role.OWNER), await relay.room("ben")
        stream = await relay.player("anna", Role.OWNER)
        await stream.streaming()
        assert (await anna.hear("stream"))["state"] == "live"
        assert (await ben.hear("idle.warning"))["seconds_left"] == 2
        late = await relay.room("cleo")
        await ben.say("activity")
        for page in (anna, ben):
            assert (await page.hear("idle.cancelled"))["by"] in (person("ben"), person("cleo"))
        assert late.heard[0]["type"] == "welcome"
        for page in (anna, ben):
            ended = await page.hear("ended")
            assert ended["reason"] == "idle"
            assert ended["message"]
            assert await page.close_code() == 1001
        assert await stream.close_code() == 1001
        assert stream.connection.close_reason == ended["message"]
        await until(streamer.closed.is_set, "the streamer is released")
        assert streamer.kinds()[-1] == "playerDisconnected"
        assert await relay.exit_code() == 0
        left = decode((tmp_path / "ready.json.ended").read_bytes(), RelayStatus)
        assert left.end_reason is EndReason.IDLE
        assert not (tmp_path / "ready.json").exists()


async def test_the_session_server_reads_the_reason_by_long_poll(tmp_path: Path) -> None:
    policy = {"max_length_seconds": 2.0, "length_warning_seconds": 1.5, "idle_seconds": 0}
    async with running_relay(tmp_path, policy=policy) as relay:
        await relay.streamer()
        anna = await relay.room("anna", Role.OWNER)
        welcome = await anna.hear("welcome")
        assert (welcome["session"]["idle_seconds"], welcome["idle"]) == (None, None)
        stream = await relay.player("anna", Role.OWNER)
        live = await relay.status_where(lambda s: s["streamer"] == "live" and s["first_player_ms"])
        assert live["first_frame_ms"] <= live["first_player_ms"]
        assert (live["players"], live["participants"]) == (1, 1)
        await stream.hear("offer")
        assert (await anna.hear("time.warning"))["seconds_left"] == 2
        over = await relay.status_where(lambda s: s["end_reason"])
        assert over["end_reason"] == "max_length"
        assert over["version"] > live["version"]
        assert await relay.exit_code() == 0


async def test_a_session_started_for_nobody_yet_does_not_idle_away(tmp_path: Path) -> None:
    async with running_relay(tmp_path, policy={"idle_seconds": 0.2, "idle_warning_seconds": 0.2}) as relay:
        await relay.streamer()
        status = await relay.status_where(lambda s: s["streamer"] == "live")
        await asyncio.sleep(1.0)  # longer than the whole idle time
        status = await relay.status()
        assert (status["end_reason"], status["idle_seconds_left"]) == (None, None)
        await (await relay.room("anna", Role.OWNER)).hear("ended")


async def test_told_to_stop_it_tells_everybody_why(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        anna, stream = await relay.room("anna", Role.OWNER), await relay.player("anna", Role.OWNER)
        await stream.hear("config")
        response = await relay.get("/private/stop", method="POST", body={"reason": "drained"})
        assert response.code == 202
        assert (await anna.hear("ended"))["reason"] == "drained"
        assert await anna.close_code() == await stream.close_code() == 1001
        assert await relay.exit_code() == 0


async def test_it_is_given_another_end_and_tells_everybody(tmp_path: Path) -> None:
    async with running_relay(tmp_path, policy={"max_length_seconds": 3600}) as relay:
        anna = await relay.room("anna", Role.OWNER)
        await relay.streamer()
        await relay.status_where(lambda s: s["streamer"] == "live")
        for count, seconds in enumerate((7200, 1), 1):
            reply = await relay.get("/private/end-time", method="POST", body={"seconds_left": seconds})
            assert reply.code == 202
            assert (await anna.hear("time.warning", count))["seconds_left"] == seconds
        assert (await anna.hear("ended"))["reason"] == "max_length"
        assert await relay.exit_code() == 0


async def test_a_terminated_relay_is_a_reconnect_not_an_end(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        anna = await relay.room("anna", Role.OWNER)
        relay.process.send_signal(signal.SIGTERM)
        assert await anna.close_code() == 1012
        assert anna.all("ended") == []
        assert await relay.exit_code() == 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/private/status", None),
        ("GET", "/private/statistics", None),
        ("POST", "/private/end-time", {"seconds_left": 1}),
        ("POST", "/private/stop", {"reason": "owner_ended"}),
        ("GET", "/metrics", None),
    ],
)
async def test_the_private_interface_wants_its_secret(tmp_path: Path, method: str, path: str, body: Any) -> None:
    async with running_relay(tmp_path) as relay:
        assert (await relay.get(path, method=method, body=body, secret="wrong-secret-of-tests")).code == 401
        assert (await relay.status())["end_reason"] is None


async def test_bad_requests_of_the_session_server_are_answered(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        bodies: list[Any] = [{"reason": "because"}, {}, []]
        for body in bodies:
            assert (await relay.get("/private/stop", method="POST", body=body)).code == 400
        assert (await relay.get("/private/status?seen=x")).code == 400
        assert (await relay.get("/nothing")).code == 404


async def test_figures_of_streamer_and_players_are_on_metrics_and_in_the_room(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.streamer()
        anna, ben = await relay.room("anna", Role.OWNER), await relay.room("ben")
        for name in ("anna", "ben"):
            await (await relay.player(name)).streaming()

        def seen_by(page: Socket) -> set[str]:
            return {p["participant"] for stats in page.all("stats") for p in stats["players"]}

        await until(lambda: seen_by(anna) == {person("anna"), person("ben")}, "the owner sees all")
        await until(lambda: seen_by(ben), "the others see their own")
        assert seen_by(ben) == {person("ben")}
        assert anna.all("stats")[-1]["streamer"]["codec"] in ("H264", "VP8")
        told = json.loads((await relay.get("/private/statistics")).body)
        assert told["stream"]["codec"] in ("H264", "VP8")
        assert {(p["participant"], p["name"]) for p in told["players"]} == {
            (seat["id"], seat["name"])
            for seat in anna.all("welcome")[-1]["participants"] + ben.all("welcome")[-1]["participants"]
        }
        text = (await relay.get("/metrics")).body.decode()
        assert 'pixelstream_relay_player_packets_total{participant="' in text
        assert f'pixelstream_relay_players{{session="{relay.session_id}"}} 2.0' in text
        assert 'pixelstream_relay_stream_bitrate_bps{codec="' in text


async def run_main(config: Path) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runtime", "relay", "--config", str(config), stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"session_id": "short"}, "session_id"),
        ({"streamer_secret": "short"}, "streamer_secret"),
        ({"policy": {"control": "anarchy"}}, "policy.control"),
        ({"policy": {"bandwidth": "all"}}, "policy.bandwidth"),
        ({"colour": "red"}, "colour"),
        ({"listen": {"port": "x"}}, "listen.port"),
        ({"token_public_key": "no key"}, ""),
    ],
)
async def test_bad_configuration_names_the_key_and_no_value(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    config = write_config(tmp_path, new_session_id(), TokenSigner(KEY, SystemClock()), **changes)
    code, said = await run_main(config)
    assert code == 2
    assert key in said
    assert "streamer-secret-of-tests" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_a_taken_port_is_exit_98(tmp_path: Path, kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        listen = {"address": "127.0.0.1", "port": other.getsockname()[1]}
        config = write_config(tmp_path, new_session_id(), TokenSigner(KEY, SystemClock()), listen=listen)
        code, said = await run_main(config)
    assert code == 98
    assert str(listen["port"]) in said
    assert not (tmp_path / "ready.json").exists()


async def test_health_needs_nothing_and_says_nothing(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        client = AsyncHTTPClient(force_instance=True)
        response = await client.fetch(f"http://{relay.public}/healthz")
        client.close()
        assert json.loads(response.body) == {"status": "ok"}
