"""Figures for Prometheus. Every label value is known beforehand, so that a series never appears out of nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from runtime.chassis.clock import Clock
from runtime.protocol.states import EndReason, HostState, SessionState, StartStep

from .domain.model import Session
from .fleet import Fleet
from .live import Hub
from .scheduler import host_state
from .store.connection import Connection

_FINAL = (SessionState.ENDED, SessionState.FAILED)
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SLOW = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
_LONG = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


class Measures:
    """Counters and histograms; :class:`FleetCollector` has the gauges."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ended = Counter(
            "pixelstream_sessions_ended", "Sessions that ended, by reason.", ["reason"], registry=registry
        )
        self.created = Counter("pixelstream_sessions_created", "Sessions that were asked for.", registry=registry)
        self.queue_wait = Histogram(
            "pixelstream_queue_wait_seconds", "Time in the queue until a place.", buckets=_LONG, registry=registry
        )
        self.placement = Histogram(
            "pixelstream_placement_seconds",
            "Choosing a host and claiming its slot in the database.",
            buckets=_FAST,
            registry=registry,
        )
        self.start = Histogram(
            "pixelstream_start_seconds",
            "From the lease until each step of a start.",
            ["step"],
            buckets=_SLOW,
            registry=registry,
        )
        self.request = Histogram(
            "pixelstream_request_seconds",
            "Answering a request; event streams are not counted.",
            ["handler", "method", "status"],
            buckets=_FAST,
            registry=registry,
        )
        for reason in EndReason:
            self.ended.labels(reason)
        for step in StartStep:
            if step is not StartStep.LEASED:
                self.start.labels(step)

    def observe(self, before: Session | None, after: Session) -> None:
        """An observer of ``Lifecycle``."""
        if before is None:
            self.created.inc()
        if after.is_final and (before is None or not before.is_final) and after.reason is not None:
            self.ended.labels(after.reason).inc()
        if before is None:
            return
        queued = after.times.get(SessionState.QUEUED)
        if before.state is SessionState.QUEUED and after.state is SessionState.LEASED and queued is not None:
            self.queue_wait.observe((after.times[SessionState.LEASED] - queued) / 1000)
        leased = after.steps.get(StartStep.LEASED)
        for step in after.steps.keys() - before.steps.keys() - {StartStep.LEASED}:
            if leased is not None:
                # Clocks of two machines: never below zero.
                self.start.labels(step).observe(max(0, after.steps[step] - leased) / 1000)


class FleetCollector(Collector):
    """Gauges, read from the view when asked."""

    def __init__(self, fleet: Fleet, hub: Hub, connection: Connection, clock: Clock) -> None:
        self._fleet, self._hub, self._connection, self._clock = fleet, hub, connection, clock

    def collect(self) -> Iterator[GaugeMetricFamily]:
        fleet, now = self._fleet, self._clock.now_ms()
        sessions = dict.fromkeys((s for s in SessionState if s not in _FINAL), 0)
        for session in fleet.live():
            sessions[session.state] += 1
        yield _family("pixelstream_sessions", "Live sessions by state.", "state", sessions)
        hosts = dict.fromkeys(HostState, 0)
        slots = {"free": 0, "used": 0, "stranger": 0}
        for load in fleet.loads():
            state = host_state(load, now)
            hosts[state] += 1
            if state is not HostState.OFFLINE:
                slots["free"] += load.free
                slots["used"] += len(load.used)
                slots["stranger"] += load.strangers
        yield _family("pixelstream_hosts", "Hosts by state.", "state", hosts)
        yield _family("pixelstream_slots", "Slots of hosts that are online.", "use", slots)
        yield GaugeMetricFamily(
            "pixelstream_queue_length", "Sessions waiting for a place.", value=sessions[SessionState.QUEUED]
        )
        yield GaugeMetricFamily("pixelstream_event_streams", "Open live streams.", value=self._hub.total)
        yield GaugeMetricFamily(
            "pixelstream_database_available",
            "1 when the database answered the last operation.",
            value=int(self._connection.available),
        )


def _family(name: str, text: str, label: str, values: Mapping[Any, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([str(value)], count)
    return family
