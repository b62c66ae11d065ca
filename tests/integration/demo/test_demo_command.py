"""``pixelstream demo`` as a person uses it: it says where to look, and leaves nothing, however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from runtime.demo.processes import kill_tree, run_to_end, why_port_is_unusable
from tests.support.waiting import until

START_SECONDS = 60


class Demo:
    """A demo process with its output."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.output = directory / f"output-{time.monotonic_ns()}.txt"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runtime", "demo", "--data", str(directory / "data"), *options],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def until(self, condition: Callable[[], object], what: str, seconds: float = START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s:\n{self.text}"
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue

    def until_up(self) -> str:
        self.until(lambda: "Open " in self.text or self.process.poll() is not None, "the welcome")
        found = re.search(r"Open +(http://\S+)", self.text)
        assert found, self.text
        return found[1]

    def at_work(self) -> list[psutil.Process]:
        """Processes of this demo besides itself: they name its directory or work in it."""
        place = str(self.directory / "data")
        found = []
        for process in psutil.process_iter():
            try:
                words = [process.cwd(), *process.cmdline()]
                if process.pid != self.process.pid and any(word.startswith(place) for word in words):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    demos: list[Demo] = []

    def begin(*options: str) -> Demo:
        demos.append(Demo(tmp_path, *options))
        return demos[-1]

    yield begin
    for demo in demos:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()
    for process in demos[0].at_work() if demos else []:
        process.kill()


def test_demo_serves_pages_and_leaves_nothing_after_ctrl_c(start: Callable[..., Demo]) -> None:
    demo = start("--port", "0")
    url = demo.until_up()
    port = int(url.rpartition(":")[2])
    assert len(demo.at_work()) == 3
    demo.process.send_signal(signal.SIGINT)
    demo.until(lambda: demo.process.poll() is not None, "the end")
    assert demo.process.returncode == 0
    assert "nothing is left running" in demo.text
    assert demo.at_work() == []
    assert not any(c.laddr.port == port for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN)


def test_second_demo_says_that_one_runs(start: Callable[..., Demo]) -> None:
    first = start("--port", "0")
    first.until_up()
    second = start("--port", "0")
    second.until(lambda: second.process.poll() is not None, "the second one's end", 20)
    assert second.process.returncode == 1
    assert second.text.strip().splitlines() == [
        f"pixelstream demo: A demo already runs here (process {first.process.pid}); stop it with Ctrl-C there."
    ]
    assert first.process.poll() is None


def test_taken_port_is_one_sentence(start: Callable[..., Demo], unused_tcp_port_taken: int) -> None:
    demo = start("--port", str(unused_tcp_port_taken))
    demo.until(lambda: demo.process.poll() is not None, "the end", 20)
    assert demo.process.returncode == 1
    (line,) = demo.text.strip().splitlines()
    assert line.startswith(f"pixelstream demo: Port {unused_tcp_port_taken} is taken by another program")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--address", "192.0.2.7"), "192.0.2.7 is not an address of this machine"),
        (("--address", "0.0.0.0"), "Browsers cannot be sent to 0.0.0.0"),
        (("--address", "localhost"), "localhost is not an IPv4 address"),
        (("--address", "::1"), "::1 is not an IPv4 address"),
    ],
)
def test_an_address_that_cannot_work_is_one_sentence(
    start: Callable[..., Demo], options: tuple[str, ...], words: str
) -> None:
    demo = start("--port", "0", *options)
    demo.until(lambda: demo.process.poll() is not None, "the end", 20)
    assert demo.process.returncode == 1
    (line,) = demo.text.strip().splitlines()
    assert words in line


def test_a_port_for_administrators_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Refusing)
    reason = why_port_is_unusable("127.0.0.1", 80)
    assert reason is not None
    assert "administrators only" in reason
    assert "PORT=8080" in reason


@pytest.fixture
def unused_tcp_port_taken() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_killed_demo_takes_everything_with_it_and_can_be_started_again(start: Callable[..., Demo]) -> None:
    demo = start("--port", "0")
    demo.until_up()
    os.kill(demo.process.pid, signal.SIGKILL)
    demo.until(lambda: not demo.at_work(), "the children's end", 30)
    start("--port", "0").until_up()


def test_ctrl_c_during_the_start(start: Callable[..., Demo]) -> None:
    demo = start("--port", "0")
    demo.until(lambda: "is up" in demo.text, "the first service")
    demo.process.send_signal(signal.SIGINT)
    demo.until(lambda: demo.process.poll() is not None, "the end")
    assert demo.process.returncode == 0
    assert demo.at_work() == []


async def test_a_command_ends_with_whoever_waited_for_it(tmp_path: Path) -> None:
    here = str(tmp_path / "here")
    program = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    waiting = asyncio.ensure_future(run_to_end("A long one", ["-c", program, here], tmp_path, 60))
    await until(lambda: Path(here).exists(), "the command")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [process for process in psutil.Process().children(recursive=True) if here in process.cmdline()] == []


def test_killing_a_tree_spares_nobody_that_left_its_group() -> None:
    program = """
import subprocess, sys
words = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
subprocess.Popen(words, start_new_session=True).wait()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as top:
        assert top.stdout is not None
        assert top.stdout.readline() == b"up\n"
        (child,) = psutil.Process(top.pid).children()
        kill_tree(top.pid)
        assert not child.is_running()
    kill_tree(top.pid)  # what is gone already is no error


def test_death_of_a_service_is_named(start: Callable[..., Demo]) -> None:
    demo = start("--port", "0")
    demo.until_up()
    (coordinator,) = (p for p in demo.at_work() if "coordinator" in p.cmdline())
    coordinator.kill()
    demo.until(lambda: demo.process.poll() is not None, "the end")
    assert demo.process.returncode == 1
    assert "The coordinator ended with code -9" in demo.text
    assert demo.at_work() == []


def test_bad_options_are_refused(start: Callable[..., Demo]) -> None:
    for options in (("--port", "70000"), ("--idle-seconds", "0"), ("--nonsense",)):
        demo = start(*options)
        demo.until(lambda demo=demo: demo.process.poll() is not None, "the end", 20)
        assert demo.process.returncode == 2


def test_bench_prints_figures_as_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runtime", "bench", "start", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert 0 < figures["relay_up_ms_p50"] < figures["process_up_ms_p50"] < figures["first_frame_ms_p50"]
    assert figures["relay_rss_bytes"] > 0
