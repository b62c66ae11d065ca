"""``pixelstream streamer``: the sample title, and the misbehaving application of our tests.

Exit codes: 0 stopped or told to exit, 1 a failure of its own, 2 bad options, 4 no signalling server for too long,
70 crashed as told, 98 the ``--listen`` port is taken.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from runtime.chassis import log
from runtime.chassis.clock import SystemClock
from runtime.chassis.lifecycle import stop_on_signals

from . import config
from .config import OptionsError, StreamerOptions

logger = logging.getLogger(__name__)

EXIT_GAVE_UP = 4
EXIT_CRASHED = 70
EXIT_PORT_TAKEN = 98
STOP_SECONDS = 4.0
# The child of --spawn-child ends by itself, should a failing test leave it behind.
CHILD_SECONDS = 600
_CHILD_PROGRAM = """
import signal, sys, time
for name in ("SIGTERM", "SIGINT", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
time.sleep(float(sys.argv[1]))
"""


def main(argv: Sequence[str]) -> int:
    """Run the sample title until it is stopped; answers the exit code."""
    try:
        options = config.parse(argv, os.environ)
    except OptionsError as error:
        print(f"pixelstream streamer: {error}", file=sys.stderr)
        return 2
    log.configure(style=options.log_style)
    try:
        return asyncio.run(_run(options))
    except KeyboardInterrupt:
        return 0


async def _run(options: StreamerOptions) -> int:
    stop = asyncio.Event()
    if options.ignore_signals:
        _ignore_signals()
    else:
        stop_on_signals(stop)
    loop = asyncio.get_running_loop()
    if options.spawn_child:
        _spawn_child()
    if options.crash_after_seconds is not None:
        loop.call_later(options.crash_after_seconds, _crash)
    if options.exit_after_seconds is not None:
        loop.call_later(options.exit_after_seconds, stop.set)
    code = await _never_connect(stop) if options.never_connect else await _stream(options, stop)
    if options.hang_on_stop and stop.is_set():
        logger.warning("told to hang: waiting for ever")
        _ignore_signals()
        await asyncio.Event().wait()
    logger.info("stopped")
    return code


async def _never_connect(stop: asyncio.Event) -> int:
    logger.warning("told never to connect")
    await stop.wait()
    return 0


async def _stream(options: StreamerOptions, stop: asyncio.Event) -> int:
    """Stream until ``stop``, a failure, or no server."""
    # Imported here: aiortc and the encoders take half a second that bad options and misbehaviour need not wait for.
    from .direct import DirectServer
    from .session import Session
    from .signalling import GaveUpError, SignallingClient

    clock = SystemClock()
    session = Session(options, clock)
    direct = DirectServer(session, options.streamer_id) if options.listen is not None else None
    if direct is not None and options.listen is not None:
        try:
            direct.start(*options.listen)
        except OSError as error:
            logger.error("cannot listen on %s:%d: %s", *options.listen, error.strerror)
            return EXIT_PORT_TAKEN
    work = [asyncio.create_task(session.run(), name="session")]
    if options.url is not None:
        client = SignallingClient(options.url, options.streamer_id, session, clock, options.give_up_seconds)
        work.append(asyncio.create_task(client.run(), name="signalling"))
    stopping = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait([*work, stopping], return_when=asyncio.FIRST_COMPLETED)
    for task in [*work, stopping]:
        task.cancel()
    await asyncio.wait([*work, stopping], timeout=STOP_SECONDS)
    if direct is not None:
        await direct.close()
    for task in done & set(work):
        failure = task.exception()
        if isinstance(failure, GaveUpError):
            logger.error("giving up: %s", failure)
            return EXIT_GAVE_UP
        logger.error("the stream failed", exc_info=failure)
        return 1
    return 0


def _ignore_signals() -> None:
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


def _crash() -> None:
    """Die as a crashed program does: at once, without closing anything."""
    logger.warning("told to crash")
    sys.stderr.flush()
    os._exit(EXIT_CRASHED)


def _spawn_child() -> None:
    """A child in the same process group that ignores requests to stop, as a crash reporter may."""
    # Not waited for on purpose: whoever ends this title must end its whole tree.
    child = subprocess.Popen([sys.executable, "-c", _CHILD_PROGRAM, str(CHILD_SECONDS)], stdin=subprocess.DEVNULL)
    logger.warning("child process %d", child.pid)
