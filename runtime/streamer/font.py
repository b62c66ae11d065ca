"""Text as coverage masks: the strokes of ``glyphs`` rasterised with anti-aliasing at any size, and cached."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .glyphs import glyph

Mask = npt.NDArray[np.uint8]

_SPACING = 1.55  # units between glyphs
_ASCENT = 1.9  # units kept above the capitals (Й, brackets)
_DESCENT = 2.2  # units kept below the baseline
_CURVE_STEPS = 8


def _points(stroke: str) -> list[tuple[float, float]]:
    """The polyline of one stroke, curves flattened."""
    line: list[tuple[float, float]] = []
    control: tuple[float, float] | None = None
    for item in stroke.split():
        x, y = (float(part) for part in item.lstrip("~").split(","))
        if item.startswith("~"):
            control = (x, y)
            continue
        if control is not None:
            (x0, y0), (x1, y1) = line[-1], control
            for step in range(1, _CURVE_STEPS):
                t = step / _CURVE_STEPS
                a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
                line.append((a * x0 + b * x1 + c * x, a * y0 + b * y1 + c * y))
            control = None
        line.append((x, y))
    return line


def _distance(
    xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64], start: tuple[float, float], end: tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Distance of every point of the grid to a segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    along = np.clip(((xs - start[0]) * dx + (ys - start[1]) * dy) / length, 0, 1) if length else np.zeros_like(xs)
    result: npt.NDArray[np.float64] = np.hypot(xs - start[0] - along * dx, ys - start[1] - along * dy)
    return result


@lru_cache(maxsize=4096)
def _glyph_mask(character: str, cap_height: int, weight: float) -> Mask:
    width, strokes, shrink = glyph(character)
    unit = cap_height / 6
    half_width = max(weight * cap_height / 2, 0.45)
    rows = round((6 + _ASCENT + _DESCENT) * unit)
    columns = max(1, round((width * shrink + _SPACING) * unit))
    ys, xs = np.mgrid[0:rows, 0:columns] + 0.5
    nearest = np.full((rows, columns), np.inf)
    for stroke in filter(None, strokes.split("|")):
        line = [
            ((x * shrink + _SPACING / 2) * unit, ((y - 6) * shrink + 6 + _ASCENT) * unit) for x, y in _points(stroke)
        ]
        for start, end in zip(line, line[1:] or line, strict=False):
            nearest = np.minimum(nearest, _distance(xs, ys, start, end))
    coverage: Mask = (np.clip(half_width - nearest + 0.5, 0, 1) * 255).astype(np.uint8)
    coverage.setflags(write=False)
    return coverage


@lru_cache(maxsize=512)
def text_mask(text: str, cap_height: int, weight: float = 0.13) -> Mask:
    """Coverage (0..255) of one line, shape (height, width); capitals are ``cap_height`` pixels high.

    The capitals begin ``ascent(cap_height)`` rows below the mask's top. The array is shared: do not write to it.
    """
    glyphs = [_glyph_mask(character, cap_height, weight) for character in text]
    if not glyphs:
        return np.zeros((1, 1), np.uint8)
    mask = np.concatenate(glyphs, axis=1)
    mask.setflags(write=False)
    return mask


def ascent(cap_height: int) -> int:
    """Rows of a mask above the capitals."""
    return round(_ASCENT * cap_height / 6)


def text_width(text: str, cap_height: int) -> int:
    """Pixels that ``text_mask`` of the same arguments is wide."""
    return sum(_glyph_mask(character, cap_height, 0.13).shape[1] for character in text)
