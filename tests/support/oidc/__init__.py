"""A real OpenID Connect provider as a process, installed from its package on first use."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.demo.processes import free_port
from tests.conftest import LONG_LIVED

_HERE = Path(__file__).parent
_FILES = ("package.json", "package-lock.json")
_INSTALL_SECONDS = 120
CLIENT_ID = "pixelstream"
CLIENT_SECRET = "client-secret-of-the-tests"


def _installed() -> Path:
    """A directory with the provider's package; the test is skipped when it cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs node and npm")
    digest = hashlib.sha256(b"".join((_HERE / name).read_bytes() for name in _FILES)).hexdigest()[:16]
    place = _HERE.parents[2] / ".cache" / f"oidc-provider-{digest}"
    if not (place / "node_modules").exists():
        place.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            shutil.copy(_HERE / name, place)
        words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            subprocess.run(words, cwd=place, check=True, capture_output=True, timeout=_INSTALL_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            shutil.rmtree(place, ignore_errors=True)
            pytest.skip("the provider's package cannot be installed here")
    shutil.copy(_HERE / "provider.mjs", place)
    return place


@contextmanager
def oidc_provider(people: dict[str, dict[str, Any]], redirect_uri: str, place: Path) -> Iterator[str]:
    """The issuer of a running provider that knows ``people`` (id -> claims)."""
    home = _installed()
    config = {
        "port": free_port("127.0.0.1"),
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": [redirect_uri],
        "people": people,
    }
    file = place / "provider.json"
    file.write_text(json.dumps(config))
    environment = {**os.environ, "NODE_ENV": "test"}
    with (place / "provider.log").open("wb") as log:
        process = subprocess.Popen(
            ["node", str(home / "provider.mjs"), str(file)], stdout=subprocess.PIPE, stderr=log, env=environment
        )
    LONG_LIVED.add(process.pid)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == b"listening\n", (place / "provider.log").read_text()
        yield f"http://127.0.0.1:{config['port']}"
    finally:
        process.kill()
        process.communicate()
        LONG_LIVED.discard(process.pid)
