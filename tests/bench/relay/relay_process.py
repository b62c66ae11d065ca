"""Our media hub behind the bench's signalling: POST /pub and /sub take an offer and return an answer.

Run as ``python -m tests.bench.relay.relay_process``; prints its HTTP port. POST /bytes returns the process's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import sys

import psutil
import tornado.web

from runtime.relay.rtc.hub import MediaHub, MediaSettings

from . import bare


class Silent:
    """Events that nobody needs."""

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: None


class Handler(tornado.web.RequestHandler):
    """One verb per path."""

    def initialize(self, hub: MediaHub, numbers: itertools.count[int]) -> None:
        self.hub, self.numbers = hub, numbers

    async def post(self, what: str) -> None:
        offer = self.request.body.decode()
        if what == "pub":
            self.write(await self.hub.answer_streamer(offer))
        elif what == "sub":
            self.write(await self.hub.answer_player(f"v{next(self.numbers)}", offer))
        else:
            stats = self.hub.stats()
            memory = psutil.Process().memory_info().rss
            self.write(json.dumps({"rss": memory, "players": len(stats.players), "counters": dict(stats.counters)}))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--segmentation", default="")
    parser.add_argument("--bare", action="store_true", help="forward and do nothing else")
    arguments = parser.parse_args()
    if arguments.bare:
        bare.strip()
    hub = MediaHub(MediaSettings(segmentation=arguments.segmentation), Silent())  # type: ignore[arg-type]
    await hub.start()
    application = tornado.web.Application(
        [("/(pub|sub|bytes)", Handler, {"hub": hub, "numbers": itertools.count()})], log_function=lambda handler: None
    )
    server = application.listen(0, "127.0.0.1")
    sockets = list(server._sockets.values())
    print(sockets[0].getsockname()[1], flush=True)
    gc.collect()
    gc.freeze()
    # The bench closes our standard input to end us, so that no way of its own ending leaves us behind.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await hub.close()


if __name__ == "__main__":
    asyncio.run(main())
