"""The picture answers input where it lands, and nothing stays behind that should not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime.streamer import font, glyphs, layout, marker
from runtime.streamer.canvas import Plane, hue, rgb
from runtime.streamer.encode import picture_buffer
from runtime.streamer.layout import Box
from runtime.streamer.messages import from_player, parse
from runtime.streamer.scene import FrameFacts, Scene
from runtime.streamer.state import MARK_SECONDS

SIZE = (640, 360)


class Stage:
    """A scene with a clock moved by hand."""

    def __init__(self, size: tuple[int, int] = SIZE) -> None:
        _, self.planes = picture_buffer(*size)
        self.size = size
        self.scene = Scene("H.264")
        self.scene.attach(*size, self.planes)
        # Moving discs would be differences of their own.
        self.scene.state.toggles["pause"] = True
        self.now = 100.0
        self.frame = 0

    def show(self, seconds: float = 1 / 30) -> Plane:
        self.now += seconds
        self.frame += 1
        facts = FrameFacts(
            frame=self.frame, time_ms=self.frame, now_seconds=self.now, clock="12:00:00.000", status="status"
        )
        self.scene.draw(facts)
        return self.planes[0].copy()

    def give(self, name: str, *values: Any, who: str = "") -> None:
        self.scene.state.apply(parse(from_player(name, *values)), who, self.now)

    def part(self, luma: Plane, box: Box) -> Plane:
        width, height = self.size
        return luma[int(box.top * height) : int(box.bottom * height), int(box.left * width) : int(box.right * width)]


def around(x: float, y: float, reach: float = 0.06) -> Box:
    return Box(x - reach, y - reach, x + reach, y + reach)


def at(x: float, y: float) -> tuple[int, int]:
    return int(x * 65536), int(y * 65536)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("MouseDown", (0, *at(0.35, 0.7))),
        ("MouseDown", (2, *at(0.35, 0.7))),
        ("MouseUp", (0, *at(0.35, 0.7))),
        ("MouseDouble", (0, *at(0.35, 0.7))),
        ("MouseMove", (*at(0.35, 0.7), 3, 3)),
        ("MouseWheel", (120, *at(0.35, 0.7))),
        ("TouchStart", (1, *at(0.35, 0.7), 2, 200, 1)),
    ],
)
def test_a_pointer_event_is_drawn_where_it_lands(name: str, values: tuple[int, ...]) -> None:
    stage = Stage()
    before = stage.show()
    stage.give(name, *values)
    after = stage.show()
    changed = stage.part(before, around(0.35, 0.7)) != stage.part(after, around(0.35, 0.7))
    assert np.count_nonzero(changed) > 20
    elsewhere = around(0.65, 0.75)
    assert np.array_equal(stage.part(before, elsewhere), stage.part(after, elsewhere))


@pytest.mark.parametrize(
    ("name", "values", "box"),
    [
        ("KeyPress", (65,), layout.TEXT_FIELD),
        ("KeyDown", (65, 0), layout.TEXT_FIELD),
        ("KeyDown", (65, 0), layout.EVENTS_PANEL),
        ("UIInteraction", ('{"a": 1}',), layout.UI_PANEL),
        ("GamepadConnected", (), layout.PAD_PANEL),
        ("MouseDown", (0, *at(*layout.BUTTONS[1][1].centre)), layout.BUTTONS[1][1]),
        ("MouseWheel", (120, *at(0.1, 0.1)), around(*layout.CORE)),
    ],
)
def test_everything_else_shows_in_its_place(name: str, values: tuple[Any, ...], box: Box) -> None:
    stage = Stage()
    before = stage.show()
    stage.give(name, *values)
    after = stage.show()
    assert np.count_nonzero(stage.part(before, box) != stage.part(after, box)) > 20


def test_marks_fade_and_leave_the_picture_as_it_was() -> None:
    stage = Stage()
    # The right button neither paints nor presses anything.
    box = around(0.35, 0.7, 0.1)
    before = stage.part(stage.show(), box)
    stage.give("MouseDown", 2, *at(0.35, 0.7))
    assert not np.array_equal(before, stage.part(stage.show(), box))
    stage.give("MouseUp", 2, *at(0.35, 0.7))
    stage.give("MouseLeave")
    stage.show(MARK_SECONDS + 1)
    assert np.array_equal(before, stage.part(stage.show(), box))


def test_paint_stays_until_it_is_cleared() -> None:
    stage = Stage()
    box = around(0.35, 0.7, 0.1)
    before = stage.part(stage.show(), box)
    stage.give("MouseDown", 0, *at(0.32, 0.7))
    stage.give("MouseMove", *at(0.38, 0.7), 9, 0)
    stage.give("MouseUp", 0, *at(0.38, 0.7))
    stage.give("MouseLeave")
    stage.show(MARK_SECONDS + 1)
    assert np.count_nonzero(stage.part(stage.show(), box) != before) > 30
    stage.give("MouseDown", 0, *at(*layout.BUTTONS[3][1].centre))
    stage.show(MARK_SECONDS + 1)
    assert np.array_equal(before, stage.part(stage.show(), box))


def test_the_discs_move_unless_paused() -> None:
    stage = Stage()
    first = stage.part(stage.show(), around(*layout.CORE, 0.2))
    assert np.array_equal(first, stage.part(stage.show(0.1), around(*layout.CORE, 0.2)))
    stage.scene.state.toggles["pause"] = False
    assert not np.array_equal(first, stage.part(stage.show(0.1), around(*layout.CORE, 0.2)))


def test_the_marker_tells_the_state() -> None:
    stage = Stage()
    stage.give("MouseDown", 0, *at(0.25, 0.5))
    stage.give("KeyDown", 65, 0)
    reading = marker.decode(stage.show())
    assert reading is not None
    assert (reading.frame, reading.inputs, reading.keys) == (1, 2, 1)
    assert (reading.click_x, reading.click_y, reading.buttons, reading.toggles) == (16384, 32768, 1, 1)


@pytest.mark.parametrize("size", [(320, 180), (1920, 1080), (390, 844), (3840, 400)])
def test_every_size_and_shape_can_be_drawn(size: tuple[int, int]) -> None:
    stage = Stage(size)
    stage.give("GamepadConnected")
    stage.give("UIInteraction", "long " * 60)
    stage.give("MouseDown", 0, 0, 0)
    stage.give("MouseMove", 65535, 65535, 0, 0)
    stage.give("TouchStart", 1, 65535, 0, 1, 1, 1)
    luma = stage.show()
    assert luma.shape == (size[1], size[0])
    assert marker.decode(luma) is not None


def test_colours_are_studio_range() -> None:
    assert (rgb(0, 0, 0).y, rgb(1, 1, 1).y) == (16, 235)
    red = rgb(1, 0, 0)
    assert (red.y, red.u, red.v) == (81, 90, 240)  # ITU-R BT.601
    assert hue(0, 1, 1) == red


def test_text_of_any_character_has_ink() -> None:
    for character in [*glyphs._LATIN, *glyphs._CYRILLIC, *"абвгдеёжзийклмнопрстуфхцчшщъыьэюя", "漢", "é"]:
        mask = font.text_mask(character, 12)
        assert (mask.max() > 100) == (character != " "), character
        assert mask.shape[1] == font.text_width(character, 12)
    assert font.text_mask("", 12).max() == 0
