"""Every event reaches the coordinator, in order per session, through refusals, silence and restarts of either side."""

from __future__ import annotations

import signal

import pytest

from runtime.chassis.clock import ManualClock, SystemClock
from runtime.protocol.control import EndTime
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason
from tests.support.session_server.coordinator import FakeCoordinator
from tests.support.session_server.host import HostUnderTest
from tests.support.waiting import until


def refuse(path: str) -> None:
    raise ServiceError("database_unavailable")


async def test_events_wait_out_an_outage_and_a_restart(host: HostUnderTest, coordinator: FakeCoordinator) -> None:
    await coordinator.close()
    sessions = [await host.begin("--exit-after", "0.3") for _ in range(2)]
    for session in sessions:
        await eventually_state(host, session, "ended")
    await host.stop(signal.SIGKILL)
    await host.start()
    coordinator.gate = refuse
    await coordinator.start()
    await coordinator.until(lambda: True, "the coordinator to be back")
    coordinator.gate = lambda path: None
    for session in sessions:
        assert (await host.until_told(session, "ended", 60)).reason is EndReason.APP_EXITED
        sequences = [event.sequence for event in coordinator.of(session)]
        assert sequences == list(range(1, len(sequences) + 1))


async def test_lost_answer_makes_no_second_event(host: HostUnderTest, coordinator: FakeCoordinator) -> None:
    """The coordinator applied the event, but its answer never came: it is offered again, and applied once."""
    losses = 3

    def lose() -> None:
        nonlocal losses
        losses -= 1
        if losses >= 0:
            raise ServiceError("database_unavailable")

    coordinator.answers = lose
    session = await host.begin("--exit-after", "0.3")
    await host.until_told(session, "ended")
    await coordinator.until(lambda: max(coordinator.offered.values()) > 1, "an event offered twice", 30)
    sequences = [event.sequence for event in coordinator.of(session)]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_one_session_that_is_not_taken_holds_back_only_itself(
    host: HostUnderTest, coordinator: FakeCoordinator
) -> None:
    stuck = await host.begin()
    await host.until_told(stuck, "ready")
    coordinator.takes = lambda event: event.report.session_id != stuck
    before = len(coordinator.of(stuck))
    await host.call("DELETE", f"/control/v1/sessions/{stuck}?reason=idle")
    await eventually_state(host, stuck, "ended")
    other = await host.begin("--exit-after", "0.3")
    await host.until_told(other, "ended")
    assert len(coordinator.of(stuck)) == before
    # An end that is not delivered yet is still named by heartbeats, with its reason.
    seen = len(coordinator.heartbeats)
    await coordinator.until(lambda: len(coordinator.heartbeats) > seen + 1, "a heartbeat")
    (report,) = (r for r in coordinator.heartbeats[-1].sessions if r.session_id == stuck)
    assert (report.state, report.reason) == ("ended", EndReason.IDLE)
    assert coordinator.heartbeats[-1].events_waiting > 0
    coordinator.takes = lambda event: True
    await host.until_told(stuck, "ended", 30)
    seen = len(coordinator.heartbeats)
    await coordinator.until(lambda: len(coordinator.heartbeats) > seen + 1, "a heartbeat")
    assert coordinator.heartbeats[-1].sessions == ()


async def test_heartbeat_brings_the_coordinators_wishes(host: HostUnderTest, coordinator: FakeCoordinator) -> None:
    session = await host.begin()
    await host.until_told(session, "ready")
    await coordinator.until(lambda: any(beat.sessions for beat in coordinator.heartbeats), "a heartbeat with it")
    beat = coordinator.heartbeats[-1]
    assert (beat.host, beat.capacity, beat.draining) == ("gpu1", 2, False)
    assert beat.memory_total_bytes > beat.memory_available_bytes > 0
    assert beat.disk_free_bytes > 0
    (report,) = beat.sessions
    assert report.memory_bytes is not None
    assert report.memory_bytes > 10_000_000, "relay and title together"
    coordinator.desired_state = "draining"
    await coordinator.until(lambda: coordinator.heartbeats[-1].draining, "draining")
    start = host.request()
    with pytest.raises(ServiceError) as refused:
        await host.call("PUT", f"/control/v1/sessions/{start.session_id}", start)
    assert refused.value.code == "draining"
    assert (await host.report(session)).state == "ready", "draining must not end what runs"
    coordinator.end_times = {session: EndTime(ends_ms=123, seconds_left=3600)}
    await coordinator.until(lambda: [s.ends_ms for s in coordinator.heartbeats[-1].sessions] == [123], "the end")
    coordinator.end_times = {}
    coordinator.end_sessions = {session: EndReason.DRAINED}
    assert (await host.until_told(session, "ended")).reason is EndReason.DRAINED
    coordinator.desired_state = "serving"
    await coordinator.until(lambda: not coordinator.heartbeats[-1].draining, "serving")
    await host.begin()


@pytest.mark.parametrize("skew_seconds", [-7200, 7200])
async def test_wrong_clock_of_a_host_is_tolerated(
    idle_host: HostUnderTest, coordinator: FakeCoordinator, skew_seconds: int
) -> None:
    coordinator.use_clock(ManualClock(epoch_ms=SystemClock().now_ms() + skew_seconds * 1000))
    await idle_host.start()
    await coordinator.until(lambda: len(coordinator.heartbeats) > 1, "heartbeats in spite of the clock")
    # The other direction too: what the coordinator signs by its clock is taken.
    idle_host.use_clock(coordinator.clock)
    session = await idle_host.begin("--exit-after", "0.3")
    await idle_host.until_told(session, "ended")


async def eventually_state(host: HostUnderTest, session: str, state: str) -> None:
    """Asks the host itself, for when no coordinator listens."""

    async def reached() -> bool:
        return (await host.report(session)).state == state

    await until(reached, state)
