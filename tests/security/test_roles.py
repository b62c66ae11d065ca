"""Who may do what in a session, tried over raw sockets with whatever token an attacker may hold."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from tornado.httpclient import HTTPClientError

from runtime.chassis.clock import SystemClock
from runtime.chassis.entropy import new_session_id
from runtime.chassis.tokens import TokenSigner, new_signing_key
from runtime.protocol import datachannel as dc
from runtime.protocol.states import Role
from tests.integration.relay_room.relay_harness import Player, Socket, up
from tests.support.waiting import until

from .conftest import Live
from .people import secret_of

RESPONSE = dc.FROM_STREAMER["Response"][0]


def _ticket(live: Live, role: str | None, name: str) -> dict[str, Any]:
    """A way into the session as its owner (None) or by an invitation for ``role``."""
    if role is None:
        return dict(live.owner.join(live.session_id, name=name))
    return dict(
        live.stranger().join(live.session_id, invite=secret_of(live.owner.invite(live.session_id, role)), name=name)
    )


@asynccontextmanager
async def _room(ticket: dict[str, Any], **hello: Any) -> AsyncIterator[Socket]:
    socket = await Socket.open(ticket["room_url"])
    try:
        await socket.say("hello", version=1, token=ticket["token"], **hello)
        await until(lambda: socket.heard or socket.closed.is_set(), "an answer to hello")
        yield socket
    finally:
        await socket.end()


@asynccontextmanager
async def _player(ticket: dict[str, Any]) -> AsyncIterator[Player]:
    player = await Player.open(f"{ticket['player_url']}?token={ticket['token']}")
    try:
        await player.streaming()
        yield player
    finally:
        await player.end()


def _ui(text: str) -> bytes:
    return up("UIInteraction", json.dumps({"who": text}))


def _responses(player: Player) -> str:
    """What the application answered to interactions, as this player heard it."""
    return " ".join(dc.text_of(message) for message in player.got if message[0] == RESPONSE)


async def test_a_watchers_input_never_reaches_the_application(live: Live) -> None:
    """The sample title answers every UIInteraction to all pages, so silence about one means that it never arrived."""
    async with (
        _room(_ticket(live, None, "Owner")) as owner_room,
        _player(_ticket(live, None, "Owner")) as owner,
        _player(_ticket(live, "watcher", "Watcher")) as watcher,
    ):
        assert (await owner_room.hear("welcome"))["control"]["holder"] is not None
        refused = _refused(live)
        for message in (
            _ui("watcher"),
            up("KeyDown", 65, 0),
            up("MouseDown", 0, 10, 10),
            up("Command", json.dumps({"ConsoleCommand": "stat fps"})),
            up("Command", json.dumps({"Resolution.Width": 640, "Resolution.Height": 360})),
            # Under a number nobody knows, and in an envelope for another player, as only an SFU may send it.
            bytes([200]) + _ui("unknown"),
            bytes([dc.MULTIPLEXED_NUMBER]) + b"\x02\x001\x00" + _ui("wrapped"),
        ):
            watcher.send(message)
        await until(lambda: _refused(live)["forged"] > refused["forged"], "the last of them to arrive")
        owner.send(_ui("owner"))
        for player in (owner, watcher):
            await until(lambda player=player: '"owner"' in _responses(player), "the answer to the owner's interaction")
            for word in ("watcher", "wrapped", "unknown"):
                assert f'"{word}"' not in _responses(player)
        assert _refused(live)["denied"] == refused["denied"] + 6


def _refused(live: Live) -> dict[str, float]:
    """What the relay counted of data-channel messages not passed on, by cause."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{live.private_port}/metrics",
        headers={"Authorization": f"Bearer {live.relay_config['private_secret']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    counted = re.findall(r'^pixelstream_relay_data_messages_total\{cause="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {"denied": 0.0, "forged": 0.0, **{cause: float(count) for cause, count in counted}}


async def test_a_watchers_words_change_nobody_elses_role(live: Live) -> None:
    async with _room(_ticket(live, None, "Owner")) as owner, _room(_ticket(live, "watcher", "Watcher")) as watcher:
        own, other = (await owner.hear("welcome"))["you"], (await watcher.hear("welcome"))["you"]
        for kind, members in (
            ("kick", {"participant": own}),
            ("mute", {"participant": own, "muted": True}),
            ("lock", {"locked": True}),
            ("owner.transfer", {"participant": other}),
            ("control.take", {}),
            ("control.grant", {"participant": other}),
            ("control.deny", {"participant": other}),
            ("control.release", {}),
        ):
            count = len(watcher.all("error"))
            await watcher.say(kind, **members)
            error = await watcher.hear("error", count + 1)
            assert error["about"] == kind
            assert error["code"] in ("forbidden", "not_in_control", "control_denied", "bad_message"), error
        async with _room(_ticket(live, "watcher", "Witness")) as witness:
            seen = await witness.hear("welcome")
            assert seen["control"]["holder"] == own
            assert seen["locked"] is False
            assert {p["id"]: p["role"] for p in seen["participants"]}[own] == "owner"
            assert {p["id"]: p["role"] for p in seen["participants"]}[other] == "watcher"


def _tokens(live: Live) -> dict[str, str]:
    """What somebody without a right to come in may hold."""
    config = json.loads((live.stage.stack.directory / "coordinator.json").read_text())
    genuine = TokenSigner(config["token_signing_key"], SystemClock())
    stranger = TokenSigner(new_signing_key(), SystemClock())
    who = ("aaaaaaaaaaaaaaaa", Role.OWNER, "Eve")
    good, _ = genuine.sign(live.session_id, *who, 600)
    head, body, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    public = genuine.public_key_pem
    # PyJWT refuses to sign with a public key by itself, so the confused token is put together by hand.
    confused = _b64(b'{"alg":"HS256","typ":"JWT"}') + "." + body
    return {
        "none": "",
        "garbage": "x" * 200,
        "of another session": genuine.sign(new_session_id(), *who, 600)[0],
        "expired": genuine.sign(live.session_id, *who, -3600)[0],
        "of another installation": stranger.sign(live.session_id, *who, 600)[0],
        "unsigned": jwt.encode(claims, None, algorithm="none"),
        "signed with the public key": f"{confused}.{_b64(_hmac(public.encode(), confused.encode()))}",
        "with another role": f"{head}.{_b64(json.dumps({**claims, 'sub': 'b' * 16}).encode())}.{signature}",
        "without its signature": f"{head}.{body}.",
        "for another use": jwt.encode(
            {**claims, "iss": "pixelstream-viewer"}, config["cookie_secret"], algorithm="HS256"
        ),
    }


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


async def test_no_token_but_a_good_one_opens_anything(live: Live) -> None:
    ticket = live.owner.join(live.session_id)
    for name, token in _tokens(live).items():
        with pytest.raises(HTTPClientError) as refused:
            await Socket.open(f"{ticket['player_url']}?token={token}")
        assert refused.value.code == 401, name
        async with _room({**ticket, "token": token}) as socket:
            assert socket.kinds() == ["error"], name
            assert await socket.close_code() == 1008, name
    # The same door opens for a token that is right, so it was the token each time.
    async with _room(ticket) as socket:
        await socket.hear("welcome")


async def test_a_kicked_participant_stays_out_with_the_same_token_and_with_a_new_one(live: Live) -> None:
    guest, link = live.stranger(), secret_of(live.owner.invite(live.session_id))
    ticket = guest.join(live.session_id, invite=link, name="Rude")
    async with _room(_ticket(live, None, "Owner")) as owner, _room(ticket) as rude:
        resume = (await rude.hear("welcome"))["resume"]
        await owner.say("kick", participant=ticket["participant"])
        assert await rude.close_code() == 4001
        again = guest.join(live.session_id, invite=link, name="Polite")
        assert again["participant"] == ticket["participant"]
        for token in (ticket["token"], again["token"]):
            with pytest.raises(HTTPClientError) as refused:
                await Socket.open(f"{ticket['player_url']}?token={token}")
            assert refused.value.code == 403
            async with _room({**ticket, "token": token}, resume=resume) as socket:
                assert (await socket.hear("error"))["code"] == "kicked"
                assert await socket.close_code() == 4001


async def test_a_guest_cannot_make_itself_another_role_or_person(live: Live) -> None:
    """What the token says counts, whatever else the page claims."""
    ticket = _ticket(live, "watcher", "Modest")
    async with _room(ticket, role="owner", participant="a" * 16, sub="a" * 16) as socket:
        welcome = await socket.hear("welcome")
        assert welcome["you"] == ticket["participant"]
        assert {p["id"]: p["role"] for p in welcome["participants"]}[welcome["you"]] == "watcher"
    expires = jwt.decode(ticket["token"], options={"verify_signature": False})["exp"]
    assert time.time() < expires <= time.time() + 6 * 3600


async def test_a_turn_credential_is_its_participants_own(live: Live) -> None:
    """Nobody's relay traffic can be charged to, or cut off with, somebody else's credential."""
    tickets = [_ticket(live, "watcher", "First"), _ticket(live, "watcher", "Second")]
    told = []
    for ticket in tickets:
        player = await Socket.open(f"{ticket['player_url']}?token={ticket['token']}")
        try:
            (server,) = (await player.hear("config"))["peerConnectionOptions"]["iceServers"]
        finally:
            await player.end()
        assert server == ticket["ice_servers"][0]
        expires, _, who = server["username"].partition(":")
        assert who == ticket["participant"]
        assert time.time() < int(expires) <= time.time() + 6 * 3600
        told.append(server["credential"])
    assert told[0] != told[1]
    # The host that relays them keeps none.
    assert live.relay_config["ice_servers"] == []
