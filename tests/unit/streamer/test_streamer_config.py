"""Options: ours are checked, Unreal's are understood, secrets are not repeated."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runtime.streamer import config
from runtime.streamer.config import OptionsError

URL = {config.URL_VARIABLE: "ws://127.0.0.1:9/streamer/0123456789"}


def test_defaults_come_from_the_environment() -> None:
    options = config.parse([], {**URL, config.ID_VARIABLE: "Room"})
    assert (options.url, options.streamer_id) == (URL[config.URL_VARIABLE], "Room")
    assert (options.codec, options.width, options.height, options.fps) == ("h264", 1280, 720, 30)


def test_our_options() -> None:
    line = "--url ws://h:1/x --id A --codec vp8 --size 1920x1080 --fps 60 --bitrate-bps 9000000 --crash-after 1.5"
    options = config.parse([*line.split(), "--ignore-signals", "--spawn-child", "--hang-on-stop"], URL)
    assert (options.url, options.streamer_id, options.codec) == ("ws://h:1/x", "A", "vp8")
    assert (options.width, options.height, options.fps, options.bitrate_bps) == (1920, 1080, 60, 9_000_000)
    assert options.crash_after_seconds == 1.5
    assert options.ignore_signals
    assert options.spawn_child
    assert options.hang_on_stop


@pytest.mark.parametrize(
    "name",
    ["-PixelStreamingURL", "-PixelStreamingSignallingURL", "-PixelStreamingConnectionURL", "-pixelstreamingurl"],
)
def test_unreals_flags(name: str) -> None:
    line = [
        f"{name}=ws://127.0.0.1:5/streamer/abc",
        "-PixelStreamingID=Title",
        "-RenderOffscreen",
        "-ForceRes",
        "-ResX=960",
        "-ResY=540",
        "-AudioMixer",
        "-Unattended",
        "-graphicsadapter=1",
        "-PixelStreamingEncoderCodec=VP8",
        "/Game/Map",
        "-PixelStreamingWebRTCFps=24",
        "-PixelStreamingEncoderTargetBitrate=2000000",
        "-AllowPixelStreamingCommands",
        "-PixelStreamingWebRTCMaxBitrate=-1",
    ]
    options = config.parse(line, URL)
    assert (options.url, options.streamer_id) == ("ws://127.0.0.1:5/streamer/abc", "Title")
    assert (options.width, options.height, options.codec, options.fps) == (960, 540, "vp8", 24)
    assert (options.bitrate_bps, options.allow_commands) == (2_000_000, True)


def test_the_legacy_pair_and_who_wins() -> None:
    pair = ["-PixelStreamingIP=10.0.0.1", "-PixelStreamingPort=8888"]
    assert config.parse(pair, {}).url == "ws://10.0.0.1:8888"
    assert config.parse(["--url", "ws://own/x", "--id", "own", *pair, "-PixelStreamingID=no"], {}).url == "ws://own/x"
    # What follows a switch of ours may be Unreal's; what follows an option that takes a value is its value.
    options = config.parse(["--ignore-signals", "-PixelStreamingID=x", "--id=y", *pair], {})
    assert (options.ignore_signals, options.streamer_id, options.url) == (True, "y", "ws://10.0.0.1:8888")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("--size 1281x720", "even"),
        ("--size 100x100", "320x180"),
        ("--size big", "WIDTHxHEIGHT"),
        ("--fps 0", "--fps"),
        ("--listen 8080", "HOST:PORT"),
        ("--min-bitrate-bps 9000000 --max-bitrate-bps 1000000", "min <= max"),
    ],
)
def test_what_cannot_be_used_is_named(line: str, word: str) -> None:
    with pytest.raises(OptionsError, match=word):
        config.parse(line.split(), URL)


def test_a_wrong_address_is_not_repeated_because_it_may_hold_a_secret() -> None:
    with pytest.raises(OptionsError) as caught:
        config.parse(["--url", "http://host/streamer/topsecret"], {})
    assert "topsecret" not in str(caught.value)
    with pytest.raises(OptionsError, match="no signalling server"):
        config.parse([], {})
    assert config.parse(["--never-connect"], {}).url is None


def test_sizes_are_fitted_to_what_can_be_encoded() -> None:
    assert config.fit_size(1001, 563) == (1000, 562)
    assert config.fit_size(1, 1) == (320, 180)
    assert config.fit_size(10_000, 10_000) == (3840, 2160)


def test_bad_options_exit_with_2() -> None:
    for line in (["--no-such-option"], ["--size", "odd"], []):
        done = subprocess.run(
            [sys.executable, "-m", "runtime", "streamer", *line], capture_output=True, text=True, timeout=60, env={}
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
