"""Where things are in the scene, as fractions of the picture (0..1), so that tests can aim at them at any size."""

from __future__ import annotations

from dataclasses import dataclass

# The scene is designed at this size; positions scale with each side, letters and discs with the smaller factor.
DESIGN_WIDTH = 1280
DESIGN_HEIGHT = 720


@dataclass(frozen=True)
class Box:
    """A rectangle in fractions of the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def contains(self, x: float, y: float) -> bool:
        return self.left <= x < self.right and self.top <= y < self.bottom

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


def _box(left: int, top: int, right: int, bottom: int) -> Box:
    return Box(left / DESIGN_WIDTH, top / DESIGN_HEIGHT, right / DESIGN_WIDTH, bottom / DESIGN_HEIGHT)


EVENTS_PANEL = _box(40, 128, 330, 384)
UI_PANEL = _box(950, 128, 1240, 300)
PAD_PANEL = _box(950, 316, 1240, 540)
TEXT_FIELD = _box(40, 596, 620, 648)
CLOCK = _box(950, 28, 1240, 104)

# Left to right; the bit of each in the marker is its index.
BUTTONS: tuple[tuple[str, Box], ...] = (
    ("pause", _box(640, 596, 780, 648)),
    ("rainbow", _box(794, 596, 934, 648)),
    ("warp", _box(948, 596, 1088, 648)),
    ("clear", _box(1102, 596, 1240, 648)),
)

CORE = (640 / DESIGN_WIDTH, 348 / DESIGN_HEIGHT)


def target(x: float, y: float) -> str:
    """What is at a place: ``text``, the name of a button, or ``scene``."""
    if TEXT_FIELD.contains(x, y):
        return "text"
    for name, box in BUTTONS:
        if box.contains(x, y):
            return name
    return "scene"
