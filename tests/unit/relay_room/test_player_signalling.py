"""How often a page may describe itself, and whose wish for a keyframe reaches the media plane."""

from __future__ import annotations

from typing import Any, cast

import pytest

from runtime.chassis.clock import ManualClock
from runtime.chassis.entropy import new_session_id
from runtime.chassis.lifecycle import Background
from runtime.chassis.tokens import TokenSigner, new_signing_key
from runtime.protocol import datachannel as dc
from runtime.protocol import signalling as sig
from runtime.protocol.errors import ServiceError
from runtime.relay.config import RelayConfig
from runtime.relay.rtc.interface import BadDescriptionError
from runtime.relay.signalling.players import Players
from runtime.relay.signalling.ports import MediaPlane
from runtime.relay.signalling.stage import Stage


class Media:
    """Counts what it is asked."""

    layers = 1

    def __init__(self) -> None:
        self.answers = 0
        self.wants_keyframe: list[str] = []

    async def offer_player(self, player_id: str) -> str:
        return "an offer"

    async def accept_player_answer(self, player_id: str, text: str) -> None:
        self.answers += 1
        if text != "good":
            raise BadDescriptionError("no")

    def request_keyframe(self, player_id: str) -> None:
        self.wants_keyframe.append(player_id)

    def set_controller(self, player_ids: frozenset[str]) -> None:
        pass


class Page:
    def send(self, body: dict[str, Any]) -> None:
        pass

    def shut(self, code: int, reason: str = "") -> None:
        raise AssertionError("closed")


async def code_of(players: Players, player: Any, message: sig.Message, now: float) -> str:
    try:
        await players.receive(player, message, now)
    except ServiceError as error:
        return error.code
    return ""


async def test_answers_are_read_as_often_as_offers_are_made() -> None:
    media = Media()
    players = Players(cast(MediaPlane, media), lambda: "Streamer", cast(Background, None))
    player = players.add("anna", cast(Any, Page()), {})
    # A page that is offered again and again, as fast as that is granted, may answer each time.
    now, granted = 0.0, 0
    for _ in range(100):
        now += 0.1
        if not await code_of(players, player, sig.Subscribe(streamerId="Streamer"), now):
            granted += 1
            assert await code_of(players, player, sig.Answer(sdp="good"), now) == ""
    assert media.answers == granted > 10
    codes = [await code_of(players, player, sig.Answer(sdp="bad"), now) for _ in range(100)]
    assert set(codes[10:]) == {"rate_limited"}
    assert media.answers < granted + 10


@pytest.mark.parametrize("asking", ["1", "2"])
def test_a_wish_for_a_keyframe_is_that_players_own(asking: str) -> None:
    clock = ManualClock()
    config = RelayConfig(
        session_id=new_session_id(),
        title="t",
        ready_file="r",
        streamer_secret="s" * 16,
        private_secret="p" * 16,
        token_public_key=TokenSigner(new_signing_key(), clock).public_key_pem,
    )
    media = Media()
    stage = Stage(config, clock, lambda events: cast(MediaPlane, media), cast(Any, None), cast(Background, None))
    for participant in ("anna", "ben"):
        stage.add_player(participant, cast(Any, Page()))
    shape = dc.Vocabulary.built_in(dc.Direction.TO_STREAMER).named("IFrameRequest")
    assert shape is not None
    stage.on_player_data(asking, shape.message())
    assert media.wants_keyframe == [asking]
