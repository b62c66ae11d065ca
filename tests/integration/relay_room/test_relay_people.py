"""People in a real relay process: admission, room, control, chat, and misbehaviour that touches nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from runtime.chassis.clock import SystemClock
from runtime.chassis.entropy import new_session_id
from runtime.chassis.tokens import TokenSigner, new_signing_key
from runtime.protocol.states import Role
from tests.integration.relay_room.relay_harness import RelayProcess, Socket, person, running_relay
from tests.support.waiting import until


async def test_two_people_meet_talk_and_hand_over_control(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        anna = await relay.room("anna", Role.OWNER)
        welcome = await anna.hear("welcome")
        assert welcome["you"] == person("anna")
        assert welcome["control"] == {"holder": person("anna"), "requests": [], "mode": "ask"}
        assert welcome["stream"] == "waiting"
        await anna.say("chat", text="hello")
        await anna.hear("chat")

        ben = await relay.room("ben")
        welcome = await ben.hear("welcome")
        assert [p["role"] for p in welcome["participants"]] == ["owner", "watcher"]
        assert [m["text"] for m in welcome["chat"]] == ["hello"]
        assert (await anna.hear("participant.joined"))["participant"]["name"] == "ben"

        await ben.say("control.request")
        assert (await anna.hear("control.requested"))["participant"] == person("ben")
        await anna.say("control.grant", participant=person("ben"))
        assert (await ben.hear("control.changed"))["holder"] == person("ben")

        await ben.say("nonsense")
        assert (await ben.hear("error"))["code"] == "unknown_message"
        await ben.say("lock", locked=True)
        error = await ben.hear("error", 2)
        assert (error["code"], error["about"]) == ("forbidden", "lock")
        await ben.say("ping", time=123.5)
        assert (await ben.hear("pong"))["time"] == 123.5
        await ben.end(1000)
        left = await anna.hear("participant.left")
        assert left == {"type": "participant.left", "id": person("ben"), "reason": "left"}


async def test_tokens_are_judged_before_the_upgrade(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        stranger = TokenSigner(new_signing_key(), SystemClock())
        other_session = relay.signer.sign(new_session_id(), person("eve"), Role.OWNER, "eve", 60)[0]
        forged = stranger.sign(relay.session_id, person("eve"), Role.OWNER, "eve", 60)[0]
        expired = relay.token("eve", Role.OWNER, valid=-60)
        for query, code in (
            ("", "missing"),
            ("?token=", "missing"),
            ("?token=x", "invalid"),
            ("?token=%ff", "invalid"),
        ):
            assert (await refused(relay, query, 401))["code"] == f"token_{code}"
        for token, code in ((other_session, "invalid"), (forged, "invalid"), (expired, "expired")):
            assert (await refused(relay, f"?token={token}", 401))["code"] == f"token_{code}"


async def refused(relay: RelayProcess, query: str, status: int, **headers: str) -> dict[str, Any]:
    with pytest.raises(HTTPClientError) as caught:
        await Socket.open(f"ws://{relay.public}/player{query}", **headers)
    assert caught.value.code == status
    assert caught.value.response is not None
    error: dict[str, Any] = json.loads(caught.value.response.body)["error"]
    assert error["fix"]
    return error


async def test_pages_of_other_sites_are_refused(tmp_path: Path) -> None:
    async with running_relay(tmp_path, allowed_origins=["https://play.example.org"]) as relay:
        query = f"?token={relay.token('anna', Role.OWNER)}"
        for origin in ("https://evil.example.org", "null", "https://play.example.org.evil", "https://[bad"):
            assert (await refused(relay, query, 403, Origin=origin))["code"] == "origin_refused"
        for origin in ("https://play.example.org", f"http://{relay.public}"):
            page = await relay.raw_room(Origin=origin)
            await page.say("ping", time=1)
            await page.hear("pong")


async def test_the_wrong_streamer_secret_finds_nothing(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        with pytest.raises(HTTPClientError) as caught:
            await Socket.open(f"ws://{relay.private}/streamer/guessed-secret")
        assert caught.value.code == 404
        with pytest.raises(HTTPClientError):
            await Socket.open(f"ws://{relay.public}/streamer/guessed-secret")


async def test_a_full_session_says_so_in_a_sentence_and_keeps_a_place_for_its_owner(tmp_path: Path) -> None:
    async with running_relay(tmp_path, policy={"max_players": 1}, owner_participant=person("anna")) as relay:
        ben = await relay.player("ben")
        await ben.hear("config")
        cleo = await relay.player("cleo")
        assert "full" in (await cleo.hear("subscribeFailed"))["message"]
        assert await cleo.close_code() == 1013
        assert cleo.all("config") == []
        room = await relay.room("cleo")
        assert (await room.hear("error"))["code"] == "session_full"
        assert await room.close_code() == 1013
        anna = await relay.player("anna", Role.OWNER)
        await anna.hear("config")
        again = await relay.player("ben")
        await again.hear("config")
        assert await ben.close_code() == 4000, "its own older stream makes room"


async def test_a_locked_session_and_a_kicked_participant(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        anna = await relay.room("anna", Role.OWNER)
        ben, stream = await relay.room("ben"), await relay.player("ben")
        await stream.hear("config")
        await anna.say("lock", locked=True)
        assert (await ben.hear("locked"))["locked"] is True
        cleo = await relay.room("cleo")
        assert (await cleo.hear("error"))["code"] == "session_locked"
        assert await cleo.close_code() == 1013
        await anna.say("kick", participant=person("ben"))
        assert await ben.close_code() == 4001
        assert "removed" in (await stream.hear("subscribeFailed"))["message"]
        assert await stream.close_code() == 4001
        assert (await anna.hear("participant.left"))["reason"] == "kicked"
        await anna.say("lock", locked=False)
        await anna.hear("locked", 2)
        assert (await refused(relay, f"?token={relay.token('ben')}", 403))["code"] == "kicked"
        back = await relay.room("ben")
        assert (await back.hear("error"))["code"] == "kicked"
        assert await back.close_code() == 4001


async def test_a_newer_page_of_the_same_person_takes_over(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        older = await relay.room("anna", Role.OWNER)
        newer = await relay.room("anna", Role.OWNER)
        assert await older.close_code() == 4000
        await newer.say("chat", text="still here")
        await newer.hear("chat")
        assert newer.all("participant.left") == []


async def test_a_lost_connection_comes_back_with_role_and_name_even_after_the_token_expired(tmp_path: Path) -> None:
    async with running_relay(tmp_path, limits={"away_linger_seconds": 0.2}) as relay:
        anna = await relay.room("anna", Role.OWNER)
        ben = await relay.room("ben")
        resume = (await ben.hear("welcome"))["resume"]
        await ben.say("rename", name="Benjamin")
        await anna.say("control.grant", participant=person("ben"))
        await ben.hear("control.changed")
        await ben.vanish()
        assert (await anna.hear("participant.left"))["reason"] == "disconnected"
        assert (await anna.hear("control.changed", 2))["holder"] is None

        again = await relay.raw_room()
        await again.say("hello", version=1, token="", resume=resume, name="ben")
        welcome = await again.hear("welcome")
        assert welcome["control"]["holder"] == person("ben")
        me = next(p for p in welcome["participants"] if p["id"] == person("ben"))
        assert (me["name"], me["role"]) == ("Benjamin", "controller")
        assert (await anna.hear("participant.joined", 2))["participant"]["name"] == "Benjamin"

        stream = await Socket.open(f"ws://{relay.public}/player?token={relay.token('ben', valid=-60)}")
        relay.open_sockets.append(stream)
        await stream.hear("config")


async def test_a_wrong_resume_secret_resumes_nobody(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        await relay.room("anna", Role.OWNER)
        page = await relay.raw_room()
        await page.say("hello", version=1, token="", resume="x" * 43)
        assert (await page.hear("error"))["code"] == "token_missing"
        assert await page.close_code() == 1008


async def test_nothing_is_obeyed_before_hello_and_hello_has_a_deadline(tmp_path: Path) -> None:
    async with running_relay(tmp_path, limits={"hello_deadline_seconds": 0.5}) as relay:
        page = await relay.raw_room()
        await page.say("chat", text="first")
        assert (await page.hear("error"))["code"] == "unauthenticated"
        assert await page.close_code() == 1008
        other = await relay.raw_room()
        await other.say("hello", version=99, token=relay.token("ben"))
        assert (await other.hear("error"))["code"] == "bad_message"


async def test_misbehaviour_closes_that_connection_alone(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        anna = await relay.room("anna", Role.OWNER)
        watcher = await relay.player("anna", Role.OWNER)

        flooder = await relay.player("eve")
        for number in range(500):
            await flooder.say("ping", time=number)
        assert await flooder.close_code() == 1008

        shouter = await relay.player("eve")
        await shouter.say("ping", time="x" * 200_000)
        # Tornado cuts the connection right behind its close frame, so the code may not arrive.
        assert await shouter.close_code() in (1009, 1006, None)

        babbler = await relay.player("eve")
        await babbler.hear("config")
        for _ in range(30):
            await babbler.connection.write_message("{not json")
        assert (await babbler.hear("error"))["code"] == "bad_message"
        assert await babbler.close_code() == 1008

        crowd = await relay.room("eve")
        for _ in range(100):
            await crowd.say("activity")
        assert await crowd.close_code() == 1008

        await anna.say("ping", time=1)
        await anna.hear("pong")
        await watcher.say("ping", time=2)
        assert (await watcher.hear("pong"))["time"] == 2


async def test_a_page_that_does_not_read_is_cut_off_and_the_others_are_not(tmp_path: Path) -> None:
    limits = {
        "chat_characters": 50_000, "chat_messages_burst": 1_000_000, "room_messages_burst": 1_000_000,
        "send_queue_bytes": 65_536, "ping_interval_seconds": 60, "ping_timeout_seconds": 60,
    }  # fmt: skip
    async with running_relay(tmp_path, limits=limits) as relay:
        deaf = await relay.room("deaf")
        deaf.stop_reading()
        anna = await relay.room("anna", Role.OWNER)
        for number in range(1000):  # until every buffer of the kernel is full
            await anna.say("chat", text="x" * 50_000)
            await anna.hear("chat", number + 1)
            if "does not read" in relay.log():
                break
        await until(lambda: "does not read" in relay.log(), "the deaf page is cut off")
        assert (await anna.hear("participant.left"))["id"] == person("deaf")
        await anna.say("ping", time=1)
        await anna.hear("pong")


async def test_subprotocols_that_a_page_offers_are_taken_up(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay:
        page = await Socket.open(
            f"ws://{relay.public}/player?token={relay.token('anna')}", **{"Sec-WebSocket-Protocol": "epic"}
        )
        relay.open_sockets.append(page)
        await page.hear("config")
        assert page.connection.headers is not None
        assert page.connection.headers["Sec-Websocket-Protocol"] == "epic"


async def test_a_peer_that_answers_no_pings_is_taken_for_gone(tmp_path: Path) -> None:
    limits = {"ping_interval_seconds": 0.5, "ping_timeout_seconds": 0.5, "away_linger_seconds": 0.1}
    async with running_relay(tmp_path, limits=limits) as relay:
        anna, dead = await relay.room("anna", Role.OWNER), await relay.room("ben")
        dead.stop_reading()
        left = await anna.hear("participant.left")
        assert (left["id"], left["reason"]) == (person("ben"), "disconnected")
