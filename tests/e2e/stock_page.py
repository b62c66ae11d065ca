"""Epic's stock player page: built once from Epic's packages without a change, served as an integrator would."""

from __future__ import annotations

import functools
import hashlib
import http.server
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from .viewer import Viewer

HERE = Path(__file__).resolve().parent / "stock"
BUILD = HERE.parents[2] / ".build" / "stock"
_BUILD_SECONDS = 300


def _build() -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm is installed")
    sources = [HERE / name for name in ("package-lock.json", "player.js", "index.html", "vite.config.js")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = BUILD / ".stamp"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run([npm, *step], cwd=HERE, capture_output=True, text=True, timeout=_BUILD_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
    stamp.write_text(digest)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: requests carry join tokens."""


@contextmanager
def served_stock_page(address: str = "127.0.0.1") -> Iterator[str]:
    """The page's address, on an origin that is not the coordinator's; skips the test where it cannot be built."""
    _build()
    server = http.server.ThreadingHTTPServer((address, 0), functools.partial(_Quiet, directory=str(BUILD)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def open_stock_page(
    browser: Browser, page_url: str, owner: Viewer, session_id: str, *, muted: bool = True, **options: str
) -> Viewer:
    """Epic's page in a session, with a token of ``owner``; it is told to come back more often than its three times.
    ``options`` are the page's own, for its address."""
    ticket = owner.api_post(f"/api/v1/sessions/{session_id}/join", {"name": "Stock"})
    ss = urllib.parse.quote(f"{ticket['player_url']}?token={ticket['token']}", safe="")
    stock = Viewer(browser, owner.base_url, "stock", video="video")
    always = "AutoConnect=true&AutoPlayVideo=true&HoveringMouse=true&MaxReconnectAttempts=30"
    more = urllib.parse.urlencode({"StartVideoMuted": str(muted).lower(), **options})
    stock.page.goto(f"{page_url}?ss={ss}&{always}&{more}")
    return stock
