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
) -> int | None:
    """Index of the layer to send, or None while none is sent at all.

    ``bitrates_bps`` are measured, from the worst layer to the best, 0 for a layer that is not being sent. ``may_try``:
    nothing speaks against trying the next better one than what fits; what a player reports never exceeds its present
    layer by much, so without trials it would never get a better one. ``may_rise``: it is not too soon for a better one
    that does fit. ``allowed`` limits how many of the layers may be used, counted from the worst.
    """
    sent = [i for i, bitrate in enumerate(bitrates_bps) if bitrate > 0]
    sent = sent[: max(1, allowed)] if allowed is not None else sent
    if not sent:
        return current
    best = max((i for i in sent if bitrates_bps[i] <= usable_bps), default=sent[0])
    if current is None or current not in sent:
        return best
    if best < current:
        return current if bitrates_bps[current] <= STAY_FACTOR * usable_bps else best
    if best > current:
        return best if may_rise else current
    return next((i for i in sent if i > current), current) if may_try else current
