"""The edges of the room: JSON off the wire, origins, tokens, and the status that is polled."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.chassis.clock import ManualClock
from runtime.chassis.entropy import new_session_id
from runtime.chassis.tokens import TokenSigner, new_signing_key
from runtime.protocol import room, signalling
from runtime.protocol.control import RelayStatus
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, Role
from runtime.relay.config import RelayConfig
from runtime.relay.core.seats import Seats
from runtime.relay.signalling.admission import Gate, origin_allowed
from runtime.relay.signalling.status import StatusBoard, write_json_file
from runtime.relay.signalling.wire import UnknownMessageError, decode

TABLES = (room.FROM_CLIENT, signalling.FROM_PLAYER, signalling.FROM_STREAMER)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
kinds = sorted({kind for table in TABLES for kind in table})
members = sorted({name for table in TABLES for shape in table.values() for name in shape.__dataclass_fields__})
bodies = st.dictionaries(st.sampled_from(members), json_values, max_size=5).flatmap(
    lambda body: st.sampled_from(kinds).map(lambda kind: {"type": kind, **body})
)


@given(st.binary(max_size=60) | st.text(max_size=60) | bodies.map(json.dumps) | json_values.map(json.dumps))
def test_whatever_arrives_is_a_message_or_an_error_for_its_sender(data: str | bytes) -> None:
    for table in TABLES:
        outcome: Any
        try:
            outcome = decode(data, table)
        except (ServiceError, UnknownMessageError) as error:
            outcome = error
        if isinstance(outcome, ServiceError):
            assert outcome.code == "bad_message"
            assert outcome.message
        elif isinstance(outcome, UnknownMessageError):
            assert len(str(outcome)) <= 40
        else:
            assert outcome.TYPE in table


@pytest.mark.parametrize(
    "data", ["[" * 200_000, '{"type":' * 50_000, '{"type":"chat","text":"\\ud800"}', "\ufeff{}", ""]
)
def test_hostile_json_is_a_bad_message(data: str) -> None:
    with pytest.raises(ServiceError) as caught:
        decode(data, room.FROM_CLIENT)
    assert caught.value.code == "bad_message"


def test_binary_frames_are_utf_8() -> None:
    assert decode('{"type":"chat","text":"й"}'.encode(), room.FROM_CLIENT) == room.Say(text="й")


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "expected"),
    [
        (None, "h", (), True),
        ("https://h", "h", (), True),
        ("https://h:443", "h", (), True),
        ("http://h:8080", "h:8080", (), True),
        ("http://h:8080", "h:9090", (), False),
        ("http://h:8080", "h:9090", ("http://h:8080",), True),
        ("http://H.example", "h.EXAMPLE", (), True),
        ("https://evil", "h", ("*",), True),
        ("https://evil", "h", ("https://good",), False),
        ("http://good", "h", ("https://good",), False),
        ("https://good.evil", "h", ("https://good",), False),
        ("null", "h", (), False),
        ("https://", "h", (), False),
        ("https://h:99999", "h", (), False),
        ("https://[::1", "h", (), False),
        ("", "", (), False),
    ],
)
def test_origins(origin: str | None, host: str, allowed: tuple[str, ...], expected: bool) -> None:
    assert origin_allowed(origin, host, allowed) is expected


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_origin_header_breaks_the_check(origin: str, host: str) -> None:
    origin_allowed(origin, host, ("https://play.example.org", "not an origin"))


def gate() -> tuple[Gate, Seats, TokenSigner, ManualClock]:
    clock = ManualClock()
    signer, session = TokenSigner(new_signing_key(), clock), new_session_id()
    config = RelayConfig(
        session_id=session,
        title="t",
        ready_file="r",
        streamer_secret="s" * 16,
        private_secret="p" * 16,
        token_public_key=signer.public_key_pem,
    )
    seats = Seats(max_players=10, players_per_participant=2)
    made = Gate(config, seats, clock)
    made.session = session  # type: ignore[attr-defined]
    return made, seats, signer, clock


def test_an_expired_token_serves_those_who_are_remembered_and_nobody_else() -> None:
    checked, seats, signer, clock = gate()
    session = checked.session  # type: ignore[attr-defined]
    token = signer.sign(session, "ben", Role.WATCHER, "Ben", 60)[0]
    claims = checked.identify(token)
    clock.advance(3600)
    with pytest.raises(ServiceError) as caught:
        checked.identify(token)
    assert caught.value.code == "token_expired"
    seats.take(claims, "Ben", "resume-secret", 0)
    assert checked.identify(token).participant_id == "ben"
    assert checked.identify("", "resume-secret").participant_id == "ben"
    for wrong in ("", "resume-secreT", "\ud800"):
        with pytest.raises(ServiceError):
            checked.identify("", wrong)
    seats.kick("ben")
    for attempt in ((token, ""), ("", "resume-secret")):
        with pytest.raises(ServiceError):
            checked.identify(*attempt)


def test_a_token_of_another_key_never_serves() -> None:
    checked, _, _, clock = gate()
    stranger = TokenSigner(new_signing_key(), clock)
    token = stranger.sign(checked.session, "ben", Role.OWNER, "Ben", 60)[0]  # type: ignore[attr-defined]
    with pytest.raises(ServiceError) as caught:
        checked.identify(token)
    assert caught.value.code == "token_invalid"


def status(**changes: Any) -> RelayStatus:
    return RelayStatus(**{"version": 0, "streamer": "waiting", "participants": 0, "players": 0, **changes})


async def test_a_long_poll_answers_at_the_first_change_and_idle_time_is_none() -> None:
    board = StatusBoard()
    first = board.now.version
    waiting = asyncio.create_task(board.after(first, 30))
    await asyncio.sleep(0)
    board.update(status(idle_seconds_left=5.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    board.update(status(players=1, idle_seconds_left=4.0))
    found = await asyncio.wait_for(waiting, 5)
    assert (found.version, found.players) == (first + 1, 1)
    assert (await board.after(found.version, 0)).version == found.version
    assert (await board.after(first, 30)).version == found.version
    assert not board.end_was_read.is_set()
    board.update(status(players=1, end_reason=EndReason.IDLE))
    await board.after(None, 0)
    assert board.end_was_read.is_set()


def test_files_for_others_are_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "ready.json"
    write_json_file(str(target), {"a": 1})
    write_json_file(str(target), {"a": 2})
    assert json.loads(target.read_text()) == {"a": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["ready.json"]
    with pytest.raises(OSError, match="No such file"):
        write_json_file(str(tmp_path / "gone" / "ready.json"), {})
