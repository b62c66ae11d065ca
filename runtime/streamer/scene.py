"""The animated picture. Three layers: the fixed backdrop, the base (backdrop, panels and paint), and the frame.

Each frame starts by restoring from the base what the previous one drew over; then only moving things are drawn.
Panels are drawn into the base when what they show has changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import backdrop, canvas, layout, marker, panels
from .backdrop import FAINT, SOFT, WHITE
from .canvas import Picture, Plane, hue, rgb
from .marker import MarkerReading
from .state import MARK_SECONDS, Mark, SceneState

_DISC_HUES = (188.0, 316.0, 44.0, 140.0, 268.0, 12.0)
_BUTTON_COLOURS = (rgb(0.35, 1.0, 0.62), rgb(1.0, 0.82, 0.25), rgb(1.0, 0.40, 0.45), rgb(0.6, 0.6, 1), rgb(1, 0.5, 1))
# Restoring many small pieces costs more than one copy of everything.
_MAX_PIECES = 240


@dataclass(frozen=True, kw_only=True)
class FrameFacts:
    """What one frame says of itself; ``clock`` is local time for people, the marker carries ``time_ms``."""

    frame: int
    time_ms: int
    now_seconds: float
    clock: str
    status: str


class Scene:
    """Draws ``state`` into the planes given to ``attach``. Not thread-safe: one thread changes state and draws."""

    def __init__(self, codec: str) -> None:
        self.state = SceneState()
        self._codec = codec
        self._angle = 0.0
        self._last_seconds: float | None = None
        self._drawn_versions: dict[str, int] = {}
        self._status = ""

    def attach(self, width: int, height: int, planes: tuple[Plane, Plane, Plane]) -> None:
        """Draw into these I420 planes from now on; ``width`` and ``height`` are even."""
        self._backdrop = backdrop.render(width, height, self._codec)
        self._base = Picture(width, height)
        self._frame = Picture(width, height, planes)
        self._k = backdrop.scale(width, height)
        self._reset_base()

    def _reset_base(self) -> None:
        """Forget the paint, draw all panels again."""
        everything = (0, 0, self._base.width, self._base.height)
        self._base.copy_from(self._backdrop, everything)
        self._base.touched.append(everything)
        self._drawn_versions.clear()
        self._status = ""

    def draw(self, facts: FrameFacts) -> None:
        """Draw the next frame over the previous one."""
        state = self.state
        if state.clear_wanted:
            state.clear_wanted = False
            self._reset_base()
        self._update_base(facts)
        self._restore()
        self._advance(facts.now_seconds)
        self._draw_system()
        self._draw_clock(facts)
        self._draw_people(facts.now_seconds)
        self._draw_marker(facts)

    def _advance(self, now: float) -> None:
        elapsed = min(0.2, now - self._last_seconds) if self._last_seconds is not None else 0.0
        self._last_seconds = now
        state = self.state
        if not state.toggles["pause"]:
            self._angle += elapsed * (2.4 if state.toggles["warp"] else 0.8)
        if state.toggles["rainbow"]:
            state.hue_degrees = (state.hue_degrees + elapsed * 60) % 360

    def _update_base(self, facts: FrameFacts) -> None:
        """Paint, and panels whose content changed."""
        while self.state.strokes:
            x, y, degrees = self.state.strokes.popleft()
            dot = canvas.disc(max(2, round(4 * self._k)), hue(degrees), 0.8)
            self._base.draw_centred(dot, x * self._base.width, y * self._base.height)
        flash = facts.now_seconds < self.state.flash_until_seconds
        versions = {**self.state.panel_versions, "flash": int(flash)}
        # Buttons shine for a moment, so their panel also follows the clock.
        versions["buttons"] = versions["buttons"] * 2 + versions.pop("flash")
        for name, version in versions.items():
            if self._drawn_versions.get(name) != version:
                self._drawn_versions[name] = version
                panels.DRAW[name](self._base, self._backdrop, self.state, facts.now_seconds)
        if facts.status != self._status:
            self._status = facts.status
            panels.draw_status(self._base, self._backdrop, facts.status)

    def _restore(self) -> None:
        pieces = self._frame.touched + self._base.touched
        if len(pieces) > _MAX_PIECES:
            pieces = [(0, 0, self._frame.width, self._frame.height)]
        for piece in pieces:
            self._frame.copy_from(self._base, piece)
        self._frame.touched.clear()
        self._base.touched.clear()

    def _draw_system(self) -> None:
        """The core and its discs, far ones first."""
        frame, state, k = self._frame, self.state, self._k
        cx, cy = state.core[0] * frame.width, state.core[1] * frame.height
        stretch = 1.1 if state.toggles["warp"] else 1.0
        discs: list[tuple[float, float, float, int, float]] = []
        for index, degrees in enumerate(_DISC_HUES):
            angle = self._angle * (1 + 0.17 * (index % 3)) + index * math.tau / 6
            for echo in range(4):
                x, y, depth = backdrop.orbit_point(index % 3, angle - echo * 0.11, stretch)
                discs.append((depth - echo * 0.01, cx + x * k, cy + y * k, echo, degrees))
        discs.sort()
        core_drawn = False
        for depth, x, y, echo, degrees in discs:
            if depth >= 0 and not core_drawn:
                core_drawn = True
                self._draw_core(cx, cy)
            radius = max(3, round((14 + round(depth * 3) * 1.8 - echo * 3) * k))
            item = canvas.disc(radius, hue(degrees), 0.9 if echo == 0 else 0.3)
            frame.draw_centred(item, x, y, 1.0 if echo == 0 else 0.42 - 0.1 * echo)
        if not core_drawn:
            self._draw_core(cx, cy)

    def _draw_core(self, cx: float, cy: float) -> None:
        radius = max(6, round(46 * self._k * self.state.size / 2) * 2)
        self._frame.draw_centred(canvas.disc(radius, hue(self.state.hue_degrees, 0.62), 0.95), cx, cy)

    def _draw_clock(self, facts: FrameFacts) -> None:
        frame, k = self._frame, self._k
        sy = frame.height / layout.DESIGN_HEIGHT
        box = layout.CLOCK
        size = max(8, round(26 * k))
        self._digits(facts.clock, box.right * frame.width, box.top * frame.height + 8 * sy, size, WHITE)
        small = max(6, round(11 * k))
        self._digits(f"frame {facts.frame:07d}", box.right * frame.width, 84 * sy, small, SOFT)

    def _digits(self, text: str, right: float, top: float, cap_height: int, colour: canvas.Colour) -> None:
        """Right-aligned text drawn letter by letter: letters stay in the cache although the text always changes."""
        items = [canvas.text_sprite(character, cap_height, colour) for character in text]
        advances = [item.width - (2 if cap_height > 16 else 0) for item in items]
        x = right - sum(advances)
        for item, advance in zip(items, advances, strict=True):
            self._frame.draw(item, x, top - round(1.9 * cap_height / 6))
            x += advance

    def _draw_people(self, now: float) -> None:
        """Pointer events, fingers and the pointer itself."""
        frame, state, k = self._frame, self.state, self._k
        while state.marks and now - state.marks[0].born_seconds > MARK_SECONDS:
            state.marks.popleft()
        for mark in state.marks:
            self._draw_mark(mark, now - mark.born_seconds)
        for x, y, born in state.trail:
            age = now - born
            if age < 0.5:
                dot = canvas.disc(max(2, round(3 * k)), rgb(0.7, 0.9, 1.0), 0.6)
                frame.draw_centred(dot, x * frame.width, y * frame.height, 0.7 * (1 - age / 0.5))
        for finger, (x, y, force) in state.touches.items():
            colour = hue(finger * 47 + 150)
            radius = max(6, round((30 + 12 * force) * k))
            frame.draw_centred(canvas.ring(radius, max(2, round(5 * k)), colour), x * frame.width, y * frame.height)
            label = f"finger {finger}"
            frame.text(label, x * frame.width + radius, y * frame.height - radius, max(6, round(9 * k)), colour)
        if state.pointer is not None:
            self._draw_pointer(state.pointer)

    def _draw_pointer(self, place: tuple[float, float]) -> None:
        frame, k = self._frame, self._k
        x, y = place[0] * frame.width, place[1] * frame.height
        held = [index for index in range(len(_BUTTON_COLOURS)) if self.state.buttons >> index & 1]
        colour = _BUTTON_COLOURS[held[0]] if held else WHITE
        frame.draw_centred(canvas.cross(max(6, round(16 * k)), max(2, round(2 * k)), colour), x, y)
        frame.draw_centred(canvas.ring(max(4, round(9 * k)), max(2, round(2 * k)), colour), x, y)
        for row, index in enumerate(held):
            dot = canvas.disc(max(3, round(6 * k)), _BUTTON_COLOURS[index], 0.5)
            frame.draw_centred(dot, x + (24 + 16 * row) * k, y + 18 * k)

    def _draw_mark(self, mark: Mark, age: float) -> None:
        """Rings that widen for a moment; a press leaves its cross and label for a while."""
        frame, k = self._frame, self._k
        x, y = mark.x * frame.width, mark.y * frame.height
        colour = _BUTTON_COLOURS[mark.index % len(_BUTTON_COLOURS)]
        opacity = max(0.0, 1 - age / MARK_SECONDS)
        thickness = max(2, round(3 * k))
        if mark.kind in ("down", "double", "touch"):
            spread = min(1.0, age / 0.5)
            radius = max(4, round((12 + 26 * spread) * k / 2) * 2)
            frame.draw_centred(canvas.ring(radius, thickness, colour), x, y, opacity)
            if mark.kind == "double":
                frame.draw_centred(canvas.ring(radius + max(4, round(8 * k)), thickness, colour), x, y, opacity)
            frame.draw_centred(canvas.cross(max(5, round(12 * k)), max(2, round(2 * k)), colour), x, y, opacity)
            frame.text(mark.label, x + 34 * k, y + 20 * k, max(6, round(10 * k)), colour, opacity)
        elif mark.kind == "wheel" and age < 1.0:
            offset = (-1 if mark.index == 0 else 1) * (16 + 26 * age) * k
            frame.text(mark.label, x + 14 * k, y + offset, max(6, round(11 * k)), colour, 1 - age)
        elif mark.kind in ("up", "lift") and age < 0.8:
            radius = max(4, round((38 - 30 * age / 0.8) * k / 2) * 2)
            frame.draw_centred(canvas.ring(radius, max(1, round(2 * k)), FAINT), x, y, 1 - age / 0.8)

    def _draw_marker(self, facts: FrameFacts) -> None:
        state = self.state
        reading = MarkerReading(
            frame=facts.frame,
            time_ms=facts.time_ms,
            inputs=state.inputs,
            click_x=state.click[0],
            click_y=state.click[1],
            keys=state.keys,
            buttons=state.button_bits,
            toggles=state.toggle_bits(facts.now_seconds),
        )
        marker.draw(self._frame.y, self._frame.width, self._frame.height, reading)
