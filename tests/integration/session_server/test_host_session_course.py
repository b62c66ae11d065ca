"""A session on a real host: started step by step, watched, and ended with every process it had."""

from __future__ import annotations

import asyncio
import signal

import psutil
import pytest

from runtime.protocol.control import SessionPolicy, SessionReport
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, SessionState, StartStep
from tests.support.session_server.coordinator import FakeCoordinator
from tests.support.session_server.host import QUICK, HostUnderTest
from tests.support.waiting import until


async def test_session_starts_step_by_step_and_ends_when_asked(
    host: HostUnderTest, coordinator: FakeCoordinator
) -> None:
    session = await host.begin()
    ready = await host.until_told(session, "ready")
    assert list(ready.steps) == ["relay_up", "process_up", "streamer_connected", "first_frame"]
    assert sorted(ready.steps.values()) == list(ready.steps.values())
    assert ready.port is not None
    assert host.first_port <= ready.port <= host.first_port + 3
    await host.pretend(session, players=1, participants=1)
    await host.until_told(session, "streaming")
    reply = await host.call("DELETE", f"/control/v1/sessions/{session}?reason=owner_ended")
    assert reply.status == 202
    ended = await host.until_told(session, "ended")
    assert (ended.reason, ended.exit_code) == (EndReason.OWNER_ENDED, 0)
    assert host.marked(session) == []
    told = (host.data / "sessions" / session / "relay-1" / "stopped.json").read_text()
    assert "owner_ended" in told, "the relay was not told why"
    states = [event.report.state for event in coordinator.of(session)]
    assert [s for i, s in enumerate(states) if i == 0 or states[i - 1] != s] == [
        SessionState.STARTING,
        SessionState.READY,
        SessionState.STREAMING,
        SessionState.STOPPING,
        SessionState.ENDED,
    ]
    assert [event.sequence for event in coordinator.of(session)] == list(range(1, len(states) + 1))
    again = await host.call("DELETE", f"/control/v1/sessions/{session}?reason=idle")
    assert (again.status, again.as_(SessionReport).reason) == (200, EndReason.OWNER_ENDED)


async def test_start_is_idempotent_and_slots_are_counted(host: HostUnderTest) -> None:
    start = host.request()
    target = f"/control/v1/sessions/{start.session_id}"
    replies = await asyncio.gather(*(host.call("PUT", target, start) for _ in range(3)))
    assert sorted(reply.status for reply in replies) == [200, 200, 201]
    await host.begin()
    third = host.request()
    with pytest.raises(ServiceError) as refused:
        await host.call("PUT", f"/control/v1/sessions/{third.session_id}", third)
    assert refused.value.code == "host_full"


@pytest.mark.parametrize(
    ("arguments", "reason", "state", "words"),
    [
        (("--exit-after", "0.3"), EndReason.APP_EXITED, "ended", "ended by itself"),
        (("--exit-after", "0.3", "--exit-code", "3"), EndReason.APP_CRASHED, "failed", "exit code 3"),
        (("--never-connect", "--exit-after", "0.1"), EndReason.START_FAILED, "failed", "before streamer_connected"),
        (("--never-connect",), EndReason.START_TIMEOUT, "failed", "streamer_connected was not reached"),
        (("--no-frame",), EndReason.START_TIMEOUT, "failed", "first_frame was not reached"),
        (("--leave-after", "0.3"), EndReason.APP_CRASHED, "failed", "did not come back"),
    ],
)
async def test_title_decides_the_end(
    host: HostUnderTest, arguments: tuple[str, ...], reason: EndReason, state: str, words: str
) -> None:
    timeouts = {"streamer_connected_seconds": 2.0, "first_frame_seconds": 1.0}
    session = await host.begin(
        *arguments,
        policy=SessionPolicy(streamer_grace_seconds=0.5),
        timeouts=type(QUICK)(**{**QUICK.__dict__, **timeouts}),
    )
    over = await host.until_told(session, state)
    assert over.reason is reason
    assert over.detail is not None
    assert words in over.detail
    assert host.marked(session) == []


async def test_whole_tree_ends_even_when_it_ignores_signals_and_leaves_its_group(host: HostUnderTest) -> None:
    session = await host.begin("--ignore-signals", "--grandchildren")
    await host.until_told(session, "ready")
    await until(lambda: len(host.marked(session)) == 6, "relay, title, two grandchildren and two keepers")
    await host.call("DELETE", f"/control/v1/sessions/{session}?reason=admin_ended")
    over = await host.until_told(session, "ended")
    assert (over.reason, over.exit_code) == (EndReason.ADMIN_ENDED, -signal.SIGKILL)
    assert host.marked(session) == []


async def test_leftovers_of_a_crashed_title_are_ended(host: HostUnderTest) -> None:
    session = await host.begin("--grandchildren", "--exit-after", "1", "--exit-code", "9")
    over = await host.until_told(session, "failed")
    assert over.reason is EndReason.APP_CRASHED
    assert host.marked(session) == []


async def test_crashed_relay_comes_back_on_the_same_ports(host: HostUnderTest, coordinator: FakeCoordinator) -> None:
    session = await host.begin()
    await host.until_told(session, "ready")
    first = host.child(session, "relay")
    title = host.child(session, "title")
    before = host.record(session)
    psutil.Process(first.pid).kill()
    await until((host.data / "sessions" / session / "relay-2" / "ready.json").exists, "second relay")
    after = host.record(session)
    assert after["config"]["listen"] == before["config"]["listen"]
    assert after["config"]["private_port"] != 0
    assert after["config"]["streamer_secret"] == before["config"]["streamer_secret"]
    await host.pretend(session, players=2)
    await host.until_told(session, "streaming")
    assert psutil.Process(title.pid).is_running(), "the title was ended for the relay's fault"


async def test_relay_that_keeps_crashing_ends_the_session(idle_host: HostUnderTest) -> None:
    idle_host.settings["relay"]["restarts"] = 1
    await idle_host.start()
    session = await idle_host.begin()
    await idle_host.until_told(session, "ready")
    await idle_host.pretend(session, exit=5)
    await until((idle_host.data / "sessions" / session / "relay-2" / "ready.json").exists, "restart")
    await idle_host.pretend(session, exit=5)
    over = await idle_host.until_told(session, "failed")
    assert over.reason is EndReason.RELAY_CRASHED
    assert idle_host.marked(session) == []


async def test_relay_decides_the_end(host: HostUnderTest) -> None:
    session = await host.begin()
    await host.until_told(session, "ready")
    await host.pretend(session, end_reason="idle", end_detail="Nobody was active.")
    over = await host.until_told(session, "ended")
    assert (over.reason, over.detail) == (EndReason.IDLE, "Nobody was active.")
    assert host.marked(session) == []


async def test_deaf_relay_is_ended_all_the_same(idle_host: HostUnderTest) -> None:
    idle_host.environment["STUB_RELAY"] = "deaf"
    await idle_host.start()
    session = await idle_host.begin()
    await idle_host.until_told(session, "ready")
    await idle_host.call("DELETE", f"/control/v1/sessions/{session}?reason=owner_ended")
    over = await idle_host.until_told(session, "ended")
    assert over.reason is EndReason.OWNER_ENDED
    assert idle_host.marked(session) == []


async def test_relay_that_never_listens_times_out(idle_host: HostUnderTest) -> None:
    idle_host.environment["STUB_RELAY"] = "never_ready"
    await idle_host.start()
    session = await idle_host.begin(timeouts=type(QUICK)(**{**QUICK.__dict__, "relay_up_seconds": 1.0}))
    over = await idle_host.until_told(session, "failed")
    assert (over.reason, list(over.steps)) == (EndReason.START_TIMEOUT, [])
    assert over.detail is not None
    assert over.detail.startswith("relay_up was not reached")
    assert idle_host.marked(session) == []


async def test_end_during_start_leaves_nothing(host: HostUnderTest) -> None:
    session = await host.begin("--never-connect")
    await host.call("DELETE", f"/control/v1/sessions/{session}?reason=owner_ended")
    over = await host.until_told(session, "ended")
    assert over.reason is EndReason.OWNER_ENDED
    assert StartStep.STREAMER_CONNECTED not in over.steps
    assert host.marked(session) == []


async def test_executables_outside_the_roots_are_refused(host: HostUnderTest) -> None:
    link = host.titles / "innocent"
    link.symlink_to("/bin/sh")
    for executable in ("/bin/sh", str(link), "sh", str(host.titles / "missing"), str(host.titles)):
        start = host.request(executable=executable)
        with pytest.raises(ServiceError) as refused:
            await host.call("PUT", f"/control/v1/sessions/{start.session_id}", start)
        assert refused.value.code == "title_unavailable", executable
    start = host.request(engine="unreal-3.0")
    with pytest.raises(ServiceError) as refused:
        await host.call("PUT", f"/control/v1/sessions/{start.session_id}", start)
    assert refused.value.code == "title_unavailable"
