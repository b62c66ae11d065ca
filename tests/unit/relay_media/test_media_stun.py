"""STUN against the published test vectors, and against anything at all."""

from __future__ import annotations

import pytest
from aioice import stun as reference
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core import stun

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
# RFC 5769 section 2.1: sample request with long-term-free, short-term credentials.
SAMPLE_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b1"
    "51263b36000600096576746a3a6836765920202000080014"
    "9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)


def test_the_rfc_5769_sample_request() -> None:
    message = stun.parse(SAMPLE_REQUEST)
    assert message.username == b"evtj:h6vY"
    assert message.controlled
    assert not message.nominated
    assert message.authentic(PASSWORD)
    assert not message.authentic(PASSWORD + b"x")
    assert stun.local_fragment(SAMPLE_REQUEST) == b"evtj"


def test_any_changed_byte_is_noticed() -> None:
    for position in range(len(SAMPLE_REQUEST)):
        changed = bytearray(SAMPLE_REQUEST)
        changed[position] ^= 0x01
        with pytest.raises(stun.StunError):
            stun.parse(bytes(changed))


def test_a_right_fingerprint_does_not_replace_integrity() -> None:
    forged = stun.binding_request(b"t" * 12, "a:b", b"wrong", tie_breaker=1, controlled=False, nominate=True)
    assert not stun.parse(forged).authentic(b"right")


@given(
    st.binary(min_size=12, max_size=12),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=3, max_size=40),
    st.booleans(),
    st.booleans(),
)
def test_our_requests_are_read_by_another_implementation(
    transaction: bytes, username: str, controlled: bool, nominate: bool
) -> None:
    data = stun.binding_request(
        transaction, username, PASSWORD, tie_breaker=5, controlled=controlled, nominate=nominate
    )
    theirs = reference.parse_message(data)
    assert theirs.check_message_integrity(PASSWORD)
    assert theirs.attributes["USERNAME"] == username
    assert ("USE-CANDIDATE" in theirs.attributes) == nominate
    ours = stun.parse(data)
    assert (ours.transaction, ours.nominated, ours.controlled) == (transaction, nominate, controlled)


@given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), st.integers(0, 65535))
def test_mapped_addresses_survive_the_round_trip(ip: bytes, port: int) -> None:
    response = stun.parse(stun.binding_response(b"0123456789ab", ip, port, PASSWORD))
    assert response.kind == stun.BINDING_RESPONSE
    assert stun.mapped_address(response) == (ip, port)


def test_their_requests_are_read_by_us() -> None:
    theirs = reference.Message(reference.Method.BINDING, reference.Class.REQUEST, b"0123456789ab")
    theirs.attributes["USERNAME"] = "abc:def"
    theirs.attributes["ICE-CONTROLLING"] = 7
    theirs.attributes["USE-CANDIDATE"] = None
    theirs.add_message_integrity(PASSWORD)
    message = stun.parse(bytes(theirs))
    assert message.nominated
    assert message.authentic(PASSWORD)


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_stun_errors(data: bytes) -> None:
    stun.local_fragment(data)
    with pytest.raises(stun.StunError):
        stun.parse(data)


@given(st.data())
def test_damaged_messages_raise_only_stun_errors(data: st.DataObject) -> None:
    damaged = bytearray(SAMPLE_REQUEST)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    stun.local_fragment(cut)
    try:
        message = stun.parse(cut)
    except stun.StunError:
        return
    assert cut == SAMPLE_REQUEST or not message.authentic(PASSWORD)
