"""The quality menu of Epic's page: shown where there are layers to choose from, and obeyed."""

from __future__ import annotations

from typing import Any, cast

import pytest

from runtime.chassis.lifecycle import Background
from runtime.protocol import signalling as sig
from runtime.relay.signalling.players import Player, Players
from runtime.relay.signalling.ports import MediaPlane


class Media:
    """The media plane with a number of simulcast layers, as far as offers go."""

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self.limits: list[tuple[str, int | None]] = []

    async def offer_player(self, player_id: str) -> str:
        return "an offer"

    def limit_layers(self, player_id: str, layers: int | None, temporal: int | None = None) -> None:
        self.limits.append((player_id, layers))


class Page:
    """A socket that remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def send(self, body: dict[str, Any]) -> None:
        self.heard.append(body)

    def shut(self, code: int, reason: str = "") -> None:
        raise AssertionError("closed")


async def subscribed(media: Media) -> tuple[Players, Player, Page]:
    page = Page()
    players = Players(cast(MediaPlane, media), lambda: "Streamer", cast(Background, None))
    player = players.add("anna", cast(Any, page), {})
    await players.receive(player, sig.Subscribe(streamerId="Streamer"), 0.0)
    return players, player, page


@pytest.mark.parametrize(("layers", "sfu"), [(1, False), (3, True)])
async def test_the_menu_is_shown_only_where_there_are_layers(layers: int, sfu: bool) -> None:
    _, _, page = await subscribed(Media(layers))
    assert [body["sfu"] for body in page.heard if body["type"] == "offer"] == [sfu]


@pytest.mark.parametrize(("chosen", "limit"), [(0, None), (1, 2), (2, 1), (9, 1), (-1, None)])
async def test_the_first_entry_is_the_best_layer(chosen: int, limit: int | None) -> None:
    media = Media(3)
    players, player, _ = await subscribed(media)
    await players.receive(player, sig.LayerPreference(spatialLayer=chosen, temporalLayer=0), 0.0)
    assert media.limits == [(player.player_id, limit)]


async def test_a_preference_means_nothing_where_there_is_one_layer() -> None:
    media = Media(1)
    players, player, _ = await subscribed(media)
    await players.receive(player, sig.LayerPreference(spatialLayer=2, temporalLayer=0), 0.0)
    assert not media.limits
