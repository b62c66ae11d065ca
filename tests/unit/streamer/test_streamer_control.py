"""Rate control and the commands of Epic's page."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.streamer import commands
from runtime.streamer.ratecontrol import RateControl


def control() -> RateControl:
    return RateControl(start_bps=4_000_000, min_bps=200_000, max_bps=10_000_000)


def test_nobody_reports_and_the_start_rate_holds() -> None:
    assert control().target_bps == 4_000_000


def test_the_slowest_receiver_decides_until_it_leaves() -> None:
    rate = control()
    rate.on_estimate("a", 6_000_000)
    rate.on_estimate("b", 900_000)
    assert rate.target_bps == 900_000
    rate.on_left("b")
    assert rate.target_bps == 6_000_000
    rate.on_estimate("a", 1)
    assert rate.target_bps == 200_000
    rate.on_estimate("a", 2**40)
    assert rate.target_bps == 10_000_000


def test_loss_lowers_the_rate_and_its_end_raises_it_again() -> None:
    rate = control()
    rate.on_loss("a", 0.4, 1.0)
    assert rate.target_bps == 3_200_000
    rate.on_loss("a", 0.4, 1.1)  # too soon: the decrease has not shown yet
    assert rate.target_bps == 3_200_000
    rate.on_loss("a", 0.05, 2.0)
    assert rate.target_bps == 3_200_000
    for second in range(20):
        rate.on_loss("a", 0.0, 3.0 + second)
    assert rate.target_bps == 4_000_000


def test_bounds_can_be_moved_and_never_cross() -> None:
    rate = control()
    rate.limit(max_bps=1_000_000)
    assert rate.target_bps == 1_000_000
    rate.limit(min_bps=5_000_000)
    assert rate.min_bps == 1_000_000


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1), st.integers(0, 2**40)), max_size=50))
def test_the_target_always_lies_within_the_bounds(reports: list[tuple[str, float, int]]) -> None:
    rate = control()
    for number, (peer, loss, estimate) in enumerate(reports):
        rate.on_loss(peer, loss, float(number))
        rate.on_estimate(peer, estimate)
        assert rate.min_bps <= rate.target_bps <= rate.max_bps


def test_commands_of_the_page() -> None:
    change = commands.parse(json.dumps({"Resolution.Width": 1600, "Resolution.Height": "900"}), allow_console=False)
    assert change.size == (1600, 900)
    change = commands.parse('{"WebRTC.MinBitrate": 100000, "WebRTC.MaxBitrate": 99000000}', allow_console=False)
    assert (change.min_bitrate_bps, change.max_bitrate_bps) == (150_000, 40_000_000)
    assert commands.parse('{"WebRTC.MaxFps": 15}', allow_console=False).fps == 15
    assert commands.parse('{"Encoder.MinQP": 20}', allow_console=False).min_qp == 20
    assert commands.parse('{"Encoder.MinQuality": 100}', allow_console=False).max_qp == 0
    assert commands.parse('{"WebRTC.MaxBitrate": 0, "stat.fps": ""}', allow_console=False) == commands.Change()


def test_the_console_is_closed_unless_it_was_opened() -> None:
    text = json.dumps({"ConsoleCommand": "r.setres 1920x1080w"})
    assert commands.parse(text, allow_console=False).size is None
    assert commands.parse(text, allow_console=True).size == (1920, 1080)
    assert commands.parse('{"ConsoleCommand": "quit"}', allow_console=True) == commands.Change()


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_what_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        commands.parse(text, allow_console=True)


def test_quality_and_quantiser_are_inverse() -> None:
    assert (commands.quality_to_qp(0), commands.quality_to_qp(100)) == (51, 0)
    for quantiser in range(52):
        assert commands.quality_to_qp(commands.qp_to_quality(quantiser)) == quantiser
