"""A relay without media: the private interface of docs/architecture.md, plus ``POST /private/pretend`` for tests.

``python stub_relay.py --config FILE``. Like the real one it binds its port for TCP and UDP, writes the ready file, and
exits with 98 when a port is taken. A title counts as live as soon as it has sent one message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.websocket import WebSocketHandler

stop = asyncio.Event()
changed = asyncio.Condition()
status: dict[str, Any] = {"version": 1, "streamer": "waiting", "participants": 0, "players": 0}
config: dict[str, Any] = {}


async def change(**values: Any) -> None:
    async with changed:
        status.update(values, version=status["version"] + 1)
        changed.notify_all()


class Streamer(WebSocketHandler):
    async def open(self, secret: str) -> None:  # type: ignore[override]
        if secret != config["streamer_secret"]:
            self.close(1008)
            return
        await change(streamer="connected")

    async def on_message(self, message: str | bytes) -> None:
        await change(streamer="live", first_frame_ms=time.time_ns() // 1_000_000)

    def on_close(self) -> None:
        asyncio.get_running_loop().create_task(change(streamer="lost"))


class Private(web.RequestHandler):
    def prepare(self) -> None:
        if self.request.headers.get("Authorization") != f"Bearer {config['private_secret']}":
            raise web.HTTPError(401)


class Status(Private):
    async def get(self) -> None:
        seen = self.get_query_argument("seen", None)
        if seen is not None:
            async with changed:
                try:
                    async with asyncio.timeout(float(self.get_query_argument("wait_seconds", "25"))):
                        await changed.wait_for(lambda: status["version"] != int(seen))
                except TimeoutError:
                    pass
        self.write(status)


class Stop(Private):
    async def post(self) -> None:
        Path(config["ready_file"]).with_name("stopped.json").write_bytes(self.request.body)
        self.set_status(202)
        if os.environ.get("STUB_RELAY") != "deaf":
            stop.set()


class EndTime(Private):
    async def post(self) -> None:
        Path(config["ready_file"]).with_name("end-time.json").write_bytes(self.request.body)
        self.set_status(202)


class Pretend(Private):
    async def post(self) -> None:
        wanted = json.loads(self.request.body)
        exit_code = wanted.pop("exit", None)
        await change(**wanted)
        if "end_reason" in wanted:
            Path(config["ready_file"] + ".ended").write_text(json.dumps(status))
        self.write({})
        await self.flush()
        if exit_code is not None:
            asyncio.get_running_loop().call_later(0.1, os._exit, exit_code)


async def serve() -> None:
    address, port = config["listen"]["address"], config["listen"]["port"]
    if os.environ.get("STUB_RELAY_REFUSES") == str(port):
        raise OSError(f"{port} was taken just now")
    media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    media.bind((config["media"]["addresses"][0], port))
    public = HTTPServer(web.Application([]))
    public.add_sockets(bind_sockets(port, address))
    routes = [
        (r"/streamer/(.+)", Streamer),
        (r"/private/status", Status),
        (r"/private/end-time", EndTime),
        (r"/private/stop", Stop),
        (r"/private/pretend", Pretend),
    ]
    private = HTTPServer(web.Application(routes))  # type: ignore[arg-type]
    sockets = bind_sockets(config["private_port"], "127.0.0.1")
    private.add_sockets(sockets)
    ready = Path(config["ready_file"])
    if os.environ.get("STUB_RELAY") != "never_ready":
        private_port = sockets[0].getsockname()[1]
        temporary = ready.with_name("ready.new")
        temporary.write_text(json.dumps({"pid": os.getpid(), "port": port, "private_port": private_port}))
        temporary.replace(ready)
    await stop.wait()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    config.update(json.loads(Path(parser.parse_args().config).read_text()))
    print("stub relay", config["session_id"], flush=True)
    try:
        asyncio.run(serve())
    except OSError as error:
        print(error, file=sys.stderr)
        return 98
    return 0


if __name__ == "__main__":
    sys.exit(main())
