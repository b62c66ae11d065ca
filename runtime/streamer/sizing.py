"""The size of the picture from what the path carries: fewer, clear pixels rather than many coarse ones.

As Pixel Streaming does it, the frame rate stays and the size gives way. Pure: the clock comes in.
"""

from __future__ import annotations

from dataclasses import replace

from .config import fit_size
from .encode import EncoderSettings

# Parts of each side.
STEPS = (1.0, 0.75, 0.5)
# Bits per pixel: with less the size goes down, with more than the second at the larger size it goes up again.
TOO_FEW, ENOUGH = 0.02, 0.03
# An estimate begins low and dips; and each new size costs a keyframe, on a path that has nothing to spare.
_DOWN_AFTER_SECONDS, _UP_AFTER_SECONDS = 2.0, 5.0


class SizeLadder:
    """Remembers on which step the picture is, and since when the rate has called for another."""

    def __init__(self) -> None:
        self._step = 0
        self._calling: tuple[int, float] | None = None

    def settings_for(self, wanted: EncoderSettings, bitrate_bps: int, now_seconds: float) -> EncoderSettings:
        """``wanted`` at the size that ``bitrate_bps`` allows now."""
        direction = self._direction(wanted, bitrate_bps)
        if direction == 0:
            self._calling = None
        elif self._calling is None or self._calling[0] != direction:
            self._calling = direction, now_seconds
        elif now_seconds - self._calling[1] >= (_DOWN_AFTER_SECONDS if direction > 0 else _UP_AFTER_SECONDS):
            self._step += direction
            self._calling = None
        width, height = _scaled(wanted, self._step)
        return replace(wanted, width=width, height=height)

    def _direction(self, wanted: EncoderSettings, bitrate_bps: int) -> int:
        """+1: a step further down the ladder, -1: back up, 0: stay."""
        if self._step + 1 < len(STEPS) and bitrate_bps < TOO_FEW * _pixels_a_second(wanted, self._step):
            # Where the smallest size is reached, another step would change nothing.
            return int(_scaled(wanted, self._step + 1) != _scaled(wanted, self._step))
        if self._step > 0 and bitrate_bps > ENOUGH * _pixels_a_second(wanted, self._step - 1):
            return -1
        return 0


def _scaled(wanted: EncoderSettings, step: int) -> tuple[int, int]:
    return fit_size(round(wanted.width * STEPS[step]), round(wanted.height * STEPS[step]))


def _pixels_a_second(wanted: EncoderSettings, step: int) -> int:
    width, height = _scaled(wanted, step)
    return width * height * wanted.fps
