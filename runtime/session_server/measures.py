"""Prometheus metrics of a session server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runtime.chassis.metrics import new_registry
from runtime.protocol.states import HOLDING_SESSION_STATES

if TYPE_CHECKING:
    from .registry import SessionRegistry


class _SessionCollector(Collector):
    """Read from the sessions at scrape time, so that nothing can drift."""

    def __init__(self, registry: SessionRegistry, capacity: int) -> None:
        self._registry, self._capacity = registry, capacity

    def collect(self) -> Iterator[Metric]:
        reports = self._registry.live_reports()
        sessions = GaugeMetricFamily("pixelstream_host_sessions", "Sessions on this host by state.", labels=["state"])
        for state in sorted(HOLDING_SESSION_STATES):
            sessions.add_metric([state], sum(report.state is state for report in reports))
        yield sessions
        yield GaugeMetricFamily("pixelstream_host_capacity", "Sessions this host may run.", value=self._capacity)
        yield GaugeMetricFamily(
            "pixelstream_host_draining", "1 while the host takes no new sessions.", value=float(self._registry.draining)
        )
        yield GaugeMetricFamily(
            "pixelstream_host_participants",
            "People in this host's sessions.",
            value=sum(report.participants for report in reports),
        )
        yield GaugeMetricFamily(
            "pixelstream_host_session_memory_bytes",
            "Memory of all sessions' processes.",
            value=sum(report.memory_bytes or 0 for report in reports),
        )


def session_metrics(registry: SessionRegistry, capacity: int) -> CollectorRegistry:
    metrics = new_registry()
    metrics.register(_SessionCollector(registry, capacity))
    return metrics
