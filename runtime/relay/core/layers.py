"""Which of a streamer's simulcast layers each player gets.

The streamer sends the same picture several times, in several qualities; each player is sent the best that its link
carries, so that a bad link costs nobody else anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# A layer is kept until it exceeds what is believed to fit by this much: estimates move all the time, switches cost a
# keyframe.
STAY_FACTOR = 1.1
# No better layer sooner than this after a switch, be it a trial or known to fit: its keyframe must not be what decides.
MIN_STAY_SECONDS = 3.0


def quality_order(sizes: Sequence[tuple[int, int] | None], steady_bps: Sequence[float]) -> list[int]:
    """The indices of all layers, from the worst to the best.

    By the ``sizes`` of their pictures (width and height) where all of them are known, else by what they take in the
    long run, ``steady_bps``. The bitrate of a moment would not do: a keyframe makes the smallest layer the largest for
    a second, and where nothing moves all take the same. What still is equal counts as listed from the best (RFC 8853).
    """
    areas = [math.prod(size) if size else 0 for size in sizes]
    by_area = all(areas)
    return sorted(range(len(sizes)), key=lambda i: (areas[i] if by_area else 0, steady_bps[i], -i))


def choose_layer(
    bitrates_bps: Sequence[int],
    current: int | None,
    usable_bps: int,
    *,
    may_try: bool,
    may_rise: bool = True,
    allowed: int | None = None,
    order: Sequence[int] | None = None,
) -> int | None:
    """Index of the layer to send, or None while none is sent at all.

    ``bitrates_bps`` are measured, 0 for a layer that is not being sent. ``may_try``: nothing speaks against trying
    the next better one than what fits; what a player reports never exceeds its present layer by much, so without
    trials it would never get a better one. ``may_rise``: it is not too soon for a better one that does fit.
    ``allowed`` limits how many of the layers may be used, counted from the worst. ``order`` is that of their quality,
    from the worst; without it the bitrates tell.
    """
    if order is None:
        order = sorted(range(len(bitrates_bps)), key=lambda i: bitrates_bps[i])
    order = [i for i in order if bitrates_bps[i] > 0]
    order = order[: max(1, allowed)] if allowed is not None else order
    if not order:
        return current
    fitting = [i for i in order if bitrates_bps[i] <= usable_bps]
    best = fitting[-1] if fitting else order[0]
    if current is None or current not in order:
        return best
    position = order.index(current)
    if order.index(best) < position:
        return current if bitrates_bps[current] <= STAY_FACTOR * usable_bps else best
    if best == current:
        return order[position + 1] if may_try and position + 1 < len(order) else best
    return best if may_rise else current
