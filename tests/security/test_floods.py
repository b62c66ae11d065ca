"""Too much, too big, too broken: whoever sends it is cut off, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from tornado.websocket import WebSocketClosedError

from tests.integration.relay_room.relay_harness import Player, Socket, up
from tests.support.waiting import until

from .conftest import TITLE, Live
from .people import secret_of


def _guest(live: Live, name: str, role: str = "watcher") -> dict[str, Any]:
    return dict(
        live.stranger().join(live.session_id, invite=secret_of(live.owner.invite(live.session_id, role)), name=name)
    )


@asynccontextmanager
async def _witnesses(live: Live) -> AsyncIterator[tuple[Socket, Player]]:
    """The owner's room and stream; afterwards both are still open and the picture still moves."""
    ticket = live.owner.join(live.session_id)
    room = await Socket.open(ticket["room_url"])
    player = await Player.open(f"{ticket['player_url']}?token={ticket['token']}")
    try:
        await room.say("hello", version=1, token=ticket["token"])
        await room.hear("welcome")
        await player.streaming()
        yield room, player
        await player.streaming()
        count = len(room.all("pong"))
        await room.say("ping", time=2)
        await room.hear("pong", count + 1)
        assert not room.closed.is_set()
        assert not player.closed.is_set()
    finally:
        await player.end()
        await room.end()


async def _pour(attacker: Socket, message: str | bytes, times: int) -> None:
    """Send until it is all sent or the other side has had enough."""
    try:
        for number in range(times):
            await attacker.connection.write_message(message, binary=isinstance(message, bytes))
            if attacker.closed.is_set():
                return
            if number % 50 == 49:
                await asyncio.sleep(0)
    except WebSocketClosedError:
        return


_PING = json.dumps({"type": "ping", "time": 1})
_DEEP = "[" * 50_000


@pytest.mark.parametrize(
    ("message", "times", "code"),
    [
        (_PING, 3000, 1008),
        ("not json", 200, 1008),
        (_DEEP, 200, 1008),
        (b"\x00\xff" * 100, 200, 1008),
        (json.dumps({"type": "chat", "text": "x" * 200_000}), 1, 1009),
    ],
    ids=["flood", "broken", "deep", "binary", "oversized"],
)
@pytest.mark.parametrize("door", ["room", "player"])
async def test_a_bad_socket_is_closed_alone(live: Live, door: str, message: str | bytes, times: int, code: int) -> None:
    ticket = _guest(live, "Attacker")
    async with _witnesses(live):
        url = ticket["room_url"] if door == "room" else f"{ticket['player_url']}?token={ticket['token']}"
        attacker = await Socket.open(url)
        try:
            if door == "room":
                await attacker.say("hello", version=1, token=ticket["token"])
                await attacker.hear("welcome")
            await _pour(attacker, message, times)
            assert await attacker.close_code() == code
        finally:
            await attacker.end()


async def test_a_flood_on_the_data_channel_holds_up_nobody_else(live: Live) -> None:
    """A guest invited to watch pours input into its channel as fast as SCTP takes it, while the owner goes on."""
    ticket = _guest(live, "Attacker")
    async with _witnesses(live) as (_, own):
        attacker = await Player.open(f"{ticket['player_url']}?token={ticket['token']}")
        try:
            await attacker.streaming()
            assert attacker.channel is not None
            # Small ones of a kind that is counted, and the biggest that the channel takes, of no kind at all.
            for message in (up("MouseMove", 1, 1, 0, 0), b"\xfe" * 200_000):
                for _ in range(4000 if len(message) < 100 else 20):
                    attacker.send(message)
            assert attacker.channel.bufferedAmount > 0
            own.send(up("UIInteraction", json.dumps({"still": "here"})))
            await until(lambda: any("here".encode("utf-16-le") in message for message in own.got), "the owner's answer")
        finally:
            await attacker.end()


async def test_sockets_that_never_speak_cost_nothing_to_others(live: Live) -> None:
    """Half-open connections, half requests and upgrades without a hello; a real visitor still gets in."""
    place = urlsplit(live.owner.join(live.session_id)["room_url"])
    assert place.hostname is not None
    assert place.port is not None
    silent = [socket.create_connection((place.hostname, place.port), 5) for _ in range(60)]
    try:
        for number, each in enumerate(silent):
            each.sendall(b"GET /room HTTP/1.1\r\nHost: x\r\nX-Slow: " if number % 2 else b"\x16\x03\x01")
        async with _witnesses(live):
            ticket = _guest(live, "Late")
            late = await Socket.open(ticket["room_url"])
            await late.say("hello", version=1, token=ticket["token"])
            await late.hear("welcome")
            await late.end()
    finally:
        for each in silent:
            each.close()


# --- the coordinator ---


def test_a_body_that_is_too_big_is_refused(live: Live) -> None:
    for path in ("/api/v1/sessions", f"{live.path}/join", "/api/v1/sign-in"):
        body = json.dumps({"title": TITLE, "name": "x" * 5_000_000}).encode()
        try:
            reply = live.owner.ask("POST", path, body)
        except ConnectionError:
            continue  # cut off while still sending
        assert reply.status in (400, 413), path
    assert live.owner.get(live.path).status == 200


def test_names_and_labels_have_an_end(live: Live) -> None:
    reply = live.owner.ask("POST", f"{live.path}/invites", {"role": "watcher", "label": "x" * 100_000})
    assert reply.status == 400
    assert live.owner.ask("POST", f"{live.path}/join", {"name": "x" * 100_000}).status == 400
    assert live.owner.ask("POST", "/api/v1/sessions", {"title": "x" * 100_000}).status == 400


def test_somebody_who_asks_too_often_waits_and_others_do_not(live: Live) -> None:
    busy = live.stranger()
    busy.csrf()
    # A slow machine asks slowly, and its bucket fills meanwhile.
    refused = next(reply for _ in range(3000) if (reply := busy.get("/api/v1/me")).status == 429)
    assert refused.code == "rate_limited"
    assert int(refused.headers["Retry-After"]) >= 1
    assert live.stranger().get("/api/v1/me").status == 200


def test_guesses_at_a_password_are_limited(live: Live) -> None:
    guesser = live.stranger()
    replies = [guesser.ask("POST", "/api/v1/sign-in", {"name": "admin", "password": f"guess{n}"}) for n in range(15)]
    assert {reply.status for reply in replies} == {401, 429}
    assert [reply.status for reply in replies[-3:]] == [429] * 3
