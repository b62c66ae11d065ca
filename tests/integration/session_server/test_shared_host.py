"""What sessions share on one host: ports among foreign programs, GPUs, disk."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason
from tests.support.session_server.host import HostUnderTest


@contextmanager
def foreign(kind: socket.SocketKind, port: int) -> Iterator[None]:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", port))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        yield


async def test_ports_of_foreign_programs_are_passed_over(host: HostUnderTest) -> None:
    with foreign(socket.SOCK_STREAM, host.first_port), foreign(socket.SOCK_DGRAM, host.first_port + 1):
        session = await host.begin()
        assert (await host.until_told(session, "ready")).port == host.first_port + 2
        other = await host.begin()
        assert (await host.until_told(other, "ready")).port == host.first_port + 3


async def test_port_that_is_taken_between_probe_and_relay_is_passed_over(idle_host: HostUnderTest) -> None:
    idle_host.environment["STUB_RELAY_REFUSES"] = str(idle_host.first_port)
    await idle_host.start()
    session = await idle_host.begin()
    ready = await idle_host.until_told(session, "ready")
    assert ready.port == idle_host.first_port + 1
    assert (idle_host.data / "sessions" / session / "relay-2").is_dir()


async def test_no_free_port_is_said(host: HostUnderTest) -> None:
    with ExitStack() as stack:
        for port in range(host.first_port, host.first_port + 4):
            stack.enter_context(foreign(socket.SOCK_STREAM, port))
        session = await host.begin()
        over = await host.until_told(session, "failed")
    assert over.reason is EndReason.START_FAILED
    assert over.detail == (f"No port between {host.first_port} and {host.first_port + 3} is free; widen port_range.")


async def test_sessions_are_spread_over_gpus_and_pinned(idle_host: HostUnderTest) -> None:
    idle_host.settings |= {"gpus": [{"index": 0}, {"index": 1}], "capacity": 3}
    await idle_host.start()
    seen = []
    for wanted in (None, None, 7):
        session = await idle_host.begin(gpu=wanted)
        await idle_host.until_told(session, "ready")
        environment = psutil.Process(idle_host.child(session, "title").pid).environ()
        seen.append((environment["CUDA_VISIBLE_DEVICES"], environment["PIXELSTREAM_GPU"]))
    assert seen == [("0", "0"), ("1", "1"), ("7", "7")]


async def test_title_gets_its_environment_and_directory_but_nothing_of_ours(host: HostUnderTest) -> None:
    place = host.titles / "content"
    place.mkdir()
    session = await host.begin(environment={"SCENE": "hall"}, working_directory=str(place))
    await host.until_told(session, "ready")
    process = psutil.Process(host.child(session, "title").pid)
    environment = process.environ()
    assert process.cwd() == str(place)
    assert environment["SCENE"] == "hall"
    assert not [name for name in environment if name.startswith("PYTHON")]
    everything = " ".join(environment.values())
    assert host.coordinator.host_key not in everything
    assert host.record(session)["config"]["private_secret"] not in everything


async def test_missing_working_directory_is_said(host: HostUnderTest) -> None:
    session = await host.begin(working_directory=str(host.titles / "missing"))
    over = await host.until_told(session, "failed")
    assert over.reason is EndReason.START_FAILED
    assert over.detail is not None
    assert str(host.titles / "missing") in over.detail
    assert "No such file or directory" in over.detail


async def test_old_sessions_are_forgotten_with_their_files(idle_host: HostUnderTest) -> None:
    idle_host.settings["files"] = {"keep_ended_sessions": 1}
    await idle_host.start()
    sessions = []
    for _ in range(3):
        sessions.append(await idle_host.begin("--exit-after", "0.2"))
        await idle_host.until_told(sessions[-1], "ended")
    await idle_host.stop(signal.SIGTERM)
    await idle_host.start()
    beats = len(idle_host.coordinator.heartbeats)
    await idle_host.coordinator.until(lambda: len(idle_host.coordinator.heartbeats) > beats, "a heartbeat")
    assert [path.name for path in (idle_host.data / "sessions").iterdir()] == sessions[2:]
    assert (await idle_host.report(sessions[2])).state == "ended"
    with pytest.raises(ServiceError) as unknown:
        await idle_host.report(sessions[0])
    assert unknown.value.code == "session_not_found"
