"""RTP header surgery: extensions, RTX, and nothing raised for any bytes."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core import rtp

HEAD = struct.pack("!BBHII", 0x90, 96, 7, 8, 9)


def one_byte(*elements: tuple[int, bytes]) -> bytes:
    body = b"".join(bytes([number << 4 | (len(value) - 1)]) + value for number, value in elements)
    body += bytes(-len(body) % 4)
    return struct.pack("!HH", 0xBEDE, len(body) // 4) + body


def two_byte(*elements: tuple[int, bytes]) -> bytes:
    body = b"".join(bytes([number, len(value)]) + value for number, value in elements)
    body += bytes(-len(body) % 4)
    return struct.pack("!HH", 0x1000, len(body) // 4) + body


def values(packet: bytes) -> dict[int, bytes]:
    return {number: packet[pos : pos + size] for number, pos, size in rtp.extensions(packet)}


def test_extensions_of_both_forms_are_found() -> None:
    elements = ((1, b"abc"), (5, b"x"), (14, b"0123456789abcdef"))
    for form in (one_byte, two_byte):
        packet = HEAD + form(*elements) + b"payload"
        assert values(packet) == dict(elements)
        assert rtp.payload(packet) == b"payload"


def test_csrcs_and_padding_are_not_payload() -> None:
    packet = struct.pack("!BBHII", 0xB2, 96, 7, 8, 9) + b"csr1csr2" + one_byte((3, b"q")) + b"data" + b"\0\0\3"
    assert rtp.payload(packet) == b"data"
    assert values(packet) == {3: b"q"}


def test_renumbering_keeps_length_and_blanks_what_is_not_wanted() -> None:
    for form in (one_byte, two_byte):
        packet = HEAD + form((1, b"abc"), (2, b"gone"), (3, b"z")) + b"payload"
        out = rtp.renumber_extensions(packet, {1: 3, 3: 1})
        assert len(out) == len(packet)
        assert values(out) == {3: b"abc", 1: b"z"}
        assert rtp.payload(out) == b"payload"


def test_a_number_that_only_fits_the_two_byte_form_is_blanked_in_the_other() -> None:
    packet = HEAD + one_byte((1, b"abc")) + b"payload"
    assert values(rtp.renumber_extensions(packet, {1: 20})) == {}
    assert values(rtp.renumber_extensions(HEAD + two_byte((1, b"abc")), {1: 20})) == {20: b"abc"}


def test_packets_need_no_touch_unless_a_number_means_something_else() -> None:
    assert rtp.extension_numbers({"a": 1, "b": 2}, {"a": 1}) is None
    assert rtp.extension_numbers({"a": 1, "b": 2}, {"a": 1, "c": 2}) == ((1, 1), (2, 0))
    assert rtp.extension_numbers({"a": 1}, {"a": 4}) == ((1, 4),)


def test_a_number_that_is_not_passed_on_is_cleared_where_the_target_uses_it() -> None:
    source, target = {"a": 1}, {"a": 1}
    assert rtp.extension_numbers(source, target, others={5}, reserved={14}) is None
    assert rtp.extension_numbers(source, target, others={14}, reserved={14}) == ((1, 1),)
    assert rtp.extension_numbers({}, {"a": 5}, others={5}) == ()


def test_retransmission_form() -> None:
    packet = struct.pack("!BBHII", 0x90, 0x80 | 96, 0xABCD, 1000, 1) + one_byte((1, b"abc")) + b"payload"
    resent = rtp.retransmission(packet, 97, 5, 2)
    assert struct.unpack_from("!BBHII", resent) == (0x90, 0x80 | 97, 5, 1000, 2)
    assert values(resent) == {1: b"abc"}
    assert rtp.payload(resent) == b"\xab\xcdpayload"


def test_abs_send_time_is_6_18_fixed_point_and_wraps() -> None:
    assert rtp.abs_send_time(1.0) == (1 << 18).to_bytes(3, "big")
    assert rtp.abs_send_time(64.5) == (1 << 17).to_bytes(3, "big")


@given(st.binary(min_size=12, max_size=120))
def test_no_bytes_raise(data: bytes) -> None:
    """Packets come decrypted from an authenticated peer, but not from one that must be right."""
    list(rtp.extensions(data))
    rtp.payload(data)
    rtp.header_bytes(data)
    assert len(rtp.renumber_extensions(data, {i: 15 - i for i in range(15)})) == len(data)
    rtp.retransmission(data, 97, 1, 2)


@given(
    st.lists(st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16)), max_size=6, unique_by=lambda e: e[0])
)
def test_whatever_was_put_in_is_found(elements: list[tuple[int, bytes]]) -> None:
    packet = HEAD + one_byte(*elements) + b"payload"
    assert values(packet) == dict(elements)
    for number, value in elements:
        offset = rtp.extension_offset(packet, number, len(value))
        assert packet[offset : offset + len(value)] == value
    assert rtp.extension_offset(packet, 15, 3) == 0
