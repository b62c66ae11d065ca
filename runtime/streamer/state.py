"""What people have done to the scene: every control message changes this state, and the picture is drawn from it.

No input or output and no clock: the time comes with each message, replies are collected in ``effects``.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import layout
from .messages import Message

BUTTON_NAMES = ("left", "middle", "right", "back", "forward")
MARK_SECONDS = 5.0
FLASH_SECONDS = 0.6
MAX_TEXT = 44
MAX_MARKS = 24
MAX_TRAIL = 24
MAX_STROKES = 512
MAX_PADS = 4
MAX_FINGERS = 10
_AXES = 16

_KEY_NAMES = {
    8: "Backspace", 9: "Tab", 13: "Enter", 16: "Shift", 17: "Ctrl", 18: "Alt", 19: "Pause", 20: "CapsLock", 27: "Esc",
    32: "Space", 33: "PageUp", 34: "PageDown", 35: "End", 36: "Home", 37: "Left", 38: "Up", 39: "Right", 40: "Down",
    45: "Insert", 46: "Delete", 91: "Meta", 92: "Meta", 186: ";", 187: "=", 188: ",", 189: "-", 190: ".", 191: "/",
    192: "`", 219: "[", 220: "\\", 221: "]", 222: "'", 253: "Shift", 254: "Ctrl", 255: "Alt",
}  # fmt: skip


def key_name(code: int) -> str:
    """Readable name of a DOM keyCode."""
    if 48 <= code <= 57 or 65 <= code <= 90:
        return chr(code)
    if 96 <= code <= 105:
        return f"Num{code - 96}"
    if 112 <= code <= 123:
        return f"F{code - 111}"
    return _KEY_NAMES.get(code, f"key {code}")


@dataclass(frozen=True)
class Mark:
    """A pointer event at its place; ``kind`` is down, up, double, wheel, touch or lift."""

    kind: str
    x: float
    y: float
    born_seconds: float
    label: str
    index: int = 0  # button or finger, chooses the colour


@dataclass
class Pad:
    """One gamepad: axes 1..4 sticks, 5 and 6 triggers, as Epic numbers them."""

    axes: list[float] = field(default_factory=lambda: [0.0] * _AXES)
    buttons: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Effect:
    """Something to tell a player: ``kind`` is response, keyboard or pad, ``value`` a JSON object. ``everyone`` or the
    sender only."""

    kind: str
    value: dict[str, Any]
    everyone: bool = False


class SceneState:
    """Fractions are of the picture, 0..1; times are seconds on the caller's monotonic clock."""

    def __init__(self) -> None:
        self.pointer: tuple[float, float] | None = None
        self.buttons = 0
        self.marks: deque[Mark] = deque(maxlen=MAX_MARKS)
        self.trail: deque[tuple[float, float, float]] = deque(maxlen=MAX_TRAIL)
        # Painted dots not yet in the picture: x, y, hue in degrees.
        self.strokes: deque[tuple[float, float, float]] = deque(maxlen=MAX_STROKES)
        self.clear_wanted = False
        self.text = ""
        self.text_focus = False
        self.held: dict[int, str] = {}
        self.log: deque[tuple[str, str]] = deque(maxlen=9)
        self.ui_text = ""
        self.hue_degrees = 205.0
        self.size = 1.0
        self.core = layout.CORE
        self.toggles = {name: False for name, _ in layout.BUTTONS}
        self.flash_until_seconds = 0.0
        self.touches: dict[int, tuple[float, float, float]] = {}
        self.pads: dict[int, Pad] = {}
        self.inputs = 0
        self.clicks = 0
        self.keys = 0
        self.click = (0, 0)
        self.effects: list[Effect] = []
        # Rises when a panel must be drawn again.
        self.panel_versions = {"events": 0, "text": 0, "ui": 0, "pad": 0, "buttons": 0}
        self._handlers: dict[str, Callable[[Message, str, float], None]] = {
            "UIInteraction": self._on_ui, "TextboxEntry": self._on_textbox,
            "KeyDown": self._on_key_down, "KeyUp": self._on_key_up, "KeyPress": self._on_key_press,
            "MouseEnter": self._on_enter, "MouseLeave": self._on_leave, "MouseDown": self._on_mouse_down,
            "MouseDouble": self._on_mouse_down, "MouseUp": self._on_mouse_up, "MouseMove": self._on_mouse_move,
            "MouseWheel": self._on_wheel, "TouchStart": self._on_touch_start, "TouchEnd": self._on_touch_end,
            "TouchMove": self._on_touch_move, "GamepadButtonPressed": self._on_pad_button,
            "GamepadButtonReleased": self._on_pad_button, "GamepadAnalog": self._on_pad_axis,
            "GamepadConnected": self._on_pad_connected, "GamepadDisconnected": self._on_pad_gone,
        }  # fmt: skip

    def apply(self, message: Message, who: str, now_seconds: float) -> bool:
        """Take one control message of ``who`` (empty when there is only one player); False when it is none."""
        handler = self._handlers.get(message.name)
        if handler is None:
            return False
        self.inputs += 1
        handler(message, who, now_seconds)
        return True

    def take_effects(self) -> list[Effect]:
        """Replies since the last call."""
        effects, self.effects = self.effects, []
        return effects

    def release_all(self) -> None:
        """Let go of everything held: its player is gone."""
        self.buttons = 0
        self.held.clear()
        self.touches.clear()
        self.pads.clear()
        self.pointer = None
        for name in ("events", "pad", "text"):
            self.panel_versions[name] += 1

    @property
    def button_bits(self) -> int:
        """Pointer buttons for the marker, bit 7 while a finger is down."""
        return (self.buttons & 0x1F) | (0x80 if self.touches else 0)

    def toggle_bits(self, now_seconds: float) -> int:
        """On-scene buttons for the marker; ``clear`` shines for a moment only."""
        bits = sum(1 << index for index, (name, _) in enumerate(layout.BUTTONS) if self.toggles[name])
        return bits | (1 << 3 if now_seconds < self.flash_until_seconds else 0)

    def _note(self, text: str, who: str) -> None:
        self.log.append((text, who))
        self.panel_versions["events"] += 1

    def _mark(self, kind: str, x: float, y: float, now: float, label: str, index: int = 0) -> None:
        self.marks.append(Mark(kind, x, y, now, label, index))

    # Pointer

    def _on_enter(self, message: Message, who: str, now: float) -> None:
        self._note("MouseEnter", who)

    def _on_leave(self, message: Message, who: str, now: float) -> None:
        self.pointer = None
        self._note("MouseLeave", who)

    def _on_mouse_down(self, message: Message, who: str, now: float) -> None:
        button, raw_x, raw_y = message.values
        x, y = raw_x / 65536, raw_y / 65536
        name = BUTTON_NAMES[button] if button < len(BUTTON_NAMES) else f"button {button}"
        self.buttons |= 1 << min(button, 7)
        self.pointer = (x, y)
        self._mark("double" if message.name == "MouseDouble" else "down", x, y, now, _label(name, who), button)
        self._note(f"{message.name} {name}  {x:.3f} {y:.3f}", who)
        self._press(raw_x, raw_y, name, now)

    def _press(self, raw_x: int, raw_y: int, name: str, now: float) -> None:
        """A mouse button or finger went down: act on what is there and answer."""
        x, y = raw_x / 65536, raw_y / 65536
        self.click = (raw_x, raw_y)
        self.clicks += 1
        aim = layout.target(x, y)
        if aim in self.toggles:
            self._use_button(aim, now)
        elif name in ("left", "touch") and aim == "scene":
            self._paint(x, y)
        focus = aim == "text"
        if focus or self.text_focus:
            # Epic's page shows a text box over a touch screen's picture at these coordinates.
            keyboard = {"command": "onScreenKeyboard", "showOnScreenKeyboard": focus, "x": raw_x, "y": raw_y}
            self.effects.append(Effect("keyboard", {**keyboard, "contents": self.text}))
        if focus != self.text_focus:
            self.text_focus = focus
            self.panel_versions["text"] += 1
        answer = {"type": "click", "button": name, "x": round(x, 4), "y": round(y, 4), "target": aim}
        self.effects.append(Effect("response", {**answer, "count": self.clicks, "on": self.toggles.get(aim)}))

    def _use_button(self, name: str, now: float) -> None:
        if name == "clear":
            self.clear_wanted = True
            self.strokes.clear()
            self.flash_until_seconds = now + FLASH_SECONDS
        else:
            self.toggles[name] = not self.toggles[name]
        self.panel_versions["buttons"] += 1

    def _paint(self, x: float, y: float) -> None:
        self.strokes.append((x, y, self.hue_degrees + self.clicks * 37.0))

    def _on_mouse_up(self, message: Message, who: str, now: float) -> None:
        button, raw_x, raw_y = message.values
        x, y = raw_x / 65536, raw_y / 65536
        name = BUTTON_NAMES[button] if button < len(BUTTON_NAMES) else f"button {button}"
        self.buttons &= ~(1 << min(button, 7))
        self._mark("up", x, y, now, "", button)
        self._note(f"MouseUp {name}  {x:.3f} {y:.3f}", who)

    def _on_mouse_move(self, message: Message, who: str, now: float) -> None:
        raw_x, raw_y, _, _ = message.values
        x, y = raw_x / 65536, raw_y / 65536
        before, self.pointer = self.pointer, (x, y)
        self.trail.append((x, y, now))
        if self.buttons & 1 and layout.target(x, y) == "scene":
            self._paint_line(before or (x, y), (x, y))

    def _paint_line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Dots close enough to look like a line, at most 64 for one movement."""
        steps = min(64, max(1, int(max(abs(end[0] - start[0]) * 160, abs(end[1] - start[1]) * 90))))
        for step in range(1, steps + 1):
            part = step / steps
            self._paint(start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part)

    def _on_wheel(self, message: Message, who: str, now: float) -> None:
        delta, raw_x, raw_y = message.values
        x, y = raw_x / 65536, raw_y / 65536
        self.hue_degrees = (self.hue_degrees + delta / 8) % 360
        self.size = min(1.9, max(0.5, self.size + (0.08 if delta > 0 else -0.08 if delta < 0 else 0.0)))
        self._mark("wheel", x, y, now, f"{delta:+d}", 0 if delta > 0 else 2)
        self._note(f"MouseWheel {delta:+d}", who)

    # Touch

    def _on_touch_start(self, message: Message, who: str, now: float) -> None:
        _, raw_x, raw_y, finger, force, _ = message.values
        x, y = raw_x / 65536, raw_y / 65536
        if finger < MAX_FINGERS:
            self.touches[finger] = (x, y, force / 255)
        self._mark("touch", x, y, now, who, finger)
        self._note(f"TouchStart {finger}  {x:.3f} {y:.3f}", who)
        self._press(raw_x, raw_y, "touch", now)

    def _on_touch_move(self, message: Message, who: str, now: float) -> None:
        _, raw_x, raw_y, finger, force, _ = message.values
        x, y = raw_x / 65536, raw_y / 65536
        before = self.touches.get(finger)
        if before is None:
            return
        self.touches[finger] = (x, y, force / 255)
        if layout.target(x, y) == "scene":
            self._paint_line(before[:2], (x, y))

    def _on_touch_end(self, message: Message, who: str, now: float) -> None:
        _, raw_x, raw_y, finger, _, _ = message.values
        self.touches.pop(finger, None)
        self._mark("lift", raw_x / 65536, raw_y / 65536, now, "", finger)
        self._note(f"TouchEnd {finger}", who)

    # Keys and text

    def _on_key_down(self, message: Message, who: str, now: float) -> None:
        code, repeat = message.values
        name = key_name(code)
        if not repeat:
            self.keys += 1
            self._note(f"KeyDown {name}", who)
        self.held[code] = name
        steps = {37: (-1, 0), 38: (0, -1), 39: (1, 0), 40: (0, 1)}
        if code in steps:
            x, y = self.core[0] + steps[code][0] * 0.0125, self.core[1] + steps[code][1] * 0.0222
            self.core = (min(0.7, max(0.3, x)), min(0.7, max(0.25, y)))
        self.panel_versions["text"] += 1

    def _on_key_up(self, message: Message, who: str, now: float) -> None:
        self.held.pop(message.values[0], None)
        self.panel_versions["text"] += 1

    def _on_key_press(self, message: Message, who: str, now: float) -> None:
        code = message.values[0]
        if code == 8:
            self.text = self.text[:-1]
        elif code in (10, 13):
            self._note(f"said: {self.text}", who)
            self.text = ""
        elif code >= 32 and code != 127:
            self.text = (self.text + chr(code))[-MAX_TEXT:]
        self.panel_versions["text"] += 1

    def _on_textbox(self, message: Message, who: str, now: float) -> None:
        self.text = _printable(message.values[0])[-MAX_TEXT:]
        self._note("TextboxEntry", who)
        self.panel_versions["text"] += 1

    # The page's own interface

    def _on_ui(self, message: Message, who: str, now: float) -> None:
        text = message.values[0]
        self._note("UIInteraction", who)
        self.ui_text = _printable(text)[:400]
        self.panel_versions["ui"] += 1
        try:
            descriptor: Any = json.loads(text)
        except (ValueError, RecursionError):
            descriptor = text
        if isinstance(descriptor, dict):
            self._obey(descriptor, now)
        self.effects.append(Effect("response", {"type": "ui", "received": descriptor}))

    def _obey(self, descriptor: dict[str, Any], now: float) -> None:
        """The commands a page may send: hue (degrees), size, text, press (a button's name)."""
        hue, size = descriptor.get("hue"), descriptor.get("size")
        if isinstance(hue, int | float) and abs(hue) < 1e6:
            self.hue_degrees = float(hue) % 360
        if isinstance(size, int | float):
            self.size = min(1.9, max(0.5, float(size)))
        if isinstance(descriptor.get("text"), str):
            self.text = _printable(descriptor["text"])[-MAX_TEXT:]
            self.panel_versions["text"] += 1
        if isinstance(descriptor.get("press"), str) and descriptor["press"] in self.toggles:
            self._use_button(descriptor["press"], now)

    # Gamepads

    def _pad(self, number: int) -> Pad:
        if number not in self.pads and len(self.pads) >= MAX_PADS:
            self.pads.pop(next(iter(self.pads)))
        return self.pads.setdefault(number, Pad())

    def _on_pad_connected(self, message: Message, who: str, now: float) -> None:
        number = next(free for free in range(MAX_PADS + 1) if free not in self.pads)
        self._pad(number)
        self._note(f"Gamepad {number} connected", who)
        self.effects.append(Effect("pad", {"controllerId": number}))
        self.panel_versions["pad"] += 1

    def _on_pad_gone(self, message: Message, who: str, now: float) -> None:
        self.pads.pop(message.values[0], None)
        self._note(f"Gamepad {message.values[0]} gone", who)
        self.panel_versions["pad"] += 1

    def _on_pad_button(self, message: Message, who: str, now: float) -> None:
        number, button = message.values[:2]
        pad = self._pad(number)
        if message.name == "GamepadButtonPressed":
            pad.buttons.add(button)
            if not message.values[2]:
                self._note(f"Pad {number} button {button}", who)
        else:
            pad.buttons.discard(button)
        self.panel_versions["pad"] += 1

    def _on_pad_axis(self, message: Message, who: str, now: float) -> None:
        number, axis, value = message.values
        pad = self._pad(number)
        value = min(1.0, max(-1.0, value)) if value == value else 0.0
        # Pages send every axis with each animation frame, moved or not.
        if axis < _AXES and abs(pad.axes[axis] - value) > 0.01:
            pad.axes[axis] = value
            self.panel_versions["pad"] += 1


def _label(text: str, who: str) -> str:
    return f"{text} · {who}" if who else text


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
