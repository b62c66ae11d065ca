"""The picture gives way to a path that carries little, slowly, and comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.streamer.config import MAX_HEIGHT, MAX_WIDTH, MIN_HEIGHT, MIN_WIDTH
from runtime.streamer.encode import EncoderSettings
from runtime.streamer.sizing import SizeLadder

HD = EncoderSettings(codec="h264", width=1280, height=720, fps=30)


def _sizes(ladder: SizeLadder, wanted: EncoderSettings, bitrate_bps: int, start: float, seconds: float) -> list[int]:
    """Widths at thirty frames a second."""
    return [
        ladder.settings_for(wanted, bitrate_bps, start + frame / 30).width for frame in range(round(seconds * 30) + 1)
    ]


def test_a_good_path_carries_what_was_asked_for() -> None:
    assert set(_sizes(SizeLadder(), HD, 1_000_000, 0, 20)) == {1280}


def test_a_poor_path_gets_a_smaller_picture_and_a_better_one_the_full_size_again() -> None:
    ladder = SizeLadder()
    assert _sizes(ladder, HD, 400_000, 0, 10)[-1] == 960
    assert _sizes(ladder, HD, 200_000, 10, 10)[-1] == 640
    assert _sizes(ladder, HD, 500_000, 20, 20)[-1] == 960
    assert _sizes(ladder, HD, 4_000_000, 40, 20)[-1] == 1280


def test_a_dip_changes_nothing() -> None:
    ladder = SizeLadder()
    assert set(_sizes(ladder, HD, 200_000, 0, 1.5)) == {1280}
    assert set(_sizes(ladder, HD, 4_000_000, 1.6, 1)) == {1280}
    assert set(_sizes(ladder, HD, 200_000, 2.7, 1.5)) == {1280}


def test_between_the_two_bounds_it_stays_where_it_is() -> None:
    """Or the size would swing at every estimate near a bound."""
    between = 700_000
    assert set(_sizes(SizeLadder(), HD, between, 0, 60)) == {1280}
    ladder = SizeLadder()
    _sizes(ladder, HD, 400_000, 0, 5)
    assert set(_sizes(ladder, HD, between, 6, 60)) == {960}


def test_another_size_or_pace_asked_for_counts_at_once() -> None:
    ladder = SizeLadder()
    _sizes(ladder, HD, 200_000, 0, 10)
    asked = EncoderSettings(codec="h264", width=1920, height=1080, fps=30)
    assert ladder.settings_for(asked, 200_000, 10.1).width == 960


@given(
    width=st.integers(MIN_WIDTH, MAX_WIDTH),
    height=st.integers(MIN_HEIGHT, MAX_HEIGHT),
    rates=st.lists(st.integers(0, 40_000_000), max_size=50),
)
def test_whatever_the_rates_the_size_can_be_encoded(width: int, height: int, rates: list[int]) -> None:
    ladder = SizeLadder()
    wanted = EncoderSettings(codec="vp8", width=width, height=height, fps=30)
    for turn, rate in enumerate(rates):
        got = ladder.settings_for(wanted, rate, turn * 3.0)
        assert MIN_WIDTH <= got.width <= max(width, MIN_WIDTH)
        assert MIN_HEIGHT <= got.height <= max(height, MIN_HEIGHT)
        assert got.width % 2 == got.height % 2 == 0
