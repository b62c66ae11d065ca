"""Picture numbers of VP8 and VP9 that go on where a player's stream comes from elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.picture_numbers import PictureNumbers, PictureShift, numbers_of, shift_after
from runtime.relay.core.rtp import HEADER

WIDE = PictureNumbers(100, 15, 200)


def _packet(body: str) -> bytes:
    return HEADER.pack(0x80, 96, 1, 2, 3) + bytes.fromhex(body)


@pytest.mark.parametrize(
    ("codec", "body", "expected"),
    [
        pytest.param("VP8", "90e0 8064 c8 40 01", PictureNumbers(100, 15, 200), id="vp8 of a browser"),
        pytest.param("VP8", "9080 64 01", PictureNumbers(100, 7, None), id="vp8: short"),
        pytest.param("VP8", "9060 c8 40 01", PictureNumbers(None, 15, 200), id="vp8: no picture number"),
        pytest.param("VP8", "9020 40 01", None, id="vp8: neither"),
        pytest.param("VP8", "10 01", None, id="vp8: no extension"),
        pytest.param("VP8", "90", None, id="vp8: cut off"),
        pytest.param("VP8", "90e0 8064", None, id="vp8: cut off before the second number"),
        pytest.param("VP9", "a8 8064 00 c8 00", PictureNumbers(100, 15, 200), id="vp9 of a browser"),
        pytest.param("VP9", "a8 64 00 c8 00", PictureNumbers(100, 7, 200), id="vp9: short"),
        pytest.param("VP9", "b8 8064 00 00", PictureNumbers(100, 15, None), id="vp9: flexible"),
        pytest.param("VP9", "88 8064 00", PictureNumbers(100, 15, None), id="vp9: no layers"),
        pytest.param("VP9", "28 00 c8 00", None, id="vp9: no picture number"),
        pytest.param("H264", "65 88", None, id="others count nothing"),
    ],
)
def test_what_a_payload_tells(codec: str, body: str, expected: PictureNumbers | None) -> None:
    packet = _packet(body)
    assert numbers_of(codec, packet) == expected
    shift = PictureShift(codec, 64, 100)
    changed = shift.apply(packet)
    assert numbers_of(codec, changed) == (None if expected is None else expected.as_sent(shift, 0))
    back = PictureShift(codec, -64 % 2**15, 156).apply(changed)
    assert back == packet, "nothing else is touched"


@given(st.sampled_from(["VP8", "VP9", "AV1", "H264", "H265"]), st.binary(max_size=12))
def test_no_payload_raises_or_changes_its_length(codec: str, body: bytes) -> None:
    packet = HEADER.pack(0x80, 96, 1, 2, 3) + body
    numbers_of(codec, packet)
    assert len(PictureShift(codec, 8192, 64).apply(packet)) == len(packet)


@given(st.integers(0, 2**15 - 1), st.integers(0, 2**15 - 1), st.integers(0, 255), st.integers(0, 255))
def test_every_change_is_a_step_forward(last: int, first: int, last_base: int, first_base: int) -> None:
    before, after = PictureNumbers(last, 15, last_base), PictureNumbers(first, 15, first_base)
    shown = after.as_sent(shift_after("VP8", before, after), 0)
    assert shown.picture is not None
    assert shown.base is not None
    assert 1 <= (shown.picture - last) % 2**15 <= 2**13
    assert 1 <= (shown.base - last_base) % 256 <= 64


def test_players_that_changed_at_other_times_are_moved_alike() -> None:
    shifts = {shift_after("VP8", PictureNumbers(last, 15, last % 256), WIDE) for last in range(2**15)}
    assert len(shifts) <= 16


def test_what_already_goes_on_is_left_alone() -> None:
    assert shift_after("VP8", PictureNumbers(99, 15, 199), WIDE) is None
    assert shift_after("VP8", PictureNumbers(None, 15, None), WIDE) is None


def test_pictures_that_were_withheld_count() -> None:
    assert PictureNumbers(5, 7, None).as_sent(None, 10) == PictureNumbers(123, 7, None)
    assert PictureNumbers(5, 7, None).as_sent(PictureShift("VP8", 32), 10) == PictureNumbers(27, 7, None)
