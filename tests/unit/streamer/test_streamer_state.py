"""Every kind of input changes the scene's state as documented, and nothing a player sends can break it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.protocol.datachannel import (
    TO_STREAMER,
    Direction,
    MalformedMessageError,
    channel_relay_status,
    multiplexed,
    parse_protocol,
)
from runtime.streamer import layout, messages
from runtime.streamer.messages import from_player, parse
from runtime.streamer.state import MAX_TEXT, SceneState, key_name


def place(x: float, y: float) -> tuple[int, int]:
    return int(x * 65536), int(y * 65536)


def give(state: SceneState, name: str, *values: Any, who: str = "", now: float = 0.0) -> None:
    assert state.apply(parse(from_player(name, *values)), who, now)


def responses(state: SceneState) -> list[dict[str, Any]]:
    return [effect.value for effect in state.take_effects() if effect.kind == "response"]


def test_a_click_is_counted_marked_and_answered() -> None:
    state = SceneState()
    give(state, "MouseDown", 2, *place(0.5, 0.25), who="Ada", now=3.0)
    assert (state.inputs, state.clicks, state.click) == (1, 1, (32768, 16384))
    assert state.button_bits == 0b100
    (mark,) = state.marks
    assert (mark.kind, mark.x, mark.y, mark.label) == ("down", 0.5, 0.25, "right · Ada")
    (answer,) = responses(state)
    assert answer["type"] == "click"
    assert (answer["x"], answer["y"], answer["button"], answer["target"]) == (0.5, 0.25, "right", "scene")
    give(state, "MouseUp", 2, *place(0.5, 0.25))
    assert state.button_bits == 0
    assert state.log[-1] == ("MouseUp right  0.500 0.250", "")


@pytest.mark.parametrize("index", range(4))
def test_the_buttons_of_the_scene(index: int) -> None:
    state = SceneState()
    name, box = layout.BUTTONS[index]
    assert layout.target(*box.centre) == name
    give(state, "MouseDown", 0, *place(*box.centre), now=10.0)
    assert state.toggle_bits(10.1) == 1 << index
    assert responses(state)[0]["target"] == name
    if name == "clear":
        assert state.clear_wanted
        assert state.toggle_bits(12.0) == 0
    else:
        give(state, "MouseDown", 0, *place(*box.centre), now=11.0)
        assert state.toggle_bits(11.0) == 0


def test_clicking_the_text_field_asks_for_a_keyboard_and_elsewhere_puts_it_away() -> None:
    state = SceneState()
    give(state, "MouseDown", 0, *place(*layout.TEXT_FIELD.centre))
    keyboard = next(effect.value for effect in state.take_effects() if effect.kind == "keyboard")
    assert keyboard["command"] == "onScreenKeyboard"
    assert keyboard["showOnScreenKeyboard"] is True
    assert keyboard["contents"] == ""
    assert state.text_focus
    give(state, "MouseDown", 0, *place(0.5, 0.5))
    keyboard = next(effect.value for effect in state.take_effects() if effect.kind == "keyboard")
    assert keyboard["showOnScreenKeyboard"] is False
    assert not state.text_focus


def test_typing() -> None:
    state = SceneState()
    for character in "Heж":
        give(state, "KeyPress", ord(character))
    give(state, "KeyPress", 8)
    assert state.text == "He"
    give(state, "KeyDown", 65, 0)
    give(state, "KeyDown", 65, 1)
    assert (state.keys, state.held) == (1, {65: "A"})
    give(state, "KeyUp", 65)
    assert state.held == {}
    give(state, "KeyPress", 13)
    assert state.text == ""
    assert state.log[-1][0] == "said: He"
    give(state, "TextboxEntry", "from\na phone" + "x" * 100)
    assert len(state.text) == MAX_TEXT
    assert "\n" not in state.text


def test_arrows_move_the_core_within_bounds() -> None:
    state = SceneState()
    for _ in range(100):
        give(state, "KeyDown", 39, 1)
    assert state.core == (0.7, layout.CORE[1])


def test_the_wheel_changes_hue_and_size_within_bounds() -> None:
    state = SceneState()
    hue, size = state.hue_degrees, state.size
    give(state, "MouseWheel", 120, *place(0.5, 0.5))
    assert state.hue_degrees == pytest.approx((hue + 15) % 360)
    assert state.size > size
    for _ in range(100):
        give(state, "MouseWheel", -32768, *place(0.5, 0.5))
    assert state.size == 0.5
    assert 0 <= state.hue_degrees < 360


def test_dragging_paints_and_moving_does_not() -> None:
    state = SceneState()
    give(state, "MouseMove", *place(0.4, 0.4), 5, 5)
    assert not state.strokes
    give(state, "MouseDown", 0, *place(0.4, 0.4))
    give(state, "MouseMove", *place(0.5, 0.4), 5, 5)
    assert len(state.strokes) > 8
    assert state.strokes[-1][:2] == pytest.approx((0.5, 0.4), abs=1e-4)
    give(state, "MouseUp", 0, *place(0.5, 0.4))
    count = len(state.strokes)
    give(state, "MouseMove", *place(0.6, 0.4), 5, 5)
    assert len(state.strokes) == count


def test_touch() -> None:
    state = SceneState()
    give(state, "TouchStart", 1, *place(0.2, 0.3), 1, 128, 1)
    assert state.touches[1] == pytest.approx((0.2, 0.3, 0.5), abs=0.01)
    assert state.button_bits == 0x80
    assert responses(state)[0]["button"] == "touch"
    give(state, "TouchMove", 1, *place(0.25, 0.3), 1, 128, 1)
    give(state, "TouchMove", 1, *place(0.9, 0.9), 7, 128, 1)  # a finger that never went down
    assert set(state.touches) == {1}
    give(state, "TouchEnd", 1, *place(0.25, 0.3), 1, 0, 0)
    assert state.touches == {}
    assert [mark.kind for mark in state.marks] == ["touch", "lift"]


def test_gamepads() -> None:
    state = SceneState()
    give(state, "GamepadConnected")
    (effect,) = state.take_effects()
    assert (effect.kind, effect.value) == ("pad", {"controllerId": 0})
    give(state, "GamepadAnalog", 0, 1, 0.5)
    give(state, "GamepadAnalog", 0, 2, float("nan"))
    give(state, "GamepadAnalog", 0, 3, 1e300)
    give(state, "GamepadAnalog", 0, 200, 1.0)
    give(state, "GamepadButtonPressed", 0, 3, 0)
    pad = state.pads[0]
    assert (pad.axes[1:4], pad.buttons) == ([0.5, 0.0, 1.0], {3})
    give(state, "GamepadButtonReleased", 0, 3, 0)
    assert pad.buttons == set()
    version = state.panel_versions["pad"]
    give(state, "GamepadAnalog", 0, 1, 0.5)
    assert state.panel_versions["pad"] == version  # unchanged axes cost no drawing
    for number in range(9):
        give(state, "GamepadButtonPressed", number, 1, 0)
    assert len(state.pads) == 4
    give(state, "GamepadDisconnected", 8)
    assert 8 not in state.pads


def test_ui_interaction_is_shown_obeyed_and_answered() -> None:
    state = SceneState()
    give(state, "UIInteraction", json.dumps({"hue": 400, "size": 9, "text": "hi", "press": "warp"}))
    assert (state.hue_degrees, state.size, state.text) == (40.0, 1.9, "hi")
    assert state.toggles["warp"]
    assert '"hue"' in state.ui_text
    (answer,) = responses(state)
    assert answer == {"type": "ui", "received": {"hue": 400, "size": 9, "text": "hi", "press": "warp"}}
    give(state, "UIInteraction", "not json")
    assert responses(state)[0]["received"] == "not json"


def test_release_lets_go_of_everything_held() -> None:
    state = SceneState()
    give(state, "MouseDown", 0, 1, 1)
    give(state, "KeyDown", 65, 0)
    give(state, "TouchStart", 1, 1, 1, 0, 1, 1)
    give(state, "GamepadConnected")
    state.release_all()
    assert (state.button_bits, state.held, state.touches, state.pads) == (0, {}, {}, {})


def test_questions_are_no_control() -> None:
    state = SceneState()
    for data in (from_player("IFrameRequest"), from_player("LatencyTest", "{}"), from_player("Command", "{}")):
        message = parse(data)
        assert not messages.is_control(message)
        assert not state.apply(message, "", 0.0)
    assert state.inputs == 0


def test_every_control_message_is_handled() -> None:
    for name, (number, layout_of) in TO_STREAMER.items():
        values = ["x" if kind == "string" else 1 for kind in layout_of or ()]
        if number >= 50 and name != "Command":
            state = SceneState()
            assert state.apply(parse(from_player(name, *values)), "who", 1.0), name
            assert state.inputs == 1


def test_key_names() -> None:
    assert [key_name(code) for code in (65, 48, 13, 112, 96, 38, 7)] == ["A", "0", "Enter", "F1", "Num0", "Up", "key 7"]


@given(st.binary(max_size=64))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    for from_sfu in (False, True):
        try:
            message = parse(data, from_sfu=from_sfu)
        except MalformedMessageError:
            continue
        assert message.name


control_messages = st.one_of(
    *(
        st.tuples(st.just(name), *(_values)).map(lambda item: from_player(item[0], *item[1:]))
        for name, (number, kinds) in TO_STREAMER.items()
        if number >= 50
        for _values in [
            [
                {
                    "string": st.text(max_size=300),
                    "uint8": st.integers(0, 255),
                    "uint16": st.integers(0, 65535),
                    "int16": st.integers(-32768, 32767),
                    "double": st.floats(),
                }[kind]
                for kind in kinds or ()
            ]
        ]
    )
)


@settings(max_examples=200)
@given(st.lists(control_messages, max_size=40))
def test_no_sequence_of_input_breaks_the_state(inputs: list[bytes]) -> None:
    state = SceneState()
    for number, data in enumerate(inputs):
        state.apply(parse(data), "someone", number / 10)
    assert len(state.text) <= MAX_TEXT
    assert 0.5 <= state.size <= 1.9
    assert 0 <= state.hue_degrees < 360
    json.dumps([effect.value for effect in state.take_effects()])


def test_only_an_sfu_speaks_for_others() -> None:
    wrapped = multiplexed("player7", from_player("KeyUp", 65))
    message = parse(wrapped, from_sfu=True)
    assert (message.name, message.values, message.player) == ("KeyUp", (65,), "player7")
    status = parse(channel_relay_status("player7", True), from_sfu=True)
    assert (status.name, status.values, status.player) == ("ChannelRelayStatus", (1,), "player7")
    with pytest.raises(MalformedMessageError):
        parse(wrapped)
    with pytest.raises(MalformedMessageError):
        parse(multiplexed("a", wrapped), from_sfu=True)


def test_the_protocol_messages_say_what_is_spoken() -> None:
    to_streamer, from_streamer = (parse_protocol(message) for message in messages.protocol_messages())
    assert to_streamer.direction is Direction.TO_STREAMER
    shapes = {shape.name: shape for shape in to_streamer.shapes}
    assert set(shapes) == set(TO_STREAMER)
    assert shapes["DataChannelLatencyTest"].layout == ("string",)
    assert shapes["MouseMove"].layout == ("uint16", "uint16", "int16", "int16")
    assert from_streamer.direction is Direction.FROM_STREAMER
    assert {"Response", "InitialSettings", "VideoEncoderAvgQP"} <= {shape.name for shape in from_streamer.shapes}
