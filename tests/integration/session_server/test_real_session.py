"""The real relay and the sample title under a real session server; only the coordinator is played."""

from __future__ import annotations

import psutil
import pytest

from runtime.protocol.control import SessionStatistics
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason
from runtime.session_server.files import SAMPLE_TITLE
from tests.support.session_server.coordinator import FakeCoordinator
from tests.support.session_server.host import HostUnderTest, eventually


@pytest.fixture
async def real_host(idle_host: HostUnderTest) -> HostUnderTest:
    del idle_host.settings["relay"]["command"]
    await idle_host.start()
    return idle_host


async def test_sample_title_streams_and_ends(real_host: HostUnderTest, coordinator: FakeCoordinator) -> None:
    session = await real_host.begin("--size", "640x360", "--fps", "15", executable=SAMPLE_TITLE)
    ready = await real_host.until_told(session, "ready", 40)
    assert len(ready.steps) == 4

    async def flows() -> bool:
        told = (await real_host.call("GET", f"/control/v1/sessions/{session}/statistics")).as_(SessionStatistics)
        return told.stream is not None and told.stream.fps > 0 and told.players == ()

    await eventually(flows, "the stream in the statistics", 30)
    await real_host.call("DELETE", f"/control/v1/sessions/{session}?reason=owner_ended")
    ended = await real_host.until_told(session, "ended")
    assert (ended.reason, ended.exit_code) == (EndReason.OWNER_ENDED, 0)
    assert real_host.marked(session) == []
    with pytest.raises(ServiceError) as over:
        await real_host.call("GET", f"/control/v1/sessions/{session}/statistics")
    assert over.value.code == "session_ended"


async def test_sample_title_finds_a_relay_that_was_started_again(real_host: HostUnderTest) -> None:
    session = await real_host.begin("--size", "640x360", "--fps", "15", executable=SAMPLE_TITLE)
    await real_host.until_told(session, "ready", 40)
    title = real_host.child(session, "title").pid
    psutil.Process(real_host.child(session, "relay").pid).kill()
    second = real_host.data / "sessions" / session / "relay-2"
    await eventually((second / "ready.json").exists, "second relay")

    async def live() -> bool:
        return (await real_host.relay_status(session))["streamer"] == "live"

    await eventually(live, "the title to stream through the second relay", 30)
    assert psutil.Process(title).is_running()
    assert (await real_host.report(session)).state == "ready"


async def test_misbehaving_title_ends_with_its_reason(real_host: HostUnderTest) -> None:
    session = await real_host.begin(
        "--size", "640x360", "--fps", "15", "--crash-after", "3", "--spawn-child", executable=SAMPLE_TITLE
    )
    over = await real_host.until_told(session, "failed", 40)
    assert (over.reason, over.exit_code) == (EndReason.APP_CRASHED, 70)
    assert real_host.marked(session) == []
