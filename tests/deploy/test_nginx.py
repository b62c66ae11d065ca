"""nginx's configuration in every layout, judged by the real nginx; and what it does with requests."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from .rendering import files
from .serving import NGINX, Running, needs_nginx, with_real_paths


@needs_nginx
@pytest.mark.root  # nginx -t binds ports 80 and 443
def test_nginx_accepts_its_configuration(rendered: dict[str, Path], tmp_path: Path) -> None:
    version = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr
    new_enough = tuple(int(part) for part in re.findall(r"(\d+)\.(\d+)\.(\d+)", version)[0]) >= (1, 25, 1)
    for layout, path in files(rendered, "pixelstream.conf"):
        if "http2 on;" in path.read_text() and not new_enough:
            path = tmp_path / f"{layout.replace('/', '-')}.conf"
            path.write_text(
                (rendered[layout.split("/")[0]] / layout.split("/")[1] / "pixelstream.conf")
                .read_text()
                .replace("http2 on;", "")
            )
        main = with_real_paths(path, tmp_path / layout)
        result = subprocess.run(
            [NGINX, "-t", "-q", "-p", str(tmp_path), "-c", str(main)], capture_output=True, text=True, timeout=20
        )
        assert result.returncode == 0, f"{layout}: {result.stderr}"


def test_a_kernel_without_ipv6_is_asked_for_no_such_address(rendered: dict[str, Path]) -> None:
    assert "[::]" in (rendered["several"] / "hub-a/pixelstream.conf").read_text()
    assert "[::]" not in (rendered["several"] / "hub-b/pixelstream.conf").read_text()


@needs_nginx
def test_requests_reach_the_coordinator_with_the_true_address(central: Running) -> None:
    status, head, seen = central.ask(
        "/api/v1/titles?x=1", headers="X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: http\r\n"
    )
    assert status == 200
    assert seen.startswith("GET /api/v1/titles?x=1 HTTP/1.1")
    assert "X-Forwarded-For: 127.0.0.1\r\n" in seen, "what a visitor claims is not believed"
    assert "X-Forwarded-Proto: https" in seen
    assert "Host: play.test" in seen
    assert "Strict-Transport-Security: max-age=31536000" in head
    assert "nginx/" not in head, "no version for attackers"


@needs_nginx
def test_a_relay_is_reached_by_host_and_port_of_the_inventory_only(central: Running) -> None:
    status, _, seen = central.ask(
        "/hosts/gpu1/8900/player?token=SECRET-TOKEN", headers="Upgrade: websocket\r\nConnection: Upgrade\r\n"
    )
    assert status == 200
    assert seen.startswith("GET /player?token=SECRET-TOKEN HTTP/1.1")
    assert "Upgrade: websocket" in seen
    for path in (
        "/hosts/gpu1/8899/player",
        "/hosts/gpu1/9000/player",
        "/hosts/gpu1/22/player",
        "/hosts/hub/8900/player",
        "/hosts/127.0.0.1/8900/player",
        "/hosts/gpu1/8900/private/status",
        "/hosts/gpu1/8900/player/../../x",
        "/hosts/gpu1:8900/8900/player",
        "/hosts/",
        "/metrics",
    ):
        status, _, seen = central.ask(path)
        assert (status, seen) == (404, "") or (path.endswith("/x") and status == 404), path


@needs_nginx
def test_secrets_stay_out_of_the_log(central: Running) -> None:
    central.ask("/hosts/gpu1/8900/player?token=SECRET-TOKEN")
    central.ask("/join/SECRET-INVITE?name=x")
    central.ask("/api/v1/invites/SECRET-INVITE")
    central.ask("/api/v1/calendar/dXNlcjphbm5h.SECRET-SEAL.ics")
    central.ask("/api/v1/me?token=SECRET-QUERY")
    deadline = time.monotonic() + 5
    log = ""
    while log.count("\n") < 5 and time.monotonic() < deadline:
        log = (central.home / "pixelstream.log").read_text()
    assert log.count("\n") == 5
    everything = "".join(path.read_text() for path in central.home.glob("*.log"))
    assert "SECRET" not in everything
    assert "/join/-" in log
    assert "/api/v1/invites/-" in log
    assert "/api/v1/calendar/-" in log


@needs_nginx
def test_secrets_stay_out_of_the_error_log_while_the_coordinator_is_away(central: Running) -> None:
    central.upstream.close()
    context = ssl._create_unverified_context()
    secrets = ("/join/SECRET-INVITE", "/api/v1/invites/SECRET-INVITE", "/api/v1/calendar/dXNlcjphbm5h.SECRET-SEAL.ics")
    for path in (*secrets, "/api/v1/titles"):
        with (
            socket.create_connection(("127.0.0.1", central.https), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="play.test") as secure,
        ):
            secure.sendall(f"GET {path} HTTP/1.1\r\nHost: play.test\r\nConnection: close\r\n\r\n".encode())
            assert b" 502 " in secure.recv(4096).splitlines()[0]
    everything = "".join(log.read_text() for log in central.home.glob("*.log"))
    assert 'GET /api/v1/titles HTTP/1.1", upstream' in everything, "errors are written down"
    assert "SECRET" not in everything


@needs_nginx
def test_metrics_are_for_neighbours_who_ask_by_address(central: Running) -> None:
    status, _, seen = central.ask("/metrics/2", host="10.0.0.1")
    assert status == 200
    assert seen.startswith("GET /metrics HTTP/1.1")
    assert "GET /metrics HTTP" not in central.ask("/metrics/2")[2], "the site's name leads to no metrics"
    assert central.ask("/api/v1/titles", host="10.0.0.1")[0] == 404, "an address is no way into the site"


@needs_nginx
def test_other_names_get_no_certificate(central: Running) -> None:
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", central.https), timeout=5) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="evil.test")


@needs_nginx
def test_old_tls_is_refused(central: Running) -> None:
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", central.https), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="play.test") as secure,
    ):
        assert secure.version() == "TLSv1.2"
    site = (central.home / "site.conf").read_text()
    assert set(re.findall(r"ssl_protocols ([^;]+);", site)) == {"TLSv1.2 TLSv1.3"}


@needs_nginx
def test_plain_http_leads_to_the_right_name(central: Running) -> None:
    with socket.create_connection(("127.0.0.1", central.http), timeout=5) as plain:
        plain.sendall(b"GET /session/x HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n")
        answer = plain.recv(4096).decode()
    assert " 301 " in answer.splitlines()[0]
    assert "Location: https://play.test/session/x" in answer


@needs_nginx
def test_direct_edge_reaches_its_own_relays_only(rendered: dict[str, Path], tmp_path: Path) -> None:
    nginx = Running(rendered["direct"] / "edge1/pixelstream.conf", tmp_path / "direct")
    try:
        status, _, seen = nginx.ask("/relay/9003/room", "edge1.test")
        assert status == 200
        assert seen.startswith("GET /room HTTP/1.1")
        for path in (
            "/relay/9004/room",
            "/relay/8750/room",
            "/relay/9003/private/status",
            "/",
            "/hosts/gpu1/8900/player",
        ):
            assert nginx.ask(path, "edge1.test")[0] == 404, path
        status, _, seen = nginx.ask("/control/v1/host", "edge1.test")
        assert seen.startswith("GET /control/v1/host HTTP/1.1"), "the signature covers the path, so it stays as it is"
    finally:
        nginx.close()


@needs_nginx
def test_browsers_get_http_2(central: Running) -> None:
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", central.https), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="play.test") as secure,
    ):
        assert secure.selected_alpn_protocol() == "h2"


@needs_nginx
@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/sessions/abcd2345/events"])
def test_events_arrive_while_the_stream_goes_on(central: Running, path: str) -> None:
    context = ssl._create_unverified_context()
    central.upstream.settimeout(5)
    with (
        socket.create_connection(("127.0.0.1", central.https), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="play.test") as secure,
    ):
        secure.sendall(f"GET {path} HTTP/1.1\r\nHost: play.test\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        peer, _ = central.upstream.accept()
        with peer:
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for number in range(3):
                event = f"data: {number}\n\n".encode()
                peer.sendall(event)
                got = b""
                while event not in got:
                    chunk = secure.recv(4096)
                    assert chunk, "the stream ended"
                    got += chunk
