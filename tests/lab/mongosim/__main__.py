"""python -m tests.lab.mongosim --config FILE: run until a signal, as mongod does in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from .conf import load
from .errors import StartError
from .server import Server


async def serve(server: Server) -> None:
    task = asyncio.ensure_future(server.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        logging.getLogger("mongosim").info("shutting down")


def main() -> int:
    parser = argparse.ArgumentParser(prog="mongod")
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    try:
        configuration = load(options.config)
        logging.basicConfig(
            level=logging.INFO,
            format="%(asctime)s %(levelname)s %(message)s",
            **({"filename": configuration.log} if configuration.log else {"stream": sys.stdout}),
        )
        asyncio.run(serve(Server(configuration)))
    except StartError as error:
        print(error, file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
