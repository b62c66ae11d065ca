"""Which figures a page is told."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.relay.rtc.interface import MediaStats, PlayerStats
from runtime.relay.signalling import statistics
from runtime.relay.signalling.statistics import room_stats


def player(player_id: str) -> PlayerStats:
    zeros: dict[str, Any] = dict.fromkeys(PlayerStats.__dataclass_fields__, 0)
    return PlayerStats(**{**zeros, "player_id": player_id, "rtt_ms": None, "estimate_bps": None, "address": None})


def test_the_owner_is_told_of_all_players_and_others_of_their_own() -> None:
    stats = MediaStats(streamer=None, players=tuple(player(i) for i in "1234"))
    everything, own = room_stats(stats, {"1": "anna", "2": "ben", "3": "anna"})
    assert [p["id"] for p in everything.players] == ["1", "2", "3"]
    assert {who: [p["id"] for p in told.players] for who, told in own.items()} == {"anna": ["1", "3"], "ben": ["2"]}
    assert "name" not in everything.players[0]


def test_each_player_is_looked_at_once_however_many_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    of_one = statistics._player

    def counted(found: PlayerStats, participant_id: str, name: str) -> Any:
        looked.append(found.player_id)
        return of_one(found, participant_id, name)

    monkeypatch.setattr(statistics, "_player", counted)
    numbers = [str(i) for i in range(60)]
    _, own = room_stats(MediaStats(streamer=None, players=tuple(map(player, numbers))), {n: f"p{n}" for n in numbers})
    assert len(own) == 60
    assert looked == numbers
