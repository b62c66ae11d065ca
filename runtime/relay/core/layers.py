"""Which of a streamer's simulcast layers each player gets.

The streamer sends the same picture several times, in several qualities; each player is sent the best that its link
carries, so that a bad link costs nobody else anything.
"""

from __future__ import annotations

from collections.abc import Sequence

# A layer is kept until it exceeds what is believed to fit by this much: estimates move all the time, switches cost a
# keyframe.
STAY_FACTOR = 1.1
# No trial of a better layer sooner than this after a switch.
MIN_STAY_SECONDS = 3.0


def choose_layer(
    bitrates_bps: Sequence[int], current: int | None, usable_bps: int, *, may_try: bool, allowed: int | None = None
) -> int | None:
    """Index of the layer to send, or None while none is sent at all.

    ``bitrates_bps`` are measured, 0 for a layer that is not being sent. ``may_try``: nothing speaks against trying
    the next better one than what fits; what a player reports never exceeds its present layer by much, so without
    trials it would never get a better one. ``allowed`` limits how many of the layers may be used, counted from the
    worst.
    """
    order = sorted((i for i, bitrate in enumerate(bitrates_bps) if bitrate > 0), key=lambda i: bitrates_bps[i])
    order = order[: max(1, allowed)] if allowed is not None else order
    if not order:
        return current
    fitting = [i for i in order if bitrates_bps[i] <= usable_bps]
    best = fitting[-1] if fitting else order[0]
    if current not in order:
        return best
    if bitrates_bps[best] < bitrates_bps[current]:
        return current if bitrates_bps[current] <= STAY_FACTOR * usable_bps else best
    position = order.index(current)
    if best == current and may_try and position + 1 < len(order):
        return order[position + 1]
    return best
