"""Command line: ``python -m tests.lab.winsim start|stop|serve ...``.

``start`` serves in the background and returns when the port answers; ``stop`` ends exactly that process and its
children.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from .server import Server, Settings

START_SECONDS = 15.0
STOP_SECONDS = 20.0


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return {"serve": _serve, "start": _start, "stop": _stop}[options.action](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="winsim", description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "serve"])
    parser.add_argument(
        "--state", type=Path, required=True, help="folder of this machine's state; its name names the machine"
    )
    parser.add_argument("--address", default="127.77.0.1")
    parser.add_argument("--port", type=int, default=55986)
    parser.add_argument("--user", default="ansible")
    parser.add_argument("--authentication", default="ntlm", help="comma separated: basic, ntlm")
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    return parser


def _pid_file(options: argparse.Namespace) -> Path:
    state: Path = options.state
    return state.with_name(state.name + ".pid")


def _serve(options: argparse.Namespace) -> int:
    settings = Settings(
        address=options.address,
        port=options.port,
        state=options.state,
        computer=options.state.name.upper(),
        user=options.user,
        password=os.environ["WINSIM_PASSWORD"],
        authentication=frozenset(options.authentication.split(",")),
        certificate=options.certificate,
        key=options.key,
    )
    server = Server(settings)
    signal.signal(signal.SIGTERM, _raise_exit)
    try:
        server.serve_forever()
    finally:
        server.server_close()
    return 0


def _raise_exit(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def _start(options: argparse.Namespace) -> int:
    options.state.mkdir(parents=True, exist_ok=True)
    log = options.state.with_name(options.state.name + ".log")
    command = [sys.executable, "-m", __package__ or "winsim", "serve", *_passed_on(options)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    _pid_file(options).write_text(str(process.pid))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((options.address, options.port), timeout=1.0):
            return 0
        time.sleep(0.05)
    print(f"{options.state.name} did not start; see {log}:\n{log.read_text()[-2000:]}", file=sys.stderr)
    return 1


def _passed_on(options: argparse.Namespace) -> list[str]:
    passed = [
        "--state",
        str(options.state),
        "--address",
        options.address,
        "--port",
        str(options.port),
        "--user",
        options.user,
    ]
    passed += ["--authentication", options.authentication]
    for name in ("certificate", "key"):
        if getattr(options, name) is not None:
            passed += [f"--{name}", str(getattr(options, name))]
    return passed


def _stop(options: argparse.Namespace) -> int:
    file = _pid_file(options)
    if not file.exists():
        return 0
    pid = int(file.read_text())
    if not _is_ours(pid, options.state):
        file.unlink()
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _is_ours(pid, options.state):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    file.unlink()
    return 0


def _is_ours(pid: int, state: Path) -> bool:
    """Whether ``pid`` is still the simulator of this state: numbers are used again."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        zombie = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return False
    return str(state).encode() in words and not zombie


if __name__ == "__main__":
    sys.exit(main())
