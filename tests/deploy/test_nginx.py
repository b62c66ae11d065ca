"""nginx's configuration in every layout, judged by the real nginx; and what it does with requests."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .rendering import files

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
needs_nginx = pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed: apt-get install nginx-light")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def with_real_paths(source: Path, home: Path) -> Path:
    """Make a configuration runnable here: own certificate, own ports, own log; all else is left as rendered."""
    home.mkdir(parents=True, exist_ok=True)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=play.test", "-addext", "subjectAltName=DNS:play.test,DNS:edge1.test,DNS:both.test"]
    subprocess.run(
        [*command, *names, "-keyout", home / "privkey.pem", "-out", home / "fullchain.pem"],
        check=True,
        capture_output=True,
    )
    text = source.read_text().replace("/etc/pixelstream/tls", str(home)).replace("/var/log/nginx", str(home))
    (home / "site.conf").write_text(text)
    # Where the package would write, only root may.
    own = [f"access_log {home}/other.log;"]
    own += [f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    http = " ".join([*own, f"include {home}/site.conf;"])
    main = f"daemon off; pid {home}/pid; error_log {home}/main.log; events {{}}\nhttp {{ {http} }}\n"
    (home / "nginx.conf").write_text(main)
    return home / "nginx.conf"


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


class Running:
    """A real nginx with a rendered configuration, whose upstreams are a small server of ours."""

    def __init__(self, rendered_file: Path, home: Path) -> None:
        self.home, self.https, self.http = home, free_port(), free_port()
        main = with_real_paths(rendered_file, home)
        site = home / "site.conf"
        text = site.read_text()
        text = re.sub(r"listen \[::\]:\d+[^;]*;", "", text)
        text = re.sub(r"listen 443 ", f"listen 127.0.0.1:{self.https} ", text)
        text = re.sub(r"listen 80 ", f"listen 127.0.0.1:{self.http} ", text)
        self.upstream = socket.create_server(("127.0.0.1", 0))
        upstream_port = self.upstream.getsockname()[1]
        text = re.sub(
            r"(?:127\.0\.0\.1|10\.0\.0\.11):(?:81|87|89|90)\d\d(?=[;\s/]| max_fails)",
            f"127.0.0.1:{upstream_port}",
            text,
        )
        site.write_text(text)
        self.process = subprocess.Popen([NGINX, "-p", str(home), "-c", str(main)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.https), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, (home / "main.log").read_text()
        raise AssertionError("nginx did not start")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self.upstream.close()

    def ask(self, path: str, name: str = "play.test", headers: str = "", host: str = "") -> tuple[int, str, str]:
        """Return (status, head of the answer, what the upstream saw)."""
        context = ssl.create_default_context(cafile=str(self.home / "fullchain.pem"))
        self.upstream.settimeout(0.5)
        with (
            socket.create_connection(("127.0.0.1", self.https), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            secure.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {host or name}\r\nConnection: close\r\n{headers}\r\n".encode()
            )
            seen = ""
            try:
                peer, _ = self.upstream.accept()
                with peer:
                    peer.settimeout(5)
                    seen = peer.recv(4096).decode()
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            except TimeoutError:
                pass
            answer = b""
            while chunk := secure.recv(4096):
                answer += chunk
        head = answer.decode().split("\r\n\r\n")[0]
        return int(head.split(" ")[1]), head, seen


@pytest.fixture
def central(rendered: dict[str, Path], tmp_path: Path) -> Iterator[Running]:
    nginx = Running(rendered["central"] / "hub/pixelstream.conf", tmp_path / "central")
    yield nginx
    nginx.close()


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
    central.ask("/api/v1/me?token=SECRET-QUERY")
    deadline = time.monotonic() + 5
    log = ""
    while log.count("\n") < 4 and time.monotonic() < deadline:
        log = (central.home / "pixelstream.log").read_text()
    assert log.count("\n") == 4
    everything = "".join(path.read_text() for path in central.home.glob("*.log"))
    assert "SECRET" not in everything
    assert "/join/-" in log
    assert "/api/v1/invites/-" in log


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


@needs_nginx
def test_a_flood_from_one_address_is_refused_and_ordinary_use_is_not(central: Running) -> None:
    """200 at once are fine, as the defaults say; of far more, the rest gets 429 without reaching a coordinator."""
    stop = threading.Event()

    def serve() -> None:
        central.upstream.settimeout(0.2)
        while not stop.is_set():
            try:
                peer, _ = central.upstream.accept()
            except TimeoutError:
                continue
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    server = threading.Thread(target=serve)
    server.start()
    try:
        context = ssl._create_unverified_context()
        statuses: list[bytes] = []
        with (
            socket.create_connection(("127.0.0.1", central.https), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="play.test") as secure,
        ):
            answers = secure.makefile("rb")
            deadline = time.monotonic() + 30
            while statuses.count(b"429") < 20 and time.monotonic() < deadline:
                secure.sendall(b"GET /api/v1/titles HTTP/1.1\r\nHost: play.test\r\n\r\n" * 100)
                for _ in range(100):
                    statuses.append(answers.readline().split()[1])
                    length = 0
                    while (line := answers.readline()) != b"\r\n":
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                    answers.read(length)
        assert set(statuses[:200]) == {b"200"}
        assert statuses.count(b"429") >= 20
    finally:
        stop.set()
        server.join(5)
