"""What the fault tests have in common: a small picture, liveness in windows, and figures for people to read."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from runtime.demo.stack import DemoOptions

from .stage import Stage
from .viewer import ScenarioError, Viewer

TITLE = "small"
WINDOW_SECONDS = 3.0
# What a launcher of a title does: the program that streams is not the process that the session server started.
_LAUNCHER = """#!/bin/sh
trap 'exit 0' TERM
while true; do
  {python} -m runtime streamer "$@"
done
"""
_VIDEO = ("framesDecoded", "freezeCount", "totalFreezesDuration", "packetsLost", "nackCount", "pliCount")
_AUDIO = ("packetsReceived", "packetsLost", "totalAudioEnergy", "concealedSamples")


def small_title(content: dict[str, Any], executable: str = "pixelstream-streamer") -> None:
    """Put a title into a registry file whose picture costs little, so that several browsers fit on two cores."""
    (host,) = content["session_servers"]
    host["titles"][TITLE] = {"executable": executable, "build": "sample"}
    launch = {"arguments": ["--codec", "h264", "--size", "640x360", "--fps", "30"], "width": 640, "height": 360}
    content["titles"].append({"name": TITLE, "launch": launch, "limits": {"streamer_grace_seconds": 60}})


def options(directory: Path, **more: Any) -> DemoOptions:
    """A demo whose small title is started again by its launcher when it dies, and whose relay may die often."""
    launcher = directory / "titles" / "launcher"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(_LAUNCHER.format(python=sys.executable))
    launcher.chmod(0o755)
    return DemoOptions(
        directory=directory / "demo",
        registry=partial(small_title, executable=str(launcher)),
        session_server={"title_roots": [str(launcher.parent)], "relay": {"restarts": 20}},
        **more,
    )


class Processes:
    """The processes of the session that somebody watches."""

    def __init__(self, stage: Stage, owner: Viewer) -> None:
        self.session_id = owner.page.url.split("/session/")[1].split("?")[0]
        self.place = stage.stack.directory / "host" / "sessions" / self.session_id

    @property
    def relay(self) -> psutil.Process:
        """The newest relay of the session."""
        starts = self.place.glob("relay-*/child.json")
        newest = max(starts, key=lambda path: int(path.parent.name.removeprefix("relay-")))
        return psutil.Process(json.loads(newest.read_text())["pid"])

    @property
    def launcher(self) -> psutil.Process:
        """What the session server started as the title."""
        return psutil.Process(json.loads((self.place / "title" / "child.json").read_text())["pid"])

    @property
    def streamer(self) -> psutil.Process:
        """The program that streams."""
        (found,) = self.launcher.children()
        return found


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def watch(people: list[Viewer], windows: int = 3) -> dict[str, dict[str, float]]:
    """Look on for ``windows`` times three seconds; raise :class:`ScenarioError` if a picture stood still in one.

    Answers what the browsers counted meanwhile, by person.
    """
    before = {person.name: person.inbound() for person in people}
    for window in range(1, windows + 1):
        shown = [person.frames_decoded() for person in people]
        people[0].page.wait_for_timeout(WINDOW_SECONDS * 1000)
        for person, frames in zip(people, shown, strict=True):
            if person.frames_decoded() <= frames:
                raise ScenarioError(f"{person.name}: no new frame in window {window} of {WINDOW_SECONDS:g} s")
    return {person.name: _difference(before[person.name], person.inbound()) for person in people}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for kind, names in (("video", _VIDEO), ("audio", _AUDIO)):
        old, new = before[kind] or {}, after[kind] or {}
        figures |= {f"{kind}_{name}": round(new.get(name, 0) - old.get(name, 0), 4) for name in names}
    seconds = (after["video"]["timestamp"] - before["video"]["timestamp"]) / 1000
    figures["seconds"] = round(seconds, 2)
    figures["fps"] = round(figures["video_framesDecoded"] / seconds, 2)
    figures["video_bps"] = round(8 * (after["video"]["bytesReceived"] - before["video"]["bytesReceived"]) / seconds)
    return figures


class Unbroken:
    """Pages that must get over a fault by themselves: the same documents before and after, with new pictures."""

    def __init__(self, people: list[Viewer]) -> None:
        self._people = people
        for person in people:
            person.wait_for_picture()
            person.page.evaluate("() => { globalThis.beforeTheFault = true; }")
        self._since = time.time()

    def struck(self) -> None:
        """The fault has just happened: from now on counts what is drawn now."""
        self._since = time.time()

    def recovered(self, seconds: float) -> dict[str, float]:
        """Wait until every picture is newer than the fault; by person, seconds that it took.

        Raise :class:`ScenarioError` when one does not come back, or only by loading its page again.
        """
        took = {}
        # What was on its way when the fault came must not count.
        newer_than_ms = (self._since + 0.5) * 1000
        for person in self._people:

            def is_new(reading: dict[str, Any] | None) -> bool:
                return bool(reading) and reading["timeMs"] > newer_than_ms

            person.eventually("a picture drawn after the fault", person.marker, is_new, seconds=seconds)
            took[person.name] = round(time.time() - self._since, 2)
            if not person.page.evaluate("() => globalThis.beforeTheFault === true"):
                raise ScenarioError(f"{person.name}: the page was loaded anew")
        return took


def clicks_land(person: Viewer, x: float, y: float, seconds: float) -> int:
    """Click as a person does, again when nothing has happened; how many clicks it took."""
    deadline = time.monotonic() + seconds
    for clicks in range(1, 1000):
        try:
            person.click_lands(x, y, seconds=4)
        except ScenarioError:
            if time.monotonic() > deadline:
                raise
        else:
            return clicks
    raise AssertionError


def record(root: Path, name: str, figures: dict[str, Any]) -> None:
    """Merge ``figures`` into ``.build/faults.json`` under ``name``: nothing is judged by them."""
    path = root / ".build" / "faults.json"
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, name: figures}, indent=2, sort_keys=True) + "\n")
