"""What one address may ask of nginx, and that ordinary use stays far below it: the real nginx, the rendered limits."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from . import role_documents
from .running import PROJECT
from .serving import Running, needs_nginx

STATIC = PROJECT / "runtime/coordinator/static"
WEBSOCKET = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
RELAY = "/hosts/gpu1/8900/player?token=x"
OPTIONS = role_documents.specification(PROJECT / "roles/nginx")["options"]
ANOTHER_ADDRESS = "127.0.0.2"


class Behind:
    """Coordinator and relays: WebSockets and event streams stay open until the end, all else is answered at once."""

    def __init__(self, listener: socket.socket) -> None:
        self.reached = 0
        self._listener = listener
        self._open: list[socket.socket] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="behind nginx")
        self._listener.settimeout(0.2)
        self._listener.listen(512)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        for peer in self._open:
            peer.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                peer, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._answer(peer)

    def _answer(self, peer: socket.socket) -> None:
        peer.settimeout(5)
        head = peer.recv(4096).decode().lower()
        self.reached += 1
        if "upgrade: websocket" in head:
            peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            self._open.append(peer)
        elif "/events http" in head:
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            self._open.append(peer)
        else:
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            peer.close()


@pytest.fixture
def behind(central: Running) -> Iterator[Behind]:
    upstream = Behind(central.upstream)
    yield upstream
    upstream.close()


class Client:
    """One connection of a browser."""

    def __init__(self, nginx: Running, address: str = "127.0.0.1") -> None:
        context = ssl._create_unverified_context()
        plain = socket.create_connection(("127.0.0.1", nginx.https), timeout=15, source_address=(address, 0))
        self._secure = context.wrap_socket(plain, server_hostname="play.test")
        self._answers = self._secure.makefile("rb")

    def close(self) -> None:
        self._answers.close()
        self._secure.close()

    def ask(self, paths: list[str], headers: str = "") -> list[int]:
        """Send all requests at once; their statuses. The body of an answer without a length is left unread."""
        for path in paths:
            self._secure.sendall(f"GET {path} HTTP/1.1\r\nHost: play.test\r\n{headers}\r\n".encode())
        return [self._status() for _ in paths]

    def _status(self) -> int:
        status, length = int(self._answers.readline().split()[1]), 0
        while (line := self._answers.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self._answers.read(length)
        return status


@needs_nginx
def test_connections_of_one_address_have_a_bound(central: Running, behind: Behind) -> None:
    """As many WebSockets as the role says are open; the next request of that address gets 429 and reaches nobody."""
    bound = OPTIONS["nginx_connections_per_address"]["default"]
    with ExitStack() as stack:
        clients = []
        for _ in range(bound):
            client = Client(central)
            stack.callback(client.close)
            assert client.ask([RELAY], WEBSOCKET) == [101]
            clients.append(client)
        assert behind.reached == bound
        for path, headers in ((RELAY, WEBSOCKET), ("/", ""), ("/api/v1/events", "")):
            one_more = Client(central)
            stack.callback(one_more.close)
            assert one_more.ask([path], headers) == [429]
        assert behind.reached == bound
        elsewhere = Client(central, ANOTHER_ADDRESS)
        stack.callback(elsewhere.close)
        assert elsewhere.ask(["/"]) == [200], "another address is another visitor"
        clients[0].close()
        deadline, status = time.monotonic() + 10, 429
        while status == 429 and time.monotonic() < deadline:
            again = Client(central)
            stack.callback(again.close)
            (status,) = again.ask([RELAY], WEBSOCKET)
        assert status == 101, "a place that became free can be had"


@needs_nginx
@pytest.mark.skipif(not (STATIC / "index.html").is_file(), reason="the pages are not built: make web")
def test_an_office_full_of_visitors_is_ordinary_use(central: Running, behind: Behind) -> None:
    """Six people behind one address open the catalogue and a session in the same second: nothing is refused.

    Each loads every file that there is, over six connections as browsers do, asks the API as the pages do, and keeps
    its two event streams and its two WebSockets.
    """
    files = [
        f"/static/{path.relative_to(STATIC)}" for path in STATIC.rglob("*") if path.is_file() and path.name[0] != "."
    ]
    assert len(files) > 10
    calls = ["/", "/api/v1/me", "/api/v1/titles", "/api/v1/sessions", "/api/v1/bookings", "/api/v1/sessions/abcd2345"]
    with ExitStack() as stack:

        def client() -> Client:
            made = Client(central)
            stack.callback(made.close)
            return made

        for _person in range(6):
            streams = [client().ask([path]) for path in ("/api/v1/events", "/api/v1/sessions/abcd2345/events")]
            assert streams == [[200], [200]]
            sockets = [client().ask([path], WEBSOCKET) for path in (RELAY, RELAY.replace("player", "room"))]
            assert sockets == [[101], [101]]
            loading = [client() for _ in range(6)]
            answered = [
                status
                for number, connection in enumerate(loading)
                for status in connection.ask([*calls, *files][number :: len(loading)])
            ]
            assert answered == [200] * (len(calls) + len(files))


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
