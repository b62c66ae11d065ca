"""Noise on every socket and channel of a real relay: no traceback (the harness looks), and nobody else notices."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClosedError

from runtime.protocol import room, signalling
from runtime.protocol.states import Role
from tests.integration.relay_room.relay_harness import (
    PROTOCOL,
    STREAMER_SECRET,
    RelayProcess,
    Socket,
    running_relay,
    up,
)
from tests.support.waiting import until

LIMITS: dict[str, Any] = {
    "bad_messages": 1_000_000,
    "player_messages_burst": 1_000_000,
    "room_messages_burst": 1_000_000,
    "chat_messages_burst": 1_000_000,
}
SEED = 20_261_123
ROUNDS = 400
WORDS: list[Any] = [
    None, True, -1, 0, 2**63, 1e308, "", "x" * 3000, "relay", "1", "\u202e", [], {}, [[]] * 50, {"sdp": 1}, "v=0\r\n",
    "a" * 16,
]  # fmt: skip


def noise(dice: random.Random, kinds: list[str], members: list[str]) -> str | bytes:
    body: Any = {"type": dice.choice(kinds)}
    for member in dice.sample(members, dice.randint(0, 4)):
        body[member] = dice.choice(WORDS)
    text = json.dumps(body)
    match dice.randint(0, 9):
        case 0:
            return dice.randbytes(dice.randint(0, 80))
        case 1:
            return text[: dice.randint(0, len(text))]
        case 2:
            return "[" * dice.randint(1, 60_000)
        case 3:
            return text.encode()[:-1] + b"\xff}"
        case _:
            return text


async def shower(socket: Socket, dice: random.Random, table: dict[str, Any], count: int) -> None:
    kinds = [*table, "unheard.of", ""]
    members = sorted({name for shape in table.values() for name in shape.__dataclass_fields__})
    for _ in range(count):
        data = noise(dice, kinds, members)
        try:
            await socket.connection.write_message(data, binary=isinstance(data, bytes))
        except WebSocketClosedError:
            return


async def connect(relay: RelayProcess, url: str) -> Socket:
    socket = await Socket.open(url)
    relay.open_sockets.append(socket)
    return socket


async def test_json_noise_on_every_socket(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    async with running_relay(tmp_path, limits=LIMITS, log={"level": "warning"}) as relay:
        anna = await relay.room("anna", Role.OWNER)
        await anna.hear("welcome")
        player = await connect(relay, f"ws://{relay.public}/player?token={relay.token('eve')}")
        await shower(player, dice, dict(signalling.FROM_PLAYER), ROUNDS)
        stranger = await relay.raw_room()
        await shower(stranger, dice, {k: v for k, v in room.FROM_CLIENT.items() if k != "hello"}, 50)
        member = await relay.room("eve")
        await shower(member, dice, dict(room.FROM_CLIENT), ROUNDS)
        streamer = await connect(relay, f"ws://{relay.private}/streamer/{STREAMER_SECRET}")
        await shower(streamer, dice, dict(signalling.FROM_STREAMER), ROUNDS)
        for page in (player, member):
            await until(lambda p=page: len(p.all("error")) > ROUNDS // 20, "what is malformed is answered")  # type: ignore[misc]
            assert not page.closed.is_set()
        figures = (await relay.get("/metrics")).body.decode()
        for cause in ("malformed", "unknown"):
            assert f'pixelstream_relay_socket_messages_total{{cause="{cause}"}}' in figures
        await anna.say("ping", time=1)
        await anna.hear("pong")
        real = await relay.streamer()
        stream = await relay.player("anna", Role.OWNER)
        await stream.streaming()
        stream.send(up("KeyDown", 65, 0))
        await until(lambda: up("KeyDown", 65, 0) in real.got, "the real ones go on")


async def test_noise_on_the_data_channels(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    async with running_relay(tmp_path, limits=LIMITS, log={"level": "warning"}) as relay:
        streamer = await relay.streamer()
        owner, eve = await relay.player("anna", Role.OWNER), await relay.player("eve")
        await owner.streaming()
        await eve.streaming()
        for _ in range(ROUNDS):
            length = dice.choice([0, 1, 2, 3, 9, 60, 3000])
            eve.send(bytes((dice.randint(0, 255),)) + dice.randbytes(length))
            owner.send(bytes((dice.randint(95, 255),)) + dice.randbytes(length))
            streamer.send(bytes((dice.randint(0, 255),)) + dice.randbytes(length))
        for message in PROTOCOL:
            streamer.send(message)
        eve.send(up("LatencyTest", "{}"))
        owner.send(up("KeyDown", 65, 0))
        await until(lambda: up("KeyDown", 65, 0) in streamer.got, "the owner goes on")
        await eve.streaming()
        figures = (await relay.get("/metrics")).body.decode()
        for cause in ("malformed", "denied", "streamer_unknown"):
            assert f'pixelstream_relay_data_messages_total{{cause="{cause}"}}' in figures
