"""The parts of the scene that do not move: sky, grid, orbits and the title. Drawn once per size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from . import canvas, layout, marker
from .canvas import Picture, rgb

WHITE = rgb(0.96, 0.97, 1.0)
SOFT = rgb(0.62, 0.68, 0.86)
FAINT = rgb(0.38, 0.43, 0.62)
PANEL = rgb(0.03, 0.04, 0.10)
ACCENT = rgb(0.36, 0.85, 1.0)

# Semi-axes in design pixels and tilt of each orbit in degrees.
ORBITS: tuple[tuple[float, float, float], ...] = ((262.0, 76.0, -24.0), (240.0, 92.0, 32.0), (206.0, 58.0, 88.0))

_Floats = npt.NDArray[np.floating[Any]]


def scale(width: int, height: int) -> float:
    """Factor for everything that must keep its shape."""
    return min(width / layout.DESIGN_WIDTH, height / layout.DESIGN_HEIGHT)


def orbit_point(index: int, angle: float, stretch: float = 1.0) -> tuple[float, float, float]:
    """Offset from the core in design pixels, and depth: 1 nearest, -1 farthest."""
    long_axis, short_axis, tilt = ORBITS[index]
    turn = math.radians(tilt)
    x, y = long_axis * stretch * math.cos(angle), short_axis * stretch * math.sin(angle)
    return x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn), math.sin(angle)


def render(width: int, height: int, codec: str) -> Picture:
    """A picture of the given size, with nothing on it that changes."""
    picture = Picture(width, height)
    _sky(picture)
    factor = scale(width, height)
    sx, sy = width / layout.DESIGN_WIDTH, height / layout.DESIGN_HEIGHT
    big = max(8, round(30 * factor))
    x = picture.text("pixel", 40 * sx, 36 * sy, big, WHITE)
    picture.text("stream", 40 * sx + x, 36 * sy, big, ACCENT)
    small = max(6, round(10 * factor))
    picture.text("sample title · every input is drawn where it lands", 40 * sx, 84 * sy, small, SOFT)
    hint = "click · drag to paint · wheel · type · arrows · touch · gamepad"
    picture.text(hint, 40 * sx, 570 * sy, small, SOFT)
    _, top, right, bottom = marker.bounds(width, height)
    picture.fill(0, top, width, height, rgb(0.02, 0.02, 0.06))
    label_y = (top + bottom) / 2 - small / 2
    picture.text("state", 40 * sx, label_y, small, FAINT)
    picture.text(codec, right + 14 * sx, label_y, small, FAINT)
    picture.touched.clear()
    return picture


def _sky(picture: Picture) -> None:
    """Gradient, light round the core, grid, stars and orbit lines, blended in RGB and converted once."""
    width, height = picture.width, picture.height
    # Single precision and open grids: preparing a picture is felt when its size changes.
    ys, xs = (axis.astype(np.float32) + np.float32(0.5) for axis in np.ogrid[0:height, 0:width])
    u, v = xs / width, ys / height
    factor = scale(width, height)
    dx, dy = xs - layout.CORE[0] * width, ys - layout.CORE[1] * height
    glow = np.exp(-((dx / (400 * factor)) ** 2) - (dy / (270 * factor)) ** 2)
    edge = 1 - 0.45 * np.clip(np.hypot(u - 0.5, v - 0.5) - 0.25, 0, 1)
    red = (0.045 + 0.065 * v + 0.17 * glow) * edge
    green = (0.060 + 0.020 * v + 0.075 * glow) * edge
    blue = (0.140 + 0.130 * v + 0.330 * glow) * edge
    light = np.maximum(_grid(xs, ys, 40 * factor) * (0.30 + 0.7 * glow) * 0.10, _orbits(dx, dy, factor) * 0.30)
    light = np.maximum(light, _stars(width, height) * (1 - glow))
    _convert(picture, red + 0.55 * light, green + 0.75 * light, blue + 0.95 * light)


def _grid(xs: _Floats, ys: _Floats, step: float) -> _Floats:
    """Thin lines every ``step`` pixels."""
    result: _Floats = np.maximum(np.clip(1.0 - xs % step, 0, 1), np.clip(1.0 - ys % step, 0, 1))
    return result


def _orbits(dx: _Floats, dy: _Floats, factor: float) -> _Floats:
    """Ellipse lines; the distance is the implicit function over its gradient's length."""
    light: _Floats = np.zeros((dy.shape[0], dx.shape[1]), np.float32)
    for long_axis, short_axis, tilt in ORBITS:
        turn = math.radians(tilt)
        along = (dx * math.cos(turn) + dy * math.sin(turn)) / (long_axis * factor)
        across = (dy * math.cos(turn) - dx * math.sin(turn)) / (short_axis * factor)
        radius = np.hypot(along, across)
        steepness = np.hypot(along / (long_axis * factor), across / (short_axis * factor)) / np.maximum(radius, 1e-6)
        distance = np.abs(radius - 1) / np.maximum(steepness, 1e-9)
        light = np.maximum(light, np.clip(1.3 - distance, 0, 1))
    return light


def _stars(width: int, height: int) -> _Floats:
    """A fixed scatter of points, the same at each start."""
    light = np.zeros((height, width), np.float32)
    random = np.random.default_rng(7)
    count = width * height // 9000
    rows, columns = (random.random(count) ** 1.4 * height * 0.8).astype(int), random.integers(0, width, count)
    light[rows, columns] = random.random(count) * 0.5
    return light


def _convert(picture: Picture, red: _Floats, green: _Floats, blue: _Floats) -> None:
    """RGB 0..1 to the planes, with a little fixed noise in luma so that the gradient shows no bands."""
    red, green, blue = (np.clip(part, 0, 1) for part in (red, green, blue))
    noise = np.random.default_rng(3).random(red.shape, np.float32) - 0.5
    luma = 16 + 65.481 * red + 128.553 * green + 24.966 * blue + noise
    picture.y[:] = np.clip(np.rint(luma), 16, 235)

    def halved(plane: _Floats) -> _Floats:
        result: _Floats = plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean(axis=(1, 3))
        return result

    red, green, blue = halved(red), halved(green), halved(blue)
    picture.u[:] = np.rint(128 - 37.797 * red - 74.203 * green + 112.0 * blue)
    picture.v[:] = np.rint(128 + 112.0 * red - 93.786 * green - 18.214 * blue)


def panel(picture: Picture, box: layout.Box, outline: canvas.Colour = FAINT) -> tuple[float, float]:
    """A dark pane with round corners; answers its top left corner in pixels."""
    left, top = round(box.left * picture.width / 2) * 2, round(box.top * picture.height / 2) * 2
    width = max(8, round((box.right - box.left) * picture.width / 2) * 2)
    height = max(8, round((box.bottom - box.top) * picture.height / 2) * 2)
    radius = max(2, round(10 * scale(picture.width, picture.height)))
    picture.draw(canvas.rounded(width, height, radius, PANEL), left, top, 0.62)
    picture.draw(canvas.rounded(width, height, radius, outline, 1), left, top, 0.55)
    return left, top
