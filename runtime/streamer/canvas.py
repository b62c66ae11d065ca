"""Drawing straight into I420 planes: no RGB picture, no conversion, only the touched parts are redrawn.

Colours are BT.601 studio range. Sprites are premultiplied once, so that drawing one costs a multiplication and an
addition per sample. Positions are rounded to even pixels, because one chroma sample covers two by two luma samples.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from . import font

Plane = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint16]
Rect = tuple[int, int, int, int]  # left, top, right, bottom; exclusive, even


@dataclass(frozen=True)
class Colour:
    """Studio-range Y, U, V."""

    y: int
    u: int
    v: int


@lru_cache(maxsize=1024)
def rgb(red: float, green: float, blue: float) -> Colour:
    """Colour of components 0..1 (ITU-R BT.601)."""
    return Colour(
        round(16 + 65.481 * red + 128.553 * green + 24.966 * blue),
        round(128 - 37.797 * red - 74.203 * green + 112.0 * blue),
        round(128 + 112.0 * red - 93.786 * green - 18.214 * blue),
    )


def hue(degrees: float, saturation: float = 0.75, value: float = 1.0) -> Colour:
    """Colour of a hue, in steps of 4 degrees so that sprites are found in the cache."""
    return rgb(*colorsys.hsv_to_rgb(round(degrees / 4) * 4 % 360 / 360, saturation, value))


@dataclass(frozen=True, eq=False)
class Sprite:
    """Something to draw. ``keep_*`` is 256 minus coverage, ``add_*`` is colour times coverage (0..256)."""

    keep_y: Words
    add_y: Words
    keep_c: Words
    add_u: Words
    add_v: Words

    @property
    def width(self) -> int:
        return int(self.keep_y.shape[1])

    @property
    def height(self) -> int:
        return int(self.keep_y.shape[0])


def _halve(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of each two by two block."""
    result: npt.NDArray[np.float64] = (
        values[0::2, 0::2] + values[1::2, 0::2] + values[0::2, 1::2] + values[1::2, 1::2]
    ) / 4
    return result


def sprite(
    coverage: npt.NDArray[np.float64], y: npt.NDArray[np.float64] | float, u: float | npt.NDArray[np.float64],
    v: float | npt.NDArray[np.float64],
) -> Sprite:  # fmt: skip
    """A sprite of coverage 0..1, shape (height, width), and a colour per sample or one for all."""
    height, width = coverage.shape
    padding = ((0, height % 2), (0, width % 2))
    full = np.pad(coverage, padding)
    half = _halve(full)

    def premultiplied(values: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
        padded = np.pad(values, padding) if isinstance(values, np.ndarray) else values
        return full * padded * 256

    return Sprite(
        (256 - np.rint(full * 256)).astype(np.uint16),
        np.rint(premultiplied(y)).astype(np.uint16),
        (256 - np.rint(half * 256)).astype(np.uint16),
        np.rint(_halve(premultiplied(u))).astype(np.uint16),
        np.rint(_halve(premultiplied(v))).astype(np.uint16),
    )


class Picture:
    """I420 planes with drawing operations; everything is clipped. ``touched`` collects what was drawn over."""

    def __init__(self, width: int, height: int, planes: tuple[Plane, Plane, Plane] | None = None) -> None:
        self.width, self.height = width, height
        if planes is None:
            planes = (
                np.full((height, width), 16, np.uint8),
                np.full((height // 2, width // 2), 128, np.uint8),
                np.full((height // 2, width // 2), 128, np.uint8),
            )
        self.y, self.u, self.v = planes
        self.touched: list[Rect] = []

    def _clip(self, left: int, top: int, right: int, bottom: int) -> Rect | None:
        rect = (
            max(0, left & ~1),
            max(0, top & ~1),
            min(self.width, (right + 1) & ~1),
            min(self.height, (bottom + 1) & ~1),
        )
        return rect if rect[0] < rect[2] and rect[1] < rect[3] else None

    def fill(self, left: int, top: int, right: int, bottom: int, colour: Colour, opacity: float = 1.0) -> None:
        """A rectangle of one colour."""
        rect = self._clip(left, top, right, bottom)
        if rect is None:
            return
        left, top, right, bottom = rect
        self.touched.append(rect)
        level = round(opacity * 256)
        for plane, value, shift in ((self.y, colour.y, 0), (self.u, colour.u, 1), (self.v, colour.v, 1)):
            part = plane[top >> shift : bottom >> shift, left >> shift : right >> shift]
            if level >= 256:
                part[:] = value
            else:
                part[:] = (part.astype(np.uint16) * np.uint16(256 - level) + np.uint16(value * level)) >> 8

    def draw(self, item: Sprite, left: float, top: float, opacity: float = 1.0) -> None:
        """A sprite with its top left corner near the given pixel."""
        x, y = round(left / 2) * 2, round(top / 2) * 2
        rect = self._clip(x, y, x + item.width, y + item.height)
        if rect is None or opacity <= 0.0:
            return
        self.touched.append(rect)
        level = min(256, round(opacity * 256))
        x0, y0, x1, y1 = rect
        for plane, keep, add, shift in (
            (self.y, item.keep_y, item.add_y, 0),
            (self.u, item.keep_c, item.add_u, 1),
            (self.v, item.keep_c, item.add_v, 1),
        ):
            part = plane[y0 >> shift : y1 >> shift, x0 >> shift : x1 >> shift]
            window = (slice((y0 - y) >> shift, (y1 - y) >> shift), slice((x0 - x) >> shift, (x1 - x) >> shift))
            kept, added = keep[window], add[window]
            if level < 256:
                kept = (256 - (((256 - kept).astype(np.uint32) * level) >> 8)).astype(np.uint16)
                added = ((added.astype(np.uint32) * level) >> 8).astype(np.uint16)
            mixed = part * kept
            mixed += added
            mixed >>= 8
            part[:] = mixed

    def draw_centred(self, item: Sprite, x: float, y: float, opacity: float = 1.0) -> None:
        """A sprite with its centre near the given pixel."""
        self.draw(item, x - item.width / 2, y - item.height / 2, opacity)

    def text(self, text: str, left: float, top: float, cap_height: int, colour: Colour, opacity: float = 1.0) -> int:
        """One line whose capitals begin at ``top``; answers its width in pixels."""
        if not text:
            return 0
        item = text_sprite(text, cap_height, colour)
        self.draw(item, left, top - font.ascent(cap_height), opacity)
        return item.width

    def copy_from(self, source: Picture, rect: Rect) -> None:
        """The samples of ``rect`` from a picture of the same size."""
        left, top, right, bottom = rect
        self.y[top:bottom, left:right] = source.y[top:bottom, left:right]
        half = (slice(top >> 1, bottom >> 1), slice(left >> 1, right >> 1))
        self.u[half] = source.u[half]
        self.v[half] = source.v[half]


@lru_cache(maxsize=256)
def text_sprite(text: str, cap_height: int, colour: Colour) -> Sprite:
    """One line of text, cached."""
    coverage = font.text_mask(text, cap_height).astype(np.float64) / 255
    return sprite(coverage, colour.y, colour.u, colour.v)


@lru_cache(maxsize=48)
def disc(radius: int, colour: Colour, glow: float = 1.0) -> Sprite:
    """A bright ball with a halo of ``glow`` times its radius."""
    reach = int(radius * (1 + glow)) + 2 & ~1
    ys, xs = np.mgrid[-reach:reach, -reach:reach] + 0.5
    distance = np.hypot(xs, ys)
    body = np.clip(radius - distance + 0.5, 0, 1)
    beyond = np.clip((distance - radius) / max(1.0, radius * glow), 0, 1)
    halo = 0.55 * (1 - beyond) ** 2.6
    coverage = np.maximum(body, np.where(distance > radius - 1, halo, 0))
    # Light falls from the upper left: a highlight that fades towards the colour, and a darker rim.
    highlight = np.clip(1 - np.hypot(xs + radius * 0.35, ys + radius * 0.35) / (radius * 0.95), 0, 1) ** 1.6 * body
    rim = np.clip((distance / radius - 0.55) / 0.45, 0, 1) * body * 0.28
    luma = colour.y * (1 - rim) + (232 - colour.y) * highlight
    fade = 1 - 0.75 * highlight
    return sprite(coverage, luma, 128 + (colour.u - 128) * fade, 128 + (colour.v - 128) * fade)


@lru_cache(maxsize=128)
def ring(radius: int, thickness: int, colour: Colour) -> Sprite:
    """A circle line."""
    reach = radius + thickness + 2 & ~1
    ys, xs = np.mgrid[-reach:reach, -reach:reach] + 0.5
    coverage = np.clip(thickness / 2 - np.abs(np.hypot(xs, ys) - radius) + 0.5, 0, 1)
    return sprite(coverage, colour.y, colour.u, colour.v)


@lru_cache(maxsize=64)
def cross(arm: int, thickness: int, colour: Colour) -> Sprite:
    """A plus sign with a free middle."""
    reach = arm + 2 & ~1
    ys, xs = np.mgrid[-reach:reach, -reach:reach] + 0.5
    line = np.clip(thickness / 2 - np.minimum(np.abs(xs), np.abs(ys)) + 0.5, 0, 1)
    far = np.maximum(np.abs(xs), np.abs(ys))
    coverage = line * np.clip(arm - far + 0.5, 0, 1) * np.clip(far - arm * 0.35 + 0.5, 0, 1)
    return sprite(coverage, colour.y, colour.u, colour.v)


@lru_cache(maxsize=64)
def rounded(width: int, height: int, radius: int, colour: Colour, outline: int = 0) -> Sprite:
    """A rectangle with round corners, filled, or only its ``outline`` of so many pixels."""
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    inner_x = np.abs(xs - width / 2) - (width / 2 - radius)
    inner_y = np.abs(ys - height / 2) - (height / 2 - radius)
    distance = (
        np.hypot(np.maximum(inner_x, 0), np.maximum(inner_y, 0)) + np.minimum(np.maximum(inner_x, inner_y), 0) - radius
    )
    coverage = np.clip(0.5 - distance, 0, 1)
    if outline:
        coverage = np.minimum(coverage, np.clip(distance + outline + 0.5, 0, 1))
    return sprite(coverage, colour.y, colour.u, colour.v)
