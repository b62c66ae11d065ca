"""Which simulcast layer a player gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.layers import choose_layer

K = 1000
LAYERS = [2500 * K, 150 * K, 600 * K]  # in no particular order, as streamers list them


@pytest.mark.parametrize(
    ("current", "usable", "may_try", "chosen"),
    [
        (None, 10_000 * K, False, 0),
        (None, 700 * K, False, 2),
        (None, 50 * K, False, 1),  # nothing fits: the least
        (2, 10_000 * K, False, 0),
        (0, 700 * K, False, 2),
        (0, 100 * K, True, 1),
        (0, 2400 * K, False, 0),  # slightly too much: stay
        (2, 700 * K, True, 0),  # a trial
        (2, 700 * K, False, 2),
        (1, 200 * K, True, 2),
        (0, 10_000 * K, True, 0),
    ],
)
def test_the_best_that_fits_or_one_more_as_a_trial(
    current: int | None, usable: int, may_try: bool, chosen: int
) -> None:
    assert choose_layer(LAYERS, current, usable, may_try=may_try) == chosen


def test_layers_that_are_not_sent_are_not_chosen() -> None:
    assert choose_layer([0, 150 * K, 600 * K], 0, 10_000 * K, may_try=False) == 2
    assert choose_layer([0, 0, 0], None, 10_000 * K, may_try=True) is None
    assert choose_layer([0, 0, 0], 1, 10_000 * K, may_try=True) == 1


def test_a_limit_counts_from_the_worst() -> None:
    assert choose_layer(LAYERS, 0, 10_000 * K, may_try=True, allowed=2) == 2
    assert choose_layer(LAYERS, 2, 10_000 * K, may_try=True, allowed=1) == 1
    assert choose_layer(LAYERS, None, 10_000 * K, may_try=True, allowed=0) == 1


@given(
    st.lists(st.integers(0, 10**7), max_size=4),
    st.integers(0, 10**8),
    st.booleans(),
    st.none() | st.integers(0, 3),
    st.none() | st.integers(0, 5),
)
def test_the_choice_always_exists(
    bitrates: list[int], usable: int, may_try: bool, current: int | None, allowed: int | None
) -> None:
    chosen = choose_layer(bitrates, current, usable, may_try=may_try, allowed=allowed)
    if any(bitrates):
        assert chosen is not None
        assert bitrates[chosen] > 0
    else:
        assert chosen == current
