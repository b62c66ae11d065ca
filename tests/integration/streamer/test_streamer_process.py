"""The streamer as a process: it connects again, stops quickly, and misbehaves exactly as told."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import psutil
import pytest

from runtime.streamer.app import EXIT_CRASHED, EXIT_GAVE_UP, EXIT_PORT_TAKEN
from tests.support.streamer_peer import SECRET, JoinPlayer, SignallingServer, StartStreamer
from tests.support.waiting import until

SMALL = ("--size", "320x180")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ends processes by POSIX signals")


async def test_it_connects_again_and_serves_new_players(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    await start(*SMALL)
    await server.identified()
    player = await join("before")
    assert server.socket is not None
    server.received.clear()
    server.socket.close()
    await server.identified()
    assert server.connections == 2
    again = await join("after")
    await again.more_frames(5)
    assert again.readings[-1].frame > player.readings[-1].frame  # the same title, not a new one


async def test_both_orders_of_the_greeting_work(start: StartStreamer) -> None:
    other = SignallingServer(identify_first=True)
    await start(*SMALL, "--id", "Named", url=other.url)
    assert await other.identified() == "Named"
    await other.close()


async def test_sigterm_ends_it_in_good_order_while_it_streams(
    server: SignallingServer, start: StartStreamer, join: JoinPlayer
) -> None:
    streamer = await start(*SMALL)
    await server.identified()
    await join()
    streamer.process.send_signal(signal.SIGTERM)
    assert await streamer.exit_code(5) == 0
    await until(lambda: server.socket is None, "the socket is closed")
    assert not streamer.logged("Traceback")


async def test_the_secret_is_never_logged(server: SignallingServer, start: StartStreamer) -> None:
    streamer = await start(*SMALL)
    await server.identified()
    streamer.process.send_signal(signal.SIGTERM)
    await streamer.exit_code()
    assert streamer.log
    assert not streamer.logged(SECRET)
    assert SECRET not in " ".join(psutil.Process().cmdline())


async def test_crash_after(start: StartStreamer) -> None:
    streamer = await start(*SMALL, "--crash-after", "0.5")
    assert await streamer.exit_code() == EXIT_CRASHED


async def test_exit_after(start: StartStreamer) -> None:
    streamer = await start(*SMALL, "--exit-after", "0.5")
    assert await streamer.exit_code() == 0


async def test_never_connect(server: SignallingServer, start: StartStreamer) -> None:
    streamer = await start("--never-connect")
    await until(lambda: streamer.logged("never to connect"), "it runs")
    assert server.connections == 0
    streamer.process.send_signal(signal.SIGTERM)
    assert await streamer.exit_code() == 0
    assert server.connections == 0


async def test_ignore_signals(server: SignallingServer, start: StartStreamer) -> None:
    streamer = await start("--ignore-signals", *SMALL)
    await server.identified()
    streamer.process.send_signal(signal.SIGTERM)
    streamer.process.send_signal(signal.SIGINT)
    server.send(type="ping", time=7)
    await until(lambda: {"type": "pong", "time": 7} in server.received, "it goes on as before")
    assert streamer.process.returncode is None


async def test_hang_on_stop(server: SignallingServer, start: StartStreamer) -> None:
    streamer = await start("--hang-on-stop", *SMALL)
    await server.identified()
    streamer.process.send_signal(signal.SIGTERM)
    await until(lambda: streamer.logged("waiting for ever"), "it has begun to stop")
    await until(lambda: server.socket is None, "the stream is closed")
    streamer.process.send_signal(signal.SIGTERM)
    with pytest.raises(AssertionError):
        await streamer.exit_code(0.5)


async def test_spawn_child_leaves_a_child_in_the_same_group(start: StartStreamer) -> None:
    streamer = await start("--spawn-child", "--exit-after", "1", *SMALL)
    line = (await until(lambda: streamer.logged("child process"), "the child"))[0]
    child = psutil.Process(int(line.split("child process ")[1].split()[0]))
    try:
        assert os.getpgid(child.pid) == os.getpgid(streamer.process.pid)
        assert await streamer.exit_code() == 0
        assert child.is_running()
        child.terminate()
        with pytest.raises(psutil.TimeoutExpired):
            await asyncio.to_thread(child.wait, 0.5)
    finally:
        child.kill()
        await asyncio.to_thread(child.wait, 5)


async def test_it_gives_up_when_there_is_no_server(start: StartStreamer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/streamer/{SECRET}"
        streamer = await start(*SMALL, "--give-up-after", "0.3", url=url)
        assert await streamer.exit_code() == EXIT_GAVE_UP
    assert not streamer.logged(SECRET)


async def test_a_taken_port_is_one_clear_sentence(start: StartStreamer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        streamer = await start(*SMALL, "--listen", f"127.0.0.1:{port}", url=None)
        assert await streamer.exit_code() == EXIT_PORT_TAKEN
    assert streamer.logged(f"cannot listen on 127.0.0.1:{port}")
    assert not streamer.logged("Traceback")
