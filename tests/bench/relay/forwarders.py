"""The forwarders that are measured: how to start each, and where its signalling is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.demo.processes import free_port

ROOT = Path(__file__).resolve().parents[3]
LOADGEN = Path(__file__).parent / "loadgen"
START_SECONDS = 20.0
JANUS_HOW_TO = "Debian and Ubuntu: apt install janus"


@dataclass(frozen=True)
class Forwarder:
    """One kind of relay. ``target`` is how the load generator speaks to it."""

    name: str
    target: str
    about: str
    command: tuple[str, ...] = ()
    event_loops: int = 0  # Janus only; 0: a thread per peer


@dataclass(frozen=True)
class Running:
    pid: int
    url: str


class Unavailable(Exception):
    """A tool is missing; the text says which and how to get it."""


def find_go() -> str:
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(go).exists():
        raise Unavailable("Go is not installed; it builds the load generator (1.24 or newer, see go.dev/dl)")
    return go


def build(directory: Path) -> tuple[Path, Path]:
    """(load generator, Pion SFU) built into ``directory``."""
    go = find_go()
    results = []
    for name, package in (("loadgen", "."), ("sfu", "./sfu")):
        target = directory / name
        subprocess.run([go, "build", "-o", str(target), package], cwd=LOADGEN, check=True, timeout=300)
        results.append(target)
    return results[0], results[1]


def module_version(path: str) -> str:
    """The version of a Go module that the load generator is built with."""
    for line in (LOADGEN / "go.mod").read_text(encoding="utf-8").splitlines():
        if path in line:
            return line.split()[1]
    return "unknown"


def forwarders(sfu: Path) -> list[Forwarder]:
    """Ours first; Janus only where it is installed."""
    relay = (sys.executable, "-m", "tests.bench.relay.relay_process")
    pion = f"Pion {module_version('pion/webrtc')}"
    found = [
        Forwarder("relay", "http", "this project", relay),
        Forwarder(
            "relay_no_gso", "http", "this project, one system call per packet", (*relay, "--segmentation", "none")
        ),
        Forwarder("relay_bare", "http", "this project, forwarding and no other duty", (*relay, "--bare")),
        Forwarder("pion", "http", f"{pion}, default interceptors", (str(sfu),)),
        Forwarder("pion_plain", "http", f"{pion}, no interceptors", (str(sfu), "-plain")),
    ]
    janus = shutil.which("janus")
    if janus is None:
        print(f"janus: left out, because it is not installed ({JANUS_HOW_TO})", file=sys.stderr)
    else:
        done = subprocess.run([janus, "--version"], capture_output=True, text=True, timeout=10, check=False)
        version = re.search(r"\(([\d.]+)\)", done.stdout + done.stderr)
        about = f"Janus {version[1] if version else 'unknown'} videoroom"
        found += [
            Forwarder("janus", "janus", f"{about}, a thread per peer (its default)", (janus,)),
            Forwarder("janus_loops", "janus", f"{about}, event_loops = 2", (janus,), event_loops=2),
        ]
    return found


@contextmanager
def run(forwarder: Forwarder) -> Iterator[Running]:
    """Start a forwarder, yield its pid and signalling address, end it."""
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        command: Sequence[str] = forwarder.command
        url = ""
        if forwarder.target == "janus":
            port = free_port("127.0.0.1")
            _configure_janus(Path(directory), port, forwarder.event_loops)
            url = f"http://127.0.0.1:{port}/janus"
            command = (*command, "--configs-folder", directory)
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            if url:
                _wait_until_it_answers(url + "/info", process)
            else:
                assert process.stdout is not None
                url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            yield Running(process.pid, url)
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            try:
                process.wait(3 if forwarder.name.startswith("relay") else 0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            process.stdout.close()


def _wait_until_it_answers(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _configure_janus(directory: Path, port: int, event_loops: int) -> None:
    (directory / "janus.jcfg").write_text(
        f"general: {{ debug_level = 0  log_to_stdout = false  session_timeout = 120  event_loops = {event_loops} }}\n"
        'nat: { ice_enforce_list = "127.0.0.1,lo"  ice_lite = true  full_trickle = false }\n'
        'plugins: { disable = "libjanus_audiobridge.so,libjanus_echotest.so,libjanus_nosip.so,libjanus_recordplay.so,'
        "libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_voicemail.so,"
        'libjanus_lua.so,libjanus_duktape.so" }\n'
        'transports: { disable = "libjanus_websockets.so,libjanus_rabbitmq.so,libjanus_pfunix.so,libjanus_mqtt.so,'
        'libjanus_nanomsg.so" }\n'
        "media: { }\n",
        encoding="utf-8",
    )
    (directory / "janus.transport.http.jcfg").write_text(
        f'general: {{ json = "compact"  base_path = "/janus"  http = true  port = {port}  ip = "127.0.0.1" }}\n'
        "admin: { admin_http = false }\n",
        encoding="utf-8",
    )
    (directory / "janus.plugin.videoroom.jcfg").write_text("general: { }\n", encoding="utf-8")
