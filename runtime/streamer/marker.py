"""The machine-readable strip in the picture: what the streamer knew when it drew a frame.

Tests and benchmarks read it back after encoding, transport and decoding, so that latency and control are measured
from the picture itself. Pure functions; the same decoder for browsers is ``tests/support/marker.js``.

Layout, version 1. The picture is thought of as 80 columns by 45 rows of cells (16 by 16 pixels at 1280x720); the edge
of cell ``i`` of ``n`` along ``size`` pixels lies at ``floor(i * size / n + 1/2)``. The marker takes columns 8..71 of
the last three rows, 64 cells each, 192 in all, read row by row, left to right. A light cell is 1. Bits, most
significant first:

====== ==== =====================================================================================
offset bits field
====== ==== =====================================================================================
0      8    sync, 0xB2
8      8    version, 1
16     32   frame number, rising by one per drawn frame
48     48   epoch milliseconds when the frame was drawn
96     16   control messages applied so far, modulo 65536
112    16   x of the last press (mouse or touch), 0..65535 as a fraction of the width
128    16   y of the last press
144    16   key presses applied so far (KeyDown without repeats), modulo 65536
160    8    pointer buttons held, bit n = button n (left, middle, right, back, forward), bit 7: a finger is down
168    8    on-scene buttons that are switched on, bit n = button n from the left
176    16   CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) of the 22 bytes before
====== ==== =====================================================================================

A decoder takes the mean luma of the middle half of each cell, derives the threshold from the known sync bits, and
answers nothing unless sync, version and CRC hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

COLUMNS = 80
ROWS = 45
FIRST_COLUMN = 8
FIRST_ROW = 42
CELLS_PER_ROW = 64
CELL_ROWS = 3

SYNC = 0xB2
VERSION = 1
# Studio-range luma with a margin, so that neither scaling nor a range mix-up clips them.
DARK_LUMA = 28
LIGHT_LUMA = 224
# Below this difference between light and dark sync cells the strip is not there.
MIN_CONTRAST = 50.0

_DATA_BYTES = 22

Luma = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class MarkerReading:
    """What one frame says of itself; units and ranges as in the module's table."""

    frame: int
    time_ms: int
    inputs: int = 0
    click_x: int = 0
    click_y: int = 0
    keys: int = 0
    buttons: int = 0
    toggles: int = 0


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE; ``b"123456789"`` gives 0x29B1."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def encode(reading: MarkerReading) -> npt.NDArray[np.uint8]:
    """Cells of the marker, shape (3, 64), 1 for light; fields wrap at their width."""
    data = b"".join(
        (
            bytes((SYNC, VERSION)),
            (reading.frame & 0xFFFFFFFF).to_bytes(4, "big"),
            (reading.time_ms & 0xFFFFFFFFFFFF).to_bytes(6, "big"),
            (reading.inputs & 0xFFFF).to_bytes(2, "big"),
            (reading.click_x & 0xFFFF).to_bytes(2, "big"),
            (reading.click_y & 0xFFFF).to_bytes(2, "big"),
            (reading.keys & 0xFFFF).to_bytes(2, "big"),
            bytes((reading.buttons & 0xFF, reading.toggles & 0xFF)),
        )
    )
    data += crc16(data).to_bytes(2, "big")
    return np.unpackbits(np.frombuffer(data, np.uint8)).reshape(CELL_ROWS, CELLS_PER_ROW)


def edge(index: int, count: int, size: int) -> int:
    """Pixel at which cell ``index`` of ``count`` begins along a side of ``size`` pixels."""
    return (2 * index * size + count) // (2 * count)


def bounds(width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the strip in pixels (right and bottom exclusive)."""
    return (
        edge(FIRST_COLUMN, COLUMNS, width),
        edge(FIRST_ROW, ROWS, height),
        edge(FIRST_COLUMN + CELLS_PER_ROW, COLUMNS, width),
        edge(FIRST_ROW + CELL_ROWS, ROWS, height),
    )


def draw(luma: Luma, width: int, height: int, reading: MarkerReading) -> None:
    """Write the strip into the luma plane of a ``width`` by ``height`` picture, in place."""
    left, top, right, bottom = bounds(width, height)
    columns = [edge(FIRST_COLUMN + i, COLUMNS, width) for i in range(CELLS_PER_ROW + 1)]
    rows = [edge(FIRST_ROW + i, ROWS, height) for i in range(CELL_ROWS + 1)]
    values = np.where(encode(reading) == 1, LIGHT_LUMA, DARK_LUMA).astype(np.uint8)
    luma[top:bottom, left:right] = np.repeat(np.repeat(values, np.diff(rows), axis=0), np.diff(columns), axis=1)


def _cell_means(luma: Luma) -> npt.NDArray[np.float64] | None:
    """Mean of the middle half of each cell, shape (192,); None if the picture has no room for cells."""
    height, width = luma.shape
    if width < 2 * COLUMNS or height < 2 * ROWS:
        return None
    means = np.empty(CELL_ROWS * CELLS_PER_ROW)
    for row in range(CELL_ROWS):
        top, bottom = edge(FIRST_ROW + row, ROWS, height), edge(FIRST_ROW + row + 1, ROWS, height)
        inset_y = (bottom - top) // 4
        for column in range(CELLS_PER_ROW):
            left = edge(FIRST_COLUMN + column, COLUMNS, width)
            right = edge(FIRST_COLUMN + column + 1, COLUMNS, width)
            inset_x = (right - left) // 4
            cell = luma[top + inset_y : bottom - inset_y, left + inset_x : right - inset_x]
            means[row * CELLS_PER_ROW + column] = cell.mean()
    return means


def decode(luma: Luma) -> MarkerReading | None:
    """Read the strip from a luma plane of shape (height, width), any size; None when there is no valid one."""
    means = _cell_means(luma)
    if means is None:
        return None
    sync = np.unpackbits(np.array([SYNC], np.uint8)) == 1
    light, dark = means[:8][sync].mean(), means[:8][~sync].mean()
    if light - dark < MIN_CONTRAST:
        return None
    data = np.packbits(means > (light + dark) / 2).tobytes()
    if data[0] != SYNC or data[1] != VERSION or crc16(data[:_DATA_BYTES]) != int.from_bytes(data[_DATA_BYTES:], "big"):
        return None

    def field(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], "big")

    return MarkerReading(
        frame=field(2, 4),
        time_ms=field(6, 6),
        inputs=field(12, 2),
        click_x=field(14, 2),
        click_y=field(16, 2),
        keys=field(18, 2),
        buttons=field(20, 1),
        toggles=field(21, 1),
    )
