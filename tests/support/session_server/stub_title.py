"""A title without a picture: connects to the streamer URL, sends one message, then behaves as its options say."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys

from tornado.websocket import WebSocketClosedError, websocket_connect

parser = argparse.ArgumentParser()
parser.add_argument("--url", default=os.environ.get("PIXELSTREAM_STREAMER_URL"))
parser.add_argument("--exit-after", type=float)
parser.add_argument("--exit-code", type=int, default=0)
parser.add_argument("--never-connect", action="store_true")
parser.add_argument("--connect-when", metavar="FILE", help="connect only once this file exists")
parser.add_argument("--no-frame", action="store_true")
parser.add_argument("--leave-after", type=float, help="close the connection and stay away")
parser.add_argument("--ignore-signals", action="store_true")
parser.add_argument("--grandchildren", action="store_true", help="one in our group, one in a session of its own")
parser.add_argument("--shout-bytes", type=int, default=0)
parser.add_argument("--say", default="")
options = parser.parse_args()


async def stream() -> None:
    while options.connect_when and not os.path.exists(options.connect_when):  # noqa: ASYNC110 - a file sets no event
        await asyncio.sleep(0.05)
    while True:
        try:
            connection = await websocket_connect(options.url)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        # As if the network between title and relay had failed for a moment.
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, connection.close)
        try:
            if not options.no_frame:
                await connection.write_message("frame")
            if options.leave_after is not None:
                await asyncio.sleep(options.leave_after)
                connection.close()
                await asyncio.Event().wait()
            while await connection.read_message() is not None:
                pass
        except WebSocketClosedError:
            pass
        await asyncio.sleep(0.1)


async def main() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, (lambda: None) if options.ignore_signals else stop.set)
    print("stub title", options.say, flush=True)
    line = b"x" * 99 + b"\n"
    for _ in range(options.shout_bytes // 100):
        sys.stdout.buffer.write(line)
    sys.stdout.flush()
    if options.grandchildren:
        hold = "import time, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", hold])
        subprocess.Popen([sys.executable, "-c", hold], start_new_session=True, stdout=subprocess.DEVNULL)
    work = None if options.never_connect else loop.create_task(stream())
    try:
        async with asyncio.timeout(options.exit_after):
            await stop.wait()
    except TimeoutError:
        print("stub title leaves with", options.exit_code, flush=True)
        os._exit(options.exit_code)
    if work is not None:
        work.cancel()
    os._exit(0)


asyncio.run(main())
