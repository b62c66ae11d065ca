"""Sessions outlive their session server: its restart, its crash, and what happened in between."""

from __future__ import annotations

import json
import os
import shutil
import signal

import psutil
import pytest

from runtime.protocol.control import EndTime, SessionReport
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason
from tests.support.session_server.coordinator import FakeCoordinator
from tests.support.session_server.host import HostUnderTest
from tests.support.waiting import until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_running_session_is_adopted(host: HostUnderTest, coordinator: FakeCoordinator, number: int) -> None:
    session = await host.begin("--grandchildren")
    await host.until_told(session, "ready")
    before = {process.pid for process in host.marked(session)}
    assert len(before) == 6
    await host.stop(number)
    assert {process.pid for process in host.marked(session)} == before, "the restart touched the session"
    await host.start()
    assert {process.pid for process in host.marked(session)} == before
    # It is not only listed: changes are seen again, and it can be ended.
    await host.pretend(session, players=3, participants=2)
    streaming = await host.until_told(session, "streaming")
    assert streaming.participants == 2
    await host.call("DELETE", f"/control/v1/sessions/{session}?reason=owner_ended")
    ended = await host.until_told(session, "ended")
    assert (ended.reason, ended.exit_code) == (EndReason.OWNER_ENDED, 0)
    assert host.marked(session) == []
    assert [event.sequence for event in coordinator.of(session)] == list(range(1, len(coordinator.of(session)) + 1))


@pytest.mark.parametrize(("code", "reason"), [(0, EndReason.APP_EXITED), (7, EndReason.APP_CRASHED)])
async def test_title_that_ended_while_nobody_watched_is_reported_with_its_code(
    host: HostUnderTest, code: int, reason: EndReason
) -> None:
    session = await host.begin("--exit-after", "2", "--exit-code", str(code))
    await host.until_told(session, "ready")
    await host.stop(signal.SIGKILL)
    title = host.child(session, "title").pid
    await until(lambda: not psutil.pid_exists(title), "the title's end")
    await host.start()
    over = await host.until_told(session, "ended" if code == 0 else "failed")
    assert (over.reason, over.exit_code) == (reason, code)
    assert host.marked(session) == []


async def test_reason_of_a_relay_that_ended_while_nobody_watched(host: HostUnderTest) -> None:
    session = await host.begin()
    await host.until_told(session, "ready")
    await host.stop(signal.SIGKILL)
    await host.pretend(session, end_reason="idle", exit=0)
    relay = host.child(session, "relay").pid
    await until(lambda: not psutil.pid_exists(relay), "the relay's end")
    await host.start()
    over = await host.until_told(session, "ended")
    assert over.reason is EndReason.IDLE
    assert host.marked(session) == []


async def test_relay_that_crashed_while_nobody_watched_is_started_again(host: HostUnderTest) -> None:
    session = await host.begin()
    await host.until_told(session, "ready")
    await host.stop(signal.SIGKILL)
    psutil.Process(host.child(session, "relay").pid).kill()
    await host.start()
    await until((host.data / "sessions" / session / "relay-2" / "ready.json").exists, "second relay")
    await host.pretend(session, players=1)
    await host.until_told(session, "streaming")


async def test_start_goes_on_where_a_crash_left_it(host: HostUnderTest) -> None:
    session = await host.begin()
    # At an arbitrary point of the start; the journal has at least the claim.
    await host.stop(signal.SIGKILL)
    await host.start()
    ready = await host.until_told(session, "ready")
    assert len(ready.steps) == 4
    parts = sorted(process.environ()["PIXELSTREAM_MARK"].rpartition(".")[2] for process in host.marked(session))
    assert parts == ["relay", "relay", "title", "title"], "something was started twice"


async def test_killed_keepers_leave_no_orphan(host: HostUnderTest) -> None:
    session = await host.begin("--grandchildren", "--ignore-signals")
    await host.until_told(session, "ready")
    psutil.Process(host.child(session, "title").keeper_pid).kill()
    over = await host.until_told(session, "failed")
    assert over.reason is EndReason.APP_CRASHED
    assert host.marked(session) == []


async def test_keepers_end_their_trees_at_a_shutdown_of_the_machine(host: HostUnderTest) -> None:
    session = await host.begin("--grandchildren", "--ignore-signals")
    await host.until_told(session, "ready")
    keepers = [host.child(session, part).keeper_pid for part in ("title", "relay")]
    await host.stop(signal.SIGKILL)
    for keeper in keepers:
        os.kill(keeper, signal.SIGTERM)
    await until(lambda: not host.marked(session), "the end of both trees")


async def test_orphans_are_killed_at_start_when_the_journal_does_not_know_them(host: HostUnderTest) -> None:
    session = await host.begin("--grandchildren", "--ignore-signals")
    await host.until_told(session, "ready")
    await host.stop(signal.SIGKILL)
    os.kill(host.child(session, "title").keeper_pid, signal.SIGKILL)
    os.kill(host.child(session, "relay").keeper_pid, signal.SIGKILL)
    await until(lambda: len(host.marked(session)) == 2, "only the two grandchildren to be left")
    await host.start()
    over = await host.until_told(session, "failed")
    assert over.reason is EndReason.APP_CRASHED
    assert host.marked(session) == []


@pytest.mark.parametrize("lost", ["journal", "data directory"])
async def test_what_runs_is_killed_when_the_data_that_knew_of_it_are_lost(host: HostUnderTest, lost: str) -> None:
    session = await host.begin("--grandchildren", "--ignore-signals")
    await host.until_told(session, "ready")
    await host.stop(signal.SIGKILL)
    assert host.marked(session)
    if lost == "journal":
        for path in host.data.glob("journal.sqlite*"):
            path.write_bytes(b"damaged " * 1000)
    else:
        shutil.rmtree(host.data)
    await host.start()
    await until(lambda: not host.marked(session), "nothing of the session is left", seconds=5)


async def test_processes_of_before_a_reboot_are_not_adopted(host: HostUnderTest) -> None:
    session = await host.begin()
    await host.until_told(session, "ready")
    await host.stop(signal.SIGKILL)
    for process in host.marked(session):
        process.kill()
    host.forge(session, boot_id="another")
    await host.start()
    over = await host.until_told(session, "failed")
    assert over.reason is EndReason.HOST_LOST
    assert over.detail is not None
    assert "started again" in over.detail


@pytest.mark.parametrize(
    "noted", [None, {"pid": 2**22 - 1, "started": "x/1", "keeper_pid": 2**22 - 2, "keeper_started": "x/2"}]
)
async def test_relay_that_was_started_but_never_noted_makes_room(
    host: HostUnderTest, noted: dict[str, object] | None
) -> None:
    """The session server died just after starting a relay: the journal knows none, or only the one before."""
    session = await host.begin()
    await host.until_told(session, "ready")
    unknown = host.child(session, "relay")
    await host.stop(signal.SIGKILL)
    host.forge(session, relay=noted and {"mark": unknown.mark, "directory": str(host.directory), **noted})
    await host.start()
    await until((host.data / "sessions" / session / "relay-2" / "ready.json").exists, "a relay that is noted")
    assert unknown.pid not in {process.pid for process in host.marked(session)}
    await host.pretend(session, players=1)
    await host.until_told(session, "streaming")


async def test_end_is_finished_by_the_next_session_server(host: HostUnderTest) -> None:
    session = await host.begin("--ignore-signals")
    await host.until_told(session, "ready")
    await host.call("DELETE", f"/control/v1/sessions/{session}?reason=booking_over")
    await host.until_told(session, "stopping")
    await host.stop(signal.SIGKILL)
    await host.start()
    over = await host.until_told(session, "ended")
    assert over.reason is EndReason.BOOKING_OVER
    assert host.marked(session) == []


async def test_second_session_server_on_the_same_data_refuses_to_start(host: HostUnderTest) -> None:
    process, host.process = host.process, None
    with pytest.raises(AssertionError, match="Is another session server using this data_directory"):
        await host.start()
    host.process = process


async def test_end_sessions_option_ends_what_was_left(host: HostUnderTest, coordinator: FakeCoordinator) -> None:
    session = await host.begin("--grandchildren")
    await host.until_told(session, "ready")
    await host.stop(signal.SIGKILL)
    await host.run_once("--end-sessions")
    assert host.marked(session) == []
    await host.start()
    assert (await host.until_told(session, "ended")).reason is EndReason.DRAINED


async def test_sessions_end_with_the_service_when_configured(
    idle_host: HostUnderTest, coordinator: FakeCoordinator
) -> None:
    idle_host.settings["end_sessions_on_stop"] = True
    await idle_host.start()
    session = await idle_host.begin()
    await idle_host.until_told(session, "ready")
    assert await idle_host.stop() == 0
    assert idle_host.marked(session) == []
    # Told before it stopped, not by its next start.
    assert coordinator.of(session)[-1].report.reason is EndReason.DRAINED


async def test_a_relay_that_is_started_again_is_told_when_its_session_ends(host: HostUnderTest) -> None:
    """Also by the next session server: counting from the beginning again would make the session longer."""
    session = await host.begin()
    await host.until_told(session, "ready")
    path = f"/control/v1/sessions/{session}/end-time"
    report = (await host.call("PUT", path, EndTime(ends_ms=456, seconds_left=1000))).as_(SessionReport)
    assert report.ends_ms == 456

    def told(number: int) -> float:
        place = host.data / "sessions" / session / f"relay-{number}" / "end-time.json"
        return float(json.loads(place.read_text())["seconds_left"]) if place.exists() else 0.0

    assert told(1) == 1000
    await host.stop(signal.SIGKILL)
    psutil.Process(host.child(session, "relay").pid).kill()
    await host.start()
    await until(lambda: told(2) > 0, "the second relay knows the end")
    assert 800 < told(2) < 1000
    assert (await host.report(session)).ends_ms == 456
    await host.call("DELETE", f"/control/v1/sessions/{session}?reason=owner_ended")
    await host.until_told(session, "ended")
    with pytest.raises(ServiceError) as refused:
        await host.call("PUT", path, EndTime(ends_ms=789, seconds_left=1000))
    assert refused.value.code == "session_ended"
