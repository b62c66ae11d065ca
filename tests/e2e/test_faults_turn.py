"""A viewer whose network lets no UDP out comes through coturn, with a credential that the coordinator made for it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright

from runtime.chassis.entropy import new_secret
from runtime.demo.processes import free_port
from runtime.demo.stack import DemoOptions

from .faults import TITLE, record, small_title, watch
from .netns import Network, missing
from .stage import Stage
from .viewer import Viewer

PATIENCE_SECONDS = 60.0
TTL_SECONDS = 1800
# What roles/turn renders, without TLS: users are "<expiry>:<viewer>", passwords HMAC-SHA1 of that.
_CONFIGURATION = """
listening-ip={host}
relay-ip={host}
listening-port={port}
no-tls
no-dtls
realm=pixelstream.test
fingerprint
use-auth-secret
static-auth-secret={secret}
no-cli
no-multicast-peers
log-file=stdout
simple-log
userdb={place}/turn.db
pidfile={place}/turn.pid
"""


def _why_not() -> str | None:
    if shutil.which("turnserver") is None:
        return "coturn is not installed (as root: apt install coturn)"
    if shutil.which("nft") is None:
        return "nft is not installed (as root: apt install nftables)"
    return missing()


@contextmanager
def _turn_server(place: Path, host: str, port: int, secret: str) -> Iterator[Path]:
    """A coturn of our own; answers the path of its log."""
    settings, log = place / "turnserver.conf", place / "turnserver.log"
    settings.write_text(_CONFIGURATION.format(host=host, port=port, secret=secret, place=place))
    settings.chmod(0o600)
    with log.open("wb") as output:
        server = subprocess.Popen(["turnserver", "-c", str(settings)], stdout=output, stderr=output, cwd=place)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection((host, port), 1.0).close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
        yield log
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    if reason := _why_not():
        pytest.skip(reason)
    with Network(tmp_path_factory.mktemp("network")) as made:
        yield made


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Iterator[Stage]:
    place = tmp_path_factory.mktemp("turn")
    port, secret = free_port(network.host), new_secret()
    turn = {"secret": secret, "urls": [f"turn:{network.host}:{port}?transport=tcp"], "ttl_seconds": TTL_SECONDS}
    options = DemoOptions(
        directory=tmp_path_factory.mktemp("demo"),
        address=network.host,
        registry=small_title,
        coordinator={"turn": turn},
    )
    with _turn_server(place, network.host, port, secret), Stage(options) as running:
        yield running
    assert running.stack.leftovers() == ([], [])


@pytest.fixture(scope="module")
def far_browser(playwright: Playwright, network: Network, stage: Stage) -> Iterator[Browser]:
    """In a network whose firewall drops every datagram that wants out."""
    network.run("nft", "add", "table", "inet", "wall")
    network.run("nft", "add", "chain", "inet", "wall", "out", "{ type filter hook output priority 0; }")
    network.run(
        "nft", "add", "rule", "inet", "wall", "out", "oifname", "!=", "lo", "meta", "l4proto", "udp", "counter", "drop"
    )
    browser = network.launch(playwright, stage.url)
    yield browser
    browser.close()


def _selected_pair(viewer: Viewer) -> dict[str, Any]:
    return viewer.page.evaluate(
        """async () => {
          for (const connection of pixelstreamProbe.all()) {
            const entries = [...(await connection.getStats()).values()];
            const transport = entries.find((entry) => entry.type === "transport" && entry.selectedCandidatePairId);
            if (!transport) continue;
            const pair = entries.find((entry) => entry.id === transport.selectedCandidatePairId);
            const local = entries.find((entry) => entry.id === pair.localCandidateId);
            const remote = entries.find((entry) => entry.id === pair.remoteCandidateId);
            return {local: local.candidateType, protocol: local.relayProtocol, remote: remote.candidateType};
          }
          return {};
        }"""
    )


@pytest.mark.timeout(180)
def test_a_viewer_without_udp_comes_through_turn(
    stage: Stage, far_browser: Browser, network: Network, pytestconfig: pytest.Config
) -> None:
    viewer = Viewer(far_browser, stage.url, "walled in")
    try:
        viewer.open_catalogue()
        session_id = viewer.start(TITLE)
        viewer.wait_for_picture(PATIENCE_SECONDS)
        figures = watch([viewer], windows=2)
        assert _selected_pair(viewer) == {"local": "relay", "protocol": "tcp", "remote": "host"}
        viewer.click_lands(0.4, 0.4, seconds=PATIENCE_SECONDS)
        (server,) = viewer.api_post(f"/api/v1/sessions/{session_id}/join", {})["ice_servers"]
        expires = int(server["username"].partition(":")[0])
        assert time.time() < expires <= time.time() + TTL_SECONDS
        # The wall stands: the browser did try.
        counted = network.run("nft", "list", "chain", "inet", "wall", "out")
        assert "packets 0 " not in counted
        assert not viewer.errors
    finally:
        viewer.close()
    record(pytestconfig.rootpath, "through_turn", figures)
