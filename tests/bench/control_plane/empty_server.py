"""The least that Tornado can do, to compare with: prints its port, answers until it is ended."""

from __future__ import annotations

import asyncio
import sys

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler


class Empty(RequestHandler):
    def get(self) -> None:
        self.finish(b"ok")


async def serve() -> None:
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(Application([(r"/", Empty)], log_function=lambda _: None)).add_sockets(sockets)
    sys.stdout.write(f"{sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
