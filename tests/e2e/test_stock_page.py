"""Epic's stock player page, built from Epic's packages without a change, plays and controls a session."""

from __future__ import annotations

import functools
import hashlib
import http.server
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from runtime.demo.stack import DemoOptions

from .stage import Stage
from .viewer import Viewer

HERE = Path(__file__).resolve().parent / "stock"
BUILD = HERE.parents[2] / ".build" / "stock"


@pytest.fixture(scope="module")
def stock_page() -> Iterator[str]:
    """Address of the page, served from a foreign origin as an integrator would."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm is installed")
    sources = [HERE / name for name in ("package-lock.json", "player.js", "index.html", "vite.config.js")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = BUILD / ".stamp"
    if not stamp.is_file() or stamp.read_text() != digest:
        for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            done = subprocess.run([npm, *step], cwd=HERE, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
        stamp.write_text(digest)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing: requests carry join tokens."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(BUILD)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, stock_page: str) -> Iterator[Stage]:
    """A demo whose operator has put the page's origin on the list."""
    options = DemoOptions(
        directory=tmp_path_factory.mktemp("demo"), coordinator={"allowed_origins": [stock_page.rstrip("/")]}
    )
    with Stage(options) as running:
        yield running


@pytest.fixture
def watched(stage: Stage, browser: Browser) -> Iterator[tuple[Viewer, str]]:
    """An owner in our own player, and the session's id."""
    owner = Viewer(browser, stage.url, "owner")
    owner.open_catalogue()
    session_id = owner.start("sample")
    owner.wait_for_picture(60)
    yield owner, session_id
    owner.api_delete(f"/api/v1/sessions/{session_id}")
    owner.close()


def _open_stock(stage: Stage, browser: Browser, owner: Viewer, session_id: str, page_url: str) -> Viewer:
    ticket = owner.api_post(f"/api/v1/sessions/{session_id}/join", {"name": "Stock"})
    ss = urllib.parse.quote(f"{ticket['player_url']}?token={ticket['token']}", safe="")
    stock = Viewer(browser, stage.url, "stock", video="video")
    stock.page.goto(f"{page_url}?ss={ss}&AutoConnect=true&AutoPlayVideo=true&StartVideoMuted=true&HoveringMouse=true")
    return stock


def test_the_stock_page_plays_and_controls(
    stage: Stage, browser: Browser, watched: tuple[Viewer, str], stock_page: str, screens: Path
) -> None:
    owner, session_id = watched
    stock = _open_stock(stage, browser, owner, session_id, stock_page)
    try:
        first = stock.wait_for_picture(30)
        stock.eventually("advancing frames", stock.marker, lambda r: bool(r) and r["frame"] > first["frame"] + 30)
        # The token is the owner's, who holds control, so this page controls too.
        stock.click_lands(0.4, 0.45)
        owner.eventually(
            "the stock page's click in the owner's picture",
            owner.marker,
            lambda r: bool(r) and abs(r["clickX"] / 65536 - 0.4) < 0.02,
        )
        stock.screenshot(screens / "stock-page.png")
        assert not stock.errors
    finally:
        stock.close()
