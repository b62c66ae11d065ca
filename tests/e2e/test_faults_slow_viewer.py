"""One viewer's link is hopeless: under the default policy the others see what they saw before."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright

from runtime.demo.stack import DemoOptions

from .faults import record, watch
from .netns import Network, missing
from .stage import Stage
from .viewer import Viewer

PATIENCE_SECONDS = 60.0
# Below this share of what was asked of the encoder before, somebody has paid for the bad link.
MUCH_LESS = 0.6


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    if reason := missing():
        pytest.skip(reason)
    with Network(tmp_path_factory.mktemp("network")) as made:
        yield made


def _titles(content: dict[str, Any]) -> None:
    """One title per policy, otherwise equal; ``default`` says nothing of it."""
    (host,) = content["session_servers"]
    arguments = ["--codec", "h264", "--size", "960x540", "--fps", "30"]
    for name, more in (("default", {}), ("cautious", {"bandwidth": "protect_slowest"})):
        host["titles"][name] = {"executable": "pixelstream-streamer", "build": "sample"}
        launch = {"arguments": arguments, "width": 960, "height": 540}
        content["titles"].append({"name": name, "launch": launch, **more})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Iterator[Stage]:
    options = DemoOptions(directory=tmp_path_factory.mktemp("demo"), address=network.host, registry=_titles)
    with Stage(options) as running:
        yield running
    assert running.stack.leftovers() == ([], [])


@pytest.fixture(scope="module")
def far_browser(playwright: Playwright, network: Network, stage: Stage) -> Iterator[Browser]:
    browser = network.launch(playwright, stage.url)
    yield browser
    browser.close()


def _target_bps(stage: Stage, session_id: str) -> int:
    """What the relay asks of the encoder now."""
    (place,) = (stage.stack.directory / "host" / "sessions" / session_id).glob("relay-*")
    port = json.loads((place / "ready.json").read_text())["private_port"]
    secret = json.loads((place / "config.json").read_text())["private_secret"]
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {secret}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found = re.search(rb"^pixelstream_relay_target_bitrate_bps\S* (\S+)$", answer.read(), re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def _join(owner: Viewer, guest: Viewer) -> None:
    guest.page.goto(owner.invite_link("watcher"))
    guest.enter("Far away")
    guest.wait_for_picture(PATIENCE_SECONDS)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("title", ["default", "cautious"])
def test_a_drowning_viewer(
    stage: Stage,
    browsers: tuple[Browser, Browser],
    far_browser: Browser,
    network: Network,
    title: str,
    pytestconfig: pytest.Config,
) -> None:
    """``cautious`` shows that the link is bad enough to matter; ``default`` that it matters to nobody else."""
    network.quality()
    owner, guest = Viewer(browsers[0], stage.url, "good"), Viewer(far_browser, stage.url, "bad")
    owner.open_catalogue()
    session_id = owner.start(title)
    try:
        owner.wait_for_picture(PATIENCE_SECONDS)
        _join(owner, guest)
        frames = owner.wait_for_picture()["frame"]
        before = watch([owner], windows=2)["good"]
        drawn_before = owner.wait_for_picture()["frame"] - frames
        target = _target_bps(stage, session_id)
        network.quality(round_trip_ms=50, loss=0.1, rate_bps=500_000)
        if title == "cautious":
            owner.eventually(
                "a lower bitrate for everybody",
                lambda: _target_bps(stage, session_id),
                lambda bps: bps < MUCH_LESS * target,
                seconds=PATIENCE_SECONDS,
            )
            return
        lost = guest.video_stats()["packetsLost"]
        frames = owner.wait_for_picture()["frame"]
        after = watch([owner], windows=4)["good"]
        drawn = owner.wait_for_picture()["frame"] - frames
        lost = guest.video_stats()["packetsLost"] - lost
        asked = _target_bps(stage, session_id)
        record(
            pytestconfig.rootpath,
            "drowning_viewer",
            {"before": before, "after": after, "target_bps": [target, asked], "bad_packets_lost": lost},
        )
        # The bad viewer is in trouble; the encoder was told nothing of it, and the good viewer got as much of every
        # picture and as many of the pictures as before.
        assert lost > 50
        # A new link's estimate starts high and settles at half as much again as is sent, bad link or not.
        assert asked > MUCH_LESS * min(target, 1.5 * before["video_bps"])
        assert after["video_bps"] / after["fps"] > 0.7 * before["video_bps"] / before["fps"]
        assert after["video_framesDecoded"] / drawn > 0.8 * min(1.0, before["video_framesDecoded"] / drawn_before)
        owner.click_lands(0.4, 0.4, seconds=PATIENCE_SECONDS)
        assert not owner.errors
        assert not guest.errors
    finally:
        network.quality()
        guest.close()
        owner.api_delete(f"/api/v1/sessions/{session_id}")
        owner.close()
