"""Two real coordinators behind a real nginx are replaced one by one under load, and no request is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.coordinator.config import CoordinatorConfig
from runtime.demo.processes import free_port
from tests.support.coordinator.stand import Stand, Viewer
from tests.support.waiting import until

TITLE = {"name": "sample"}
NGINX = """
daemon off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/f;
    uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
    upstream coordinators {{ server 127.0.0.1:{one} max_fails=0; server 127.0.0.1:{two} max_fails=0; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://coordinators;
            proxy_set_header Host $http_host;
            proxy_next_upstream error timeout http_503;
            proxy_next_upstream_tries 3;
        }}
    }}
}}
"""


class Instance:
    """A coordinator process that can be replaced."""

    def __init__(self, place: Path, name: str, config: CoordinatorConfig) -> None:
        self._file, self._ready, self._log = place / f"{name}.json", place / f"{name}.ready", place / f"{name}.log"
        values = msgspec.to_builtins(config)
        self._file.write_text(json.dumps({**values, "instance": name, "ready_file": str(self._ready)}))
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "runtime", "coordinator", "--config", str(self._file)]
            self._process = subprocess.Popen(command, stderr=log)
        await until(self._ready.exists, self._log.read_text(), seconds=40)

    async def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self._process.wait, 30)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def nginx(place: Path, one: int, two: int) -> Iterator[str]:
    binary = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if binary is None:
        pytest.skip("needs nginx")
    port = free_port("127.0.0.1")
    file = place / "nginx.conf"
    file.write_text(NGINX.format(place=place, port=port, one=one, two=two))
    process = subprocess.Popen([binary, "-c", str(file), "-p", str(place), "-e", str(place / "error.log")])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.timeout(240)
async def test_instances_are_replaced_one_by_one_under_load(stand: Stand, tmp_path: Path) -> None:
    ports = (free_port("127.0.0.1"), free_port("127.0.0.1"))
    shared: dict[str, Any] = {"sessions": {"per_viewer": 0}}
    instances = [
        Instance(tmp_path, name, stand.config(listen={"address": "127.0.0.1", "port": port}, **shared))
        for name, port in zip(("one", "two"), ports, strict=True)
    ]
    host = await stand.host("gpu1", capacity=250)
    await stand.register([TITLE], {host: ["sample"]})
    with nginx(tmp_path, *ports) as url:
        try:
            for instance in instances:
                await instance.start()
            host.connect(url)
            await host.beat()
            viewers = [stand.viewer(url=url) for _ in range(4)]
            results: list[tuple[str, int]] = []
            stop = asyncio.Event()
            load = [asyncio.create_task(_use(viewer, stop, results)) for viewer in viewers]
            beats = asyncio.create_task(_beat(host))
            for instance in instances * 2:
                before = len(results)
                assert await instance.stop() == 0
                await instance.start()
                await until(lambda count=before: len(results) > count + 20, "requests go on")
            stop.set()
            await asyncio.gather(*load)
            beats.cancel()
        finally:
            for instance in instances:
                instance.kill()
    wrong = [result for result in results if result[1] >= 300]
    assert wrong == [], f"of {len(results)}"
    assert sum(what == "POST" for what, _ in results) > 5


async def _use(viewer: Viewer, stop: asyncio.Event, results: list[tuple[str, int]]) -> None:
    """What pages do: look, start, look again, end."""
    await viewer.me()
    while not stop.is_set():
        started = await viewer.call("POST", "/api/v1/sessions", {"title": "sample"})
        results.append(("POST", started.status))
        if started.status != 201:
            continue
        path = f"/api/v1/sessions/{started.json['id']}"
        for _ in range(5):
            for look in (path, "/api/v1/titles"):
                results += [("GET", (await viewer.call("GET", look)).status)]
        results.append(("DELETE", (await viewer.call("DELETE", path)).status))


async def _beat(host: Any) -> None:
    while True:
        with contextlib.suppress(Exception):
            await host.beat()
        await asyncio.sleep(1)
