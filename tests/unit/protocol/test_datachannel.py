"""The data-channel vocabulary against byte strings written down from Epic's page, and against noise."""

from __future__ import annotations

import json
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.protocol import datachannel as dc
from runtime.protocol.datachannel import Direction, MalformedMessageError, Vocabulary

TO_STREAMER = Vocabulary.built_in(Direction.TO_STREAMER)


def shape(name: str) -> dc.Shape:
    found = TO_STREAMER.named(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("wire", "name", "values"),
    [
        (bytes.fromhex("3c4100"), "KeyDown", (65, 0)),
        (bytes.fromhex("3d41"), "KeyUp", (65,)),
        (bytes.fromhex("48000080ff7f"), "MouseDown", (0, 32768, 32767)),
        (bytes.fromhex("4a00800080ffff0100"), "MouseMove", (32768, 32768, -1, 1)),
        (bytes.fromhex("500100800080030001"), "TouchStart", (1, 32768, 32768, 3, 0, 1)),
        (bytes.fromhex("5c0001000000000000e03f"), "GamepadAnalog", (0, 1, 0.5)),
        (bytes.fromhex("320200") + "{}".encode("utf-16-le"), "UIInteraction", ("{}",)),
    ],
)
def test_messages_of_the_stock_page(wire: bytes, name: str, values: tuple[object, ...]) -> None:
    assert TO_STREAMER.numbered(wire[0]) == shape(name)
    assert shape(name).values(wire) == values
    assert shape(name).message(*values) == wire


def test_total_lengths_as_documented() -> None:
    lengths = {"KeyDown": 3, "KeyUp": 2, "KeyPress": 3, "MouseDown": 6, "MouseMove": 9, "MouseWheel": 7, "TouchEnd": 9}
    lengths |= {"GamepadButtonPressed": 4, "GamepadButtonReleased": 4, "GamepadAnalog": 11, "GamepadDisconnected": 2}
    for name, length in lengths.items():
        fixed = shape(name).fixed
        assert fixed is not None
        assert 1 + fixed.size == length, name


def test_a_string_counts_code_units_not_characters() -> None:
    wire = shape("TextboxEntry").message("a\U0001f600")
    assert wire[1:3] == struct.pack("<H", 3)
    assert shape("TextboxEntry").values(wire) == ("a\U0001f600",)


@pytest.mark.parametrize("wire", [b"\x3c", b"\x3c\x41", b"\x32", b"\x32\x05", b"\x32\x05\x00ab"])
def test_short_messages_are_refused(wire: bytes) -> None:
    found = TO_STREAMER.numbered(wire[0])
    assert found is not None
    with pytest.raises(MalformedMessageError):
        found.values(wire)


def protocol(**entries: object) -> bytes:
    return dc.text_message(255, json.dumps({"Direction": 0, **entries}))


def test_protocol_moves_a_number_and_frees_the_old_one() -> None:
    said = dc.parse_protocol(protocol(KeyDown={"id": 33, "structure": ["uint8", "uint8"]}))
    learned = TO_STREAMER.with_learned(said.shapes)
    moved = learned.numbered(33)
    assert said.direction is Direction.TO_STREAMER
    assert moved is not None
    assert moved.name == "KeyDown"
    assert learned.numbered(60) is None


def test_protocol_takes_a_number_from_a_built_in_name() -> None:
    said = dc.parse_protocol(protocol(Custom={"id": 60, "structure": []}))
    learned = TO_STREAMER.with_learned(said.shapes)
    assert learned.named("KeyDown") is None


@pytest.mark.parametrize("entry", [{"id": 50}, {"id": 50, "structure": []}])
def test_unreal_5_1_omits_three_layouts(entry: dict[str, object]) -> None:
    (found,) = dc.parse_protocol(protocol(UIInteraction=entry)).shapes
    assert found.layout == ("string",)


@pytest.mark.parametrize(
    "entry", [5, {"id": 256}, {"id": -1}, {"id": True}, {"id": "7"}, {}, {"id": 7, "structure": ["int128"]}, None]
)
def test_useless_entries_are_left_out(entry: object) -> None:
    said = dc.parse_protocol(protocol(Bad=entry, KeyUp={"id": 61, "structure": ["uint8"]}))
    assert [s.name for s in said.shapes] == ["KeyUp"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Direction":2}', '{"Direction":true}', "[" * 50_000, "nul"])
def test_what_is_no_protocol_message_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessageError):
        dc.parse_protocol(dc.text_message(255, text))


def test_protocol_round_trip() -> None:
    shapes = [shape("KeyDown"), shape("UIInteraction")]
    assert dc.parse_protocol(dc.protocol_message(Direction.TO_STREAMER, shapes)).shapes == tuple(shapes)


def test_multiplexed_framing_counts_bytes() -> None:
    wire = dc.multiplexed("12", b"\x3d\x41")
    assert wire == b"\xc7\x04\x00" + "12".encode("utf-16-le") + b"\x3d\x41"
    assert dc.parse_multiplexed(wire) == ("12", b"\x3d\x41")
    assert dc.channel_relay_status("1", True) == b"\xc6\x02\x001\x00\x01"


@pytest.mark.parametrize("wire", [b"\xc7", b"\xc7\x00", b"\xc7\x02\x001\x00", b"\xc7\x03\x00abcd", b"\xc7\xff\xffab"])
def test_bad_multiplexed_framing_is_refused(wire: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        dc.parse_multiplexed(wire)


def test_multiplexed_inside_multiplexed_is_refused() -> None:
    with pytest.raises(MalformedMessageError):
        dc.parse_multiplexed(dc.multiplexed("1", dc.multiplexed("2", b"\x3d\x41")))


@given(st.binary(max_size=400))
def test_noise_never_raises_anything_else(noise: bytes) -> None:
    for parse in (dc.parse_protocol, dc.parse_multiplexed):
        with suppress(MalformedMessageError):
            parse(noise)
    if noise and (found := TO_STREAMER.numbered(noise[0])) is not None:
        with suppress(MalformedMessageError):
            found.values(noise)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
entries = st.fixed_dictionaries({}, optional={"id": json_values, "structure": json_values | st.just(["uint8"])})


@given(
    st.dictionaries(st.text(max_size=70) | st.sampled_from(sorted(dc.TO_STREAMER)), entries | json_values, max_size=8)
)
def test_any_protocol_body_leaves_a_usable_vocabulary(body: dict[str, object]) -> None:
    said = dc.parse_protocol(dc.text_message(255, json.dumps({**body, "Direction": 0})))
    learned = TO_STREAMER.with_learned(said.shapes)
    for found in said.shapes:
        assert learned.numbered(found.number) == found


@given(st.sampled_from(sorted(n for n, (_, layout) in dc.TO_STREAMER.items() if layout)), st.data())
def test_what_is_encoded_decodes_to_the_same(name: str, data: st.DataObject) -> None:
    kinds = {
        "uint8": st.integers(0, 255),
        "uint16": st.integers(0, 65535),
        "int16": st.integers(-32768, 32767),
        "double": st.floats(allow_nan=False),
        "string": st.text(max_size=50),
    }
    values = tuple(data.draw(kinds[kind]) for kind in shape(name).layout or ())
    assert shape(name).values(shape(name).message(*values)) == values
