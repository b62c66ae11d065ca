"""The real nginx behind a simulated service: it serves at the machine's own address, takes up changes, and ends."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.serving import NGINX, needs_nginx
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.programs import daemons
from tests.lab.winsim.state import State

pytestmark = [needs_nginx, pytest.mark.root]  # ports below 1024, and workers that are root

ADDRESS = "127.77.2.31"
LINE = "C:\\nginx\\nginx.exe -p C:\\site -c conf/nginx.conf"
CONFIGURATION = """\
pid C:/site/temp/nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    server {{
        listen 80 default_server;
        listen [::]:80 default_server;
        location / {{ return 200 {text}; }}
        location /files/ {{ root C:/site; }}
    }}
}}
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    monkeypatch.setenv("WINSIM_NGINX", NGINX)
    machine = State(tmp_path / "win1", "WIN1", "ansible")
    machine.address = ADDRESS
    machine.write("C:\\nginx\\nginx.exe", b"MZ", parents=True)
    machine.write("C:\\site\\conf\\nginx.conf", CONFIGURATION.format(text="one").encode(), parents=True)
    machine.write("C:\\site\\files\\Größe.txt", b"file", parents=True)
    machine.make_folder("C:\\site\\temp")
    yield machine
    daemons.stop_all(machine)


def ask(path: str) -> str:
    connection = http.client.HTTPConnection(ADDRESS, 80, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def test_it_serves_what_is_on_the_machine_and_takes_up_changes(state: State) -> None:
    daemons.start(state, "Web", LINE, "LocalSystem")
    assert ask("/") == "one"
    assert ask("/files/Gr%C3%B6%C3%9Fe.txt") == "file"
    pid = state.section("processes")["Web"]
    state.write("C:\\site\\conf\\nginx.conf", CONFIGURATION.format(text="two").encode())
    daemons.hang_up(state, "Web", LINE)
    deadline, said = time.monotonic() + 10, "one"
    while said == "one" and time.monotonic() < deadline:
        said = ask("/")
    assert said == "two"
    assert state.section("processes")["Web"] == pid, "without a restart"
    daemons.stop(state, "Web")
    with pytest.raises(ConnectionRefusedError):
        ask("/")


def test_a_port_that_is_taken_fails_the_start_with_nginx_s_own_words(state: State) -> None:
    with socket.create_server((ADDRESS, 80)), pytest.raises(ModelError, match="Address already in use"):
        daemons.start(state, "Web", LINE, "LocalSystem")
