"""Which simulcast layer a player gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.layers import choose_layer, quality_order

K = 1000
LAYERS = [150 * K, 600 * K, 2500 * K]


@pytest.mark.parametrize(
    ("current", "usable", "may_try", "chosen"),
    [
        (None, 10_000 * K, False, 2),
        (None, 700 * K, False, 1),
        (None, 50 * K, False, 0),  # nothing fits: the least
        (1, 10_000 * K, False, 2),
        (2, 700 * K, False, 1),
        (2, 100 * K, True, 0),
        (2, 2400 * K, False, 2),  # slightly too much: stay
        (1, 700 * K, True, 2),  # a trial
        (1, 700 * K, False, 1),
        (0, 200 * K, True, 1),
        (2, 10_000 * K, True, 2),
    ],
)
def test_the_best_that_fits_or_one_more_as_a_trial(
    current: int | None, usable: int, may_try: bool, chosen: int
) -> None:
    assert choose_layer(LAYERS, current, usable, may_try=may_try) == chosen


def test_layers_that_are_not_sent_are_not_chosen() -> None:
    assert choose_layer([150 * K, 600 * K, 0], 2, 10_000 * K, may_try=False) == 1
    assert choose_layer([150 * K, 0, 600 * K], 0, 200 * K, may_try=True) == 2
    assert choose_layer([0, 0, 0], None, 10_000 * K, may_try=True) is None
    assert choose_layer([0, 0, 0], 1, 10_000 * K, may_try=True) == 1


def test_a_limit_counts_from_the_worst() -> None:
    assert choose_layer(LAYERS, 2, 10_000 * K, may_try=True, allowed=2) == 1
    assert choose_layer(LAYERS, 1, 10_000 * K, may_try=True, allowed=1) == 0
    assert choose_layer(LAYERS, None, 10_000 * K, may_try=True, allowed=0) == 0


def test_a_keyframe_of_the_smallest_layer_does_not_make_it_the_best() -> None:
    spike = [700 * K, 150 * K, 600 * K]
    assert choose_layer(spike, 0, 10_000 * K, may_try=False, allowed=1) == 0
    assert choose_layer(spike, 2, 10_000 * K, may_try=True) == 2
    assert choose_layer(spike, None, 650 * K, may_try=False) == 2
    assert choose_layer(spike, 1, 160 * K, may_try=False) == 1


def test_a_better_layer_waits_while_the_last_change_is_fresh_and_a_worse_one_does_not() -> None:
    assert choose_layer(LAYERS, 0, 10_000 * K, may_try=False, may_rise=False) == 0
    assert choose_layer(LAYERS, 2, 200 * K, may_try=False, may_rise=False) == 0
    assert choose_layer(LAYERS, None, 10_000 * K, may_try=False, may_rise=False) == 2
    assert choose_layer([150 * K, 600 * K, 0], 2, 10_000 * K, may_try=False, may_rise=False) == 1


@pytest.mark.parametrize(
    ("sizes", "steady", "order"),
    [
        pytest.param([(640, 360), (160, 90), (320, 180)], [1.0, 1.0, 9.0], [1, 2, 0], id="by size"),
        pytest.param([(640, 360), (640, 360)], [9.0, 1.0], [1, 0], id="same size: by bitrate"),
        pytest.param([(640, 360), None, (320, 180)], [2.0, 1.0, 3.0], [1, 0, 2], id="not all known: by bitrate"),
        pytest.param([None, None], [0.0, 0.0], [1, 0], id="nothing known: the first is the best"),
        pytest.param([], [], [], id="none"),
    ],
)
def test_the_order_of_layers(sizes: list[tuple[int, int] | None], steady: list[float], order: list[int]) -> None:
    assert quality_order(sizes, steady) == order


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
