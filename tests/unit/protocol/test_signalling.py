"""Epic's signalling messages: every type once, decoded leniently, encoded as Epic's builders do."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from runtime.chassis import codec
from runtime.protocol import signalling as sig

# As they travel in a run of Epic's page, JSStreamer and server.
CAPTURED: list[tuple[str, dict[str, Any]]] = [
    ("streamer", {"type": "endpointId", "id": "DefaultStreamer", "protocolVersion": "1.1.0"}),
    ("streamer", {"type": "offer", "sdp": "v=0", "playerId": "relay", "multiplex": True, "scalabilityMode": "L1T1"}),
    ("streamer", {"type": "offer", "sdp": "v=0", "playerId": 101, "unheard_of": {"a": 1}}),
    ("streamer", {"type": "disconnectPlayer", "playerId": "relay", "reason": "kicked"}),
    ("streamer", {"type": "ping", "time": 1_795_000_000_000}),
    ("player", {"type": "listStreamers"}),
    ("player", {"type": "subscribe", "streamerId": "DefaultStreamer"}),
    ("player", {"type": "answer", "sdp": "v=0", "minBitrateBps": 0, "maxBitrateBps": 0, "playerId": ""}),
    ("player", {"type": "layerPreference", "spatialLayer": 0, "temporalLayer": 0, "playerId": ""}),
    (
        "player",
        {
            "type": "iceCandidate",
            "candidate": {"candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0},
        },
    ),
    ("player", {"type": "dataChannelRequest"}),
]


@pytest.mark.parametrize(("side", "body"), CAPTURED)
def test_captured_messages_decode(side: str, body: dict[str, Any]) -> None:
    table = sig.FROM_STREAMER if side == "streamer" else sig.FROM_PLAYER
    shape = table[body["type"]]
    message = codec.convert(body, shape)
    encoded = sig.to_json_object(message)
    known = {key: value for key, value in body.items() if key != "unheard_of"}
    assert all(encoded[key] == value for key, value in known.items())
    assert next(iter(encoded)) == "type"


def test_every_message_is_in_the_union_once() -> None:
    types = [shape.TYPE for shape in get_args(sig.Message)]
    assert len(types) == len(set(types))
    for table in (sig.FROM_STREAMER, sig.FROM_PLAYER, sig.TO_STREAMER):
        for name, shape in table.items():
            assert name == shape.TYPE
            assert name in types


def test_absent_members_stay_absent() -> None:
    assert sig.to_json_object(sig.Offer(sdp="v=0")) == {"type": "offer", "sdp": "v=0"}
