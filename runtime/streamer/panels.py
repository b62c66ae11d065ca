"""The panes of the scene, each drawn only when what it shows has changed."""

from __future__ import annotations

from collections.abc import Callable

from . import canvas, font, layout
from .backdrop import ACCENT, FAINT, SOFT, WHITE, panel, scale
from .canvas import Picture, hue, rgb
from .layout import Box
from .state import Pad, SceneState

_PALETTE = tuple(hue(degrees, 0.55) for degrees in (188, 44, 316, 140, 268, 12))


def who_colour(who: str) -> canvas.Colour:
    """A colour for a player, the same every time."""
    return _PALETTE[sum(who.encode()) % len(_PALETTE)] if who else SOFT


def _open(base: Picture, backdrop: Picture, box: Box, outline: canvas.Colour = FAINT) -> tuple[float, float, float]:
    """Wipe a pane's place and draw its frame; answers left and top of its content and the scale."""
    _wipe(base, backdrop, box)
    left, top = panel(base, box, outline)
    k = scale(base.width, base.height)
    return left + 14 * k, top + 14 * k, k


def _wipe(base: Picture, backdrop: Picture, box: Box) -> None:
    left, top = int(box.left * base.width) - 2 & ~1, int(box.top * base.height) - 2 & ~1
    right, bottom = int(box.right * base.width) + 5 & ~1, int(box.bottom * base.height) + 5 & ~1
    rect = (max(0, left), max(0, top), min(base.width, right), min(base.height, bottom))
    base.copy_from(backdrop, rect)
    base.touched.append(rect)


def _fitting(text: str, cap_height: int, room: float) -> str:
    """The beginning of ``text`` that is not wider than ``room`` pixels."""
    if font.text_width(text, cap_height) <= room:
        return text
    while text and font.text_width(text + "..", cap_height) > room:
        text = text[:-1]
    return text + ".."


def draw_status(base: Picture, backdrop: Picture, status: str) -> None:
    """Size, rate and codec under the title."""
    box = Box(0.03, 104 / 720, 0.55, 124 / 720)
    _wipe(base, backdrop, box)
    k = scale(base.width, base.height)
    base.text(status, 40 / 1280 * base.width, 106 / 720 * base.height, max(6, round(9 * k)), FAINT)


def draw_events(base: Picture, backdrop: Picture, state: SceneState, now_seconds: float) -> None:
    """The latest input events, newest first, with who sent them when that is known."""
    x, y, k = _open(base, backdrop, layout.EVENTS_PANEL)
    small = max(6, round(10 * k))
    base.text("INPUT", x, y, small, ACCENT)
    base.text(f"{state.inputs}", x + 70 * k, y, small, FAINT)
    line = (layout.EVENTS_PANEL.bottom - layout.EVENTS_PANEL.top) * base.height / 10.6
    room = (layout.EVENTS_PANEL.right - layout.EVENTS_PANEL.left) * base.width - 28 * k
    for row, (text, who) in enumerate(reversed(state.log)):
        top = y + (row + 1) * line
        shown = _fitting(f"{text}  {who}" if who else text, small, room)
        base.text(shown, x, top, small, who_colour(who) if row or who else WHITE, 1.0 - row * 0.075)
    if not state.log:
        base.text("nothing yet", x, y + line, small, FAINT)


def draw_text(base: Picture, backdrop: Picture, state: SceneState, now_seconds: float) -> None:
    """What was typed, and the keys held."""
    box = layout.TEXT_FIELD
    x, _, k = _open(base, backdrop, box, ACCENT if state.text_focus else FAINT)
    size, small = max(7, round(15 * k)), max(6, round(9 * k))
    middle = (box.top + box.bottom) / 2 * base.height
    held = " ".join(list(state.held.values())[:5])
    held_width = font.text_width(held, small) + 16 * k if held else 0.0
    room = (box.right - box.left) * base.width - 44 * k - held_width
    shown = state.text
    while shown and font.text_width(shown, size) > room:
        shown = shown[1:]
    width = base.text(shown, x, middle - size / 2, size, WHITE)
    if not state.text:
        width = 0
        base.text("click here and type", x + 10 * k, middle - size / 2, size, FAINT)
    caret = int(x + width + 4 * k)
    top, bottom = int(middle - size * 0.8), int(middle + size * 0.8)
    base.fill(caret, top, caret + max(2, round(2 * k)), bottom, ACCENT if state.text_focus else FAINT)
    if held:
        base.text(held, box.right * base.width - held_width, middle - small / 2, small, _PALETTE[1])


def draw_ui(base: Picture, backdrop: Picture, state: SceneState, now_seconds: float) -> None:
    """The last UIInteraction as it came."""
    x, y, k = _open(base, backdrop, layout.UI_PANEL)
    small = max(6, round(10 * k))
    base.text("UI INTERACTION", x, y, small, ACCENT)
    room = (layout.UI_PANEL.right - layout.UI_PANEL.left) * base.width - 28 * k
    line = (layout.UI_PANEL.bottom - layout.UI_PANEL.top) * base.height / 7.2
    rest, row = state.ui_text or "none yet", 1
    while rest and row <= 5:
        taken = len(rest)
        while taken > 1 and font.text_width(rest[:taken], small) > room:
            taken -= 1
        base.text(rest[:taken], x, y + row * line, small, WHITE if state.ui_text else FAINT)
        rest, row = rest[taken:], row + 1


def draw_pad(base: Picture, backdrop: Picture, state: SceneState, now_seconds: float) -> None:
    """The gamepad that was used last; nothing while there is none."""
    if not state.pads:
        _wipe(base, backdrop, layout.PAD_PANEL)
        return
    x, y, k = _open(base, backdrop, layout.PAD_PANEL)
    number, pad = next(reversed(state.pads.items()))
    small = max(6, round(10 * k))
    base.text(f"GAMEPAD {number}", x, y, small, ACCENT)
    for index, centre in ((0, 70.0), (1, 196.0)):
        _draw_stick(base, x + centre * k, y + 96 * k, k, pad.axes[1 + 2 * index], pad.axes[2 + 2 * index])
    for index in (0, 1):
        left = x + (8 + 132 * index) * k
        base.fill(int(left), int(y + 28 * k), int(left + 116 * k), int(y + 38 * k), FAINT, 0.4)
        level = min(1.0, max(0.0, pad.axes[5 + index]))
        base.fill(int(left), int(y + 28 * k), int(left + 116 * k * level), int(y + 38 * k), _PALETTE[1])
    _draw_pad_buttons(base, x, y + 164 * k, k, pad)


def _draw_stick(base: Picture, x: float, y: float, k: float, across: float, up: float) -> None:
    base.draw_centred(canvas.ring(max(8, round(42 * k)), max(1, round(2 * k)), FAINT), x, y)
    # Epic's page turns the vertical axes over, so up is positive.
    base.draw_centred(canvas.disc(max(4, round(12 * k)), hue(188), 0.5), x + across * 34 * k, y - up * 34 * k)


def _draw_pad_buttons(base: Picture, x: float, y: float, k: float, pad: Pad) -> None:
    for index in range(16):
        radius = max(3, round(7 * k))
        place = (x + (10 + index % 8 * 33) * k, y + index // 8 * 24 * k)
        if index in pad.buttons:
            base.draw_centred(canvas.disc(radius, hue(140), 0.6), *place)
        else:
            base.draw_centred(canvas.ring(radius, max(1, round(1.5 * k)), FAINT), *place)


def draw_buttons(base: Picture, backdrop: Picture, state: SceneState, now_seconds: float) -> None:
    """The on-scene buttons; one that is on is filled."""
    k = scale(base.width, base.height)
    size = max(6, round(11 * k))
    bits = state.toggle_bits(now_seconds)
    for index, (name, box) in enumerate(layout.BUTTONS):
        on = bool(bits >> index & 1)
        colour = hue((205, 44, 316, 12)[index], 0.6)
        _wipe(base, backdrop, box)
        left, top = panel(base, box, colour if on else FAINT)
        width, height = round((box.right - box.left) * base.width), round((box.bottom - box.top) * base.height)
        if on:
            inset = max(2, round(4 * k / 2) * 2)
            lit = canvas.rounded(
                max(8, width - 2 * inset & ~1), max(8, height - 2 * inset & ~1), max(2, round(7 * k)), colour
            )
            base.draw(lit, left + inset, top + inset)
        text = name.upper()
        x = left + (width - font.text_width(text, size)) / 2
        base.text(text, x, top + (height - size) / 2, size, rgb(0.03, 0.04, 0.1) if on else WHITE)


DRAW: dict[str, Callable[[Picture, Picture, SceneState, float], None]] = {
    "events": draw_events,
    "text": draw_text,
    "ui": draw_ui,
    "pad": draw_pad,
    "buttons": draw_buttons,
}
