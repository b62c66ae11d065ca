"""``pixelstream demo``: everything on this machine, one URL, and nothing left after Ctrl-C.

Exit codes: 0 stopped as asked (or the check held), 1 something failed and was named, 2 bad options.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import webbrowser
from collections.abc import Coroutine, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runtime.chassis.lifecycle import stop_on_signals

from .errors import DemoError
from .processes import kill_tree
from .stack import DemoOptions, DemoStack

_DEFAULT_PORT = 8080
# Of the extra "local": the database and the sample title's encoders.
_NEEDED = ("nx_27017", "av", "numpy")
_WATCH_SECONDS = 0.5
_CHECK_SECONDS = 420.0
# Short enough for a check, long enough that its acts are not cut off.
_CHECK_IDLE_SECONDS, _CHECK_WARNING_SECONDS = 45.0, 20.0


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        words = f"Python package {' and '.join(missing)} missing: run make demo in the checkout."
        print(f"pixelstream demo: {words}", file=sys.stderr)
        return 1
    if options.check and find_spec("tests.e2e") is None:
        print("pixelstream demo: --check needs the project's checkout; run it there.", file=sys.stderr)
        return 2
    try:
        if options.check:
            return asyncio.run(_unless_stopped(_check(options), 1))  # what was cut short has not held
        return asyncio.run(_unless_stopped(_run(options), 0))
    except DemoError as error:
        print(f"pixelstream demo: {error}", file=sys.stderr)
        return 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pixelstream demo",
        description="Start database, coordinator, session server and sample titles on this machine.",
    )
    add = parser.add_argument
    add("--port", type=int, help=f"port of the web pages (default {_DEFAULT_PORT}; 0 takes a free one)")
    add("--address", default="127.0.0.1", help="address to serve on; one of this machine's, to show it to others")
    add("--data", type=Path, default=Path(".demo"), metavar="DIR", help="where files go, emptied at start (.demo)")
    add("--idle-seconds", type=float, metavar="N", help="end a session after so long without activity (600)")
    add("--open", action="store_true", help="open the page in this machine's browser")
    add("--check", action="store_true", help="drive the pages with two headless browsers, print one JSON line, exit")
    options = parser.parse_args(arguments)
    if options.port is not None and not 0 <= options.port <= 65535:
        parser.error("--port must be 0 to 65535")
    if options.idle_seconds is not None and options.idle_seconds <= 0:
        parser.error("--idle-seconds must be more than 0")
    return options


def _stack(options: argparse.Namespace, *, port: int, idle: float, warning: float, output: Any) -> DemoStack:
    return DemoStack(
        DemoOptions(
            directory=options.data,
            address=options.address,
            port=port,
            idle_seconds=options.idle_seconds or idle,
            idle_warning_seconds=min(warning, (options.idle_seconds or idle) / 2),
            say=lambda text: print(f"[demo] {text}", file=output, flush=True),
        )
    )


async def _unless_stopped(work: Coroutine[Any, Any, int], stopped_code: int) -> int:
    """The result of ``work``; ``stopped_code`` when a signal cancelled it, after it has cleaned up."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        print("[demo] stopping", file=sys.stderr, flush=True)
        working.cancel()
    try:
        return await working
    except asyncio.CancelledError:
        print("[demo] stopped, nothing is left running", file=sys.stderr, flush=True)
        return stopped_code


async def _run(options: argparse.Namespace) -> int:
    port = _DEFAULT_PORT if options.port is None else options.port
    async with _stack(options, port=port, idle=600.0, warning=60.0, output=sys.stdout) as stack:
        print(_welcome(stack), flush=True)
        if options.open:
            await asyncio.to_thread(webbrowser.open, stack.url)
        while (dead := stack.dead()) is None:  # noqa: ASYNC110 - children are polled, nothing could set an event
            await asyncio.sleep(_WATCH_SECONDS)
        raise DemoError(f"The {dead.name} ended with code {dead.exit_code}; its log is {dead.log}.")


def _welcome(stack: DemoStack) -> str:
    return f"""
  Open   {stack.url}

  - Press Start under "Sample scene", then click into the picture: it answers mouse, wheel, keys and touch.
  - Press Invite and open the link in another browser window: two people, chat, voice, and control to hand over.
  - Do nothing for a while: every page counts down, and the session ends.
  - Administration: {stack.url}/admin  as {stack.admin.user}, password {stack.admin.password}

  Logs are in {stack.directory / "logs"}. Ctrl-C ends everything.
"""


async def _check(options: argparse.Namespace) -> int:
    """The scenario of ``tests/e2e`` on a stack of its own. Progress goes to standard error, the figures to output."""
    port = 0 if options.port is None else options.port
    idle, warning = _CHECK_IDLE_SECONDS, _CHECK_WARNING_SECONDS
    async with _stack(options, port=port, idle=idle, warning=warning, output=sys.stderr) as stack:
        figures = await _drive(stack)
    processes, ports = await asyncio.to_thread(stack.leftovers)
    for text in processes:
        print(f"[demo] left running: {text}", file=sys.stderr)
    for port in ports:
        print(f"[demo] left open: port {port}", file=sys.stderr)
    if "error" in figures:
        print(f"[demo] did not hold: {figures['error']}", file=sys.stderr)
    held = bool(figures.get("held")) and not processes and not ports
    figures |= {"processes_left": len(processes), "ports_left": len(ports), "held": held}
    print(json.dumps(figures), flush=True)
    return 0 if held else 1


async def _drive(stack: DemoStack) -> dict[str, Any]:
    screens = stack.directory / "screens"
    screens.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.e2e.check", "--url", stack.url, "--screens", str(screens), "--place", str(stack.directory)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        return {"held": False, "error": f"the scenario did not end within {_CHECK_SECONDS:g} s"}
    finally:
        if process.returncode is None:
            await asyncio.to_thread(kill_tree, process.pid)
            await process.wait()
    try:
        figures: dict[str, Any] = json.loads(output.decode().strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"held": False, "error": f"the scenario ended with code {process.returncode} and no figures"}
    return figures
