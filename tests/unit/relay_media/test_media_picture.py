"""The size of a picture, out of keyframes that real encoders made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.keyframes import starts_keyframe
from runtime.relay.core.picture import picture_size
from tests.support.coded_video import CODECS, encode, payloads

SIZES = [(160, 96), (960, 544), (1920, 1088), (3840, 2160)]


def _sizes(codec: str, unit: bytes, *, key: bool) -> set[tuple[int, int] | None]:
    return {picture_size(codec, body) for body in payloads(codec, unit, key=key) if starts_keyframe(codec, body)}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("codec", ["VP8", "VP9"])
def test_every_size_is_read(codec: str, size: tuple[int, int]) -> None:
    (unit,) = encode(codec, 1, 1, size)
    assert _sizes(codec, unit, key=True) == {size}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("profile", "pixel_format"), [("baseline", "yuv420p"), ("high", "yuv420p"), ("high444", "yuv444p")]
)
def test_h264_of_every_profile(size: tuple[int, int], profile: str, pixel_format: str) -> None:
    (unit,) = encode("H264", 1, 1, size, pixel_format, profile=profile)
    # The slice that follows its parameters begins a keyframe too, and does not tell.
    assert _sizes("H264", unit, key=True) - {None} == {size}


def test_h264_interlaced_and_with_scaling_lists() -> None:
    (unit,) = encode("H264", 1, 1, (960, 544), profile="high", **{"x264-params": "interlaced=1:cqm=jvt"})
    assert _sizes("H264", unit, key=True) - {None} == {(960, 544)}


def test_h264_parameters_in_an_aggregate() -> None:
    (unit,) = encode("H264", 1, 1, (640, 480))
    parts = [part for part in payloads("H264", unit, key=True) if part[0] & 0x1F in (7, 8)]
    aggregate = b"\x78" + b"".join(len(part).to_bytes(2, "big") + part for part in reversed(parts))
    assert picture_size("H264", aggregate) == (640, 480)


def test_ten_bit_vp9() -> None:
    """Written by hand, for want of an encoder: marker, profile 2, keyframe, sync code, depth and colours, size."""
    bits = "10010010" + f"{0x498342:024b}" + "0" + "0010" + f"{639:016b}{479:016b}" + "000"
    header = int(bits, 2).to_bytes(len(bits) // 8, "big")
    assert picture_size("VP9", b"\x88\x01" + header) == (640, 480)


def test_vp9_behind_everything_that_a_descriptor_may_hold() -> None:
    (unit,) = encode("VP9", 1, 1, (640, 480))
    # Two spatial layers with their sizes, and a group of two pictures with one and two references.
    structure = bytes([0x38]) + bytes(8) + bytes([2, 0x04, 1, 0x08, 1, 2])
    for descriptor in ("8a 8102", "8a 02", "aa 05 00 07", "ba 8005 00", "0a"):
        assert picture_size("VP9", bytes.fromhex(descriptor) + structure + unit[:200]) == (640, 480), descriptor
    assert picture_size("VP9", bytes.fromhex("d8 05 03 02") + unit[:200]) == (640, 480), "references"


@pytest.mark.parametrize("codec", CODECS)
def test_only_keyframes_tell(codec: str) -> None:
    key, delta = encode(codec, 2, 2)
    if codec in ("H265", "AV1"):
        assert _sizes(codec, key, key=True) == {None}
    else:
        assert _sizes(codec, key, key=True) - {None} == {(160, 96)}
    assert {picture_size(codec, body) for body in payloads(codec, delta, key=False)} == {None}


@given(st.sampled_from(CODECS), st.binary(max_size=60))
def test_no_payload_raises(codec: str, payload: bytes) -> None:
    size = picture_size(codec, payload)
    assert size is None or all(0 <= side < 2**23 for side in size)


def test_parameters_without_an_end() -> None:
    assert picture_size("H264", b"\x67\x42\x00\x1f" + bytes(1000)) is None
    assert picture_size("H264", b"\x67\x42\x00\x1f" + b"\xff") is None
