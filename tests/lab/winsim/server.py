"""HTTP(S) front of one simulated machine, with Basic and NTLM authentication."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import sealing
from .machine import Machine
from .wsman import DropConnection, Endpoint


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one machine is reached. ``authentication`` holds ``basic``, ``ntlm`` or both."""

    address: str
    port: int
    state: Path
    computer: str
    user: str = "ansible"
    password: str
    authentication: frozenset[str] = frozenset({"ntlm"})
    certificate: Path | None = None
    key: Path | None = None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, settings: Settings) -> None:
        settings.state.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.machine = Machine(settings.state, settings.computer, settings.user)
        self.machine.state.address = settings.address
        self.endpoint = Endpoint(self.machine)
        self.tls: ssl.SSLContext | None = None
        if settings.certificate is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(settings.certificate, settings.key)
        if "ntlm" in settings.authentication:
            self._write_ntlm_users()
        super().__init__((settings.address, settings.port), Handler)
        self.machine.power_on()

    def _write_ntlm_users(self) -> None:
        """pyspnego reads the accounts it may accept from the file that NTLM_USER_FILE names."""
        settings = self.settings
        file = settings.state / "ntlm.users"
        file.touch(mode=0o600)
        lines = [f"{domain}:{settings.user}:{settings.password}\n" for domain in (settings.computer, "")]
        file.write_text("".join(lines))
        os.environ["NTLM_USER_FILE"] = str(file)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls is not None:
            # The handshake happens in the worker thread: a silent client must not block the others.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that refuse our certificate or go away are part of the tests; nothing else may pass silently."""
        import sys

        if not isinstance(sys.exc_info()[1], ssl.SSLError | ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        self.machine.power_off()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    timeout = 120.0

    def setup(self) -> None:
        super().setup()
        # Otherwise every small answer waits for a delayed acknowledgement.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._context: Any = None
        self._authenticated = False
        self._reply_header: tuple[str, str] | None = None

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """No access log: calls.jsonl has what matters."""

    def do_POST(self) -> None:
        self._reply_header = None
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        allowed = self._authenticate()
        if allowed is None:
            return
        if not allowed:
            self._send(401, headers=self._challenges())
            return
        headers: list[tuple[str, str]] = [self._reply_header] if self._reply_header else []
        if not raw:
            self._send(200, headers=headers)
            return
        sealed = "multipart/encrypted" in self.headers.get("Content-Type", "")
        try:
            status, text = self.server.endpoint.handle(sealing.unseal(self._context, raw) if sealed else raw)
        except DropConnection:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        if sealed:
            self._send(status, sealing.seal(self._context, text.encode()), sealing.CONTENT_TYPE, headers)
        else:
            self._send(status, text.encode(), headers=headers)

    def _challenges(self) -> list[tuple[str, str]]:
        offered = self.server.settings.authentication
        challenges = [("WWW-Authenticate", "Negotiate")] if "ntlm" in offered else []
        return challenges + ([("WWW-Authenticate", 'Basic realm="WSMAN"')] if "basic" in offered else [])

    def _authenticate(self) -> bool | None:
        """True or False, or None when a further NTLM leg was answered here."""
        kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
        settings = self.server.settings
        if self._authenticated and not token:
            return True
        if kind == "Basic" and "basic" in settings.authentication:
            return base64.b64decode(token).decode() == f"{settings.user}:{settings.password}"
        if kind in ("Negotiate", "NTLM") and "ntlm" in settings.authentication:
            return self._ntlm_leg(kind, token)
        return False

    def _ntlm_leg(self, kind: str, token: str) -> bool | None:
        import spnego
        import spnego.exceptions

        if self._context is None or self._authenticated:
            self._context = spnego.server(protocol="negotiate" if kind == "Negotiate" else "ntlm")
            self._authenticated = False
        try:
            out = self._context.step(base64.b64decode(token))
        except (spnego.exceptions.SpnegoError, ValueError):
            self._context = None
            return False
        header = ("WWW-Authenticate", f"{kind} {base64.b64encode(out).decode()}") if out else None
        if self._context.complete:
            self._authenticated, self._reply_header = True, header
            return True
        self._send(401, headers=[header] if header else [])
        return None

    def _send(
        self,
        status: int,
        data: bytes = b"",
        content_type: str = "application/soap+xml;charset=UTF-8",
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers or []:
            self.send_header(name, value)
        if data:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
