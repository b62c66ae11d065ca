"""Encrypted packets that wait a few milliseconds for their turn, per player."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from runtime.relay.core.pacing import TokenBucket

from .ice import IcePeer

FLUSH_SECONDS = 0.005
# More than this waiting means that the link does not carry the stream; what is late anyway is better dropped.
MAX_WAITING_BYTES = 1_500_000


class Pacer:
    """One player's bucket and what waits for it. Packets leave in the order in which they came."""

    def __init__(self, ice: IcePeer, rate_bps: float) -> None:
        self.bucket = TokenBucket(rate_bps)
        self.waiting_bytes = 0
        self.delayed = 0
        self._ice = ice
        self._waiting: deque[tuple[bytes, int]] = deque()  # datagrams of one size (the last may be shorter), that size
        self._timer: asyncio.TimerHandle | None = None

    def send(self, data: memoryview, stride: int, count: int) -> int:
        """Send now or soon; returns how many datagrams were taken."""
        path = self._ice.media_path
        if path is None:
            return 0
        if not self._waiting and self.bucket.take(len(data), time.perf_counter()):
            if count == 1:
                return int(path[0].send(data, path[1]))
            return path[0].send_batch(data, stride, count, path[1])
        if self.waiting_bytes + len(data) > MAX_WAITING_BYTES:
            return 0
        self._waiting.append((bytes(data), stride))
        self.waiting_bytes += len(data)
        self.delayed += count
        if self._timer is None:
            self._flush()
        return count

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
        self.waiting_bytes = 0

    def _flush(self) -> None:
        self._timer = None
        path = self._ice.media_path
        if path is None or self._ice.closed:
            self.stop()
            return
        budget = self.bucket.affordable(time.perf_counter())
        while self._waiting:
            data, stride = self._waiting[0]
            count = -(-len(data) // stride)
            affordable = min(count, budget // stride)
            if affordable < 1:
                break
            part = memoryview(data)[: affordable * stride]
            path[0].send_batch(part, stride, affordable, path[1])
            budget -= len(part)
            self.bucket.spend(len(part))
            self.waiting_bytes -= len(part)
            if affordable == count:
                self._waiting.popleft()
            else:
                self._waiting[0] = (data[affordable * stride :], stride)
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)
