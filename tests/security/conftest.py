"""One demo and one session for all of these tests: a real coordinator, session server, relay and title."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime.demo.stack import DemoOptions
from tests.e2e.stage import Stage

from .people import Person

PARTNER = "https://partner.example.org"
TITLE = "plain"


def _registry(content: dict[str, Any]) -> None:
    """The title is small and slow, because nobody looks at it, and VP8, because the peers here read no H.264."""
    (host,) = content["session_servers"]
    host["titles"][TITLE] = {"executable": "pixelstream-streamer", "build": "sample"}
    arguments = ["--codec", "vp8", "--size", "320x180", "--fps", "10"]
    content["titles"].append({"name": TITLE, "launch": {"arguments": arguments, "width": 320, "height": 180}})
    # A second host of the installation, whose key has fallen into wrong hands: it runs nothing.
    other = {"name": "other", "control_url": "http://127.0.0.1:9", "edge_url": "ws://127.0.0.1:{port}", "capacity": 1}
    content["session_servers"].append({**other, "titles": {}})


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Everything logs all it can, so that what must not be logged had every chance."""
    options = DemoOptions(
        directory=tmp_path_factory.mktemp("demo"),
        registry=_registry,
        coordinator={
            "cors_origins": [PARTNER],
            "log": {"level": "debug"},
            "turn": {"secret": "turn-secret-of-these-tests", "urls": ["turn:turn.example.org:3478"]},
        },
        session_server={"log": {"level": "debug"}},
    )
    with Stage(options) as running:
        yield running
    assert running.stack.leftovers() == ([], [])


@dataclass
class Live:
    """A session that streams, and who may be in it."""

    stage: Stage
    owner: Person
    session_id: str

    @property
    def path(self) -> str:
        return f"/api/v1/sessions/{self.session_id}"

    @property
    def place(self) -> Path:
        return self.stage.stack.directory / "host" / "sessions" / self.session_id

    @property
    def relay_config(self) -> dict[str, Any]:
        return dict(json.loads((self.place / "relay-1" / "config.json").read_text()))

    @property
    def private_port(self) -> int:
        return int(json.loads((self.place / "relay-1" / "ready.json").read_text())["private_port"])

    def stranger(self, **headers: str) -> Person:
        """Somebody never seen before."""
        return Person(self.stage.url, headers)

    def admin(self) -> Person:
        return Person(self.stage.url, self.stage.stack.admin.headers)


@pytest.fixture(scope="package")
def live(stage: Stage) -> Live:
    owner = Person(stage.url)
    return Live(stage, owner, owner.start(TITLE))
