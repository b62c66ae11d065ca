"""Web servers for tests: a real nginx with a configuration that the role rendered, changed only in where it is and what
stands behind it; and plain files.
"""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import time
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from runtime.demo.processes import free_port

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
needs_nginx = pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed: apt-get install nginx-light")


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing of it."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Requests are not of interest."""


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
    main = f"daemon off; pid {home}/pid; error_log {home}/main.log; events {{ worker_connections 2000; }}"
    (home / "nginx.conf").write_text(f"{main}\nhttp {{ {http} }}\n")
    return home / "nginx.conf"


class Running:
    """A real nginx with a rendered configuration, whose upstreams are a small server of ours."""

    def __init__(self, rendered_file: Path, home: Path) -> None:
        self.home, self.https, self.http = home, free_port("127.0.0.1"), free_port("127.0.0.1")
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
