"""A bad network link in user space: two TUN devices, and between them delay, loss, and a rate with a short queue.

What ``tc qdisc ... netem`` does, for kernels that are built without it. Run as root with the two device names as
arguments; says ``ready`` when both exist, obeys one JSON object per line on standard input, and takes the devices with
it when its input ends. The devices may be moved into network namespaces meanwhile.

Settings: ``delay_ms`` (each way), ``loss`` (0..1, each way, independent per packet), ``rate_bps`` (each way, 0: none).
A full queue drops its newest packet, as a home router's does.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_PACKET_BYTES = 65_536
_BATCH = 64
_QUEUE_SECONDS = 0.3
_QUEUE_PACKETS = 2000
_FOREVER_MS = 3_600_000


class Direction:
    """One way: packets read from ``source`` leave on ``sink`` when their time has come."""

    def __init__(self, source: int, sink: int, seed: int) -> None:
        self.source, self.sink = source, sink
        self.delay_seconds = self.loss = self.rate_bps = 0.0
        self._chance = random.Random(seed)
        self._due: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._line_free_at = 0.0

    def read(self, now: float) -> None:
        for _ in range(_BATCH):
            try:
                packet = os.read(self.source, _PACKET_BYTES)
            except BlockingIOError:
                return
            self._take(packet, now)

    def _take(self, packet: bytes, now: float) -> None:
        if self._chance.random() < self.loss or len(self._due) >= _QUEUE_PACKETS:
            return
        leaves = now
        if self.rate_bps:
            begins = max(now, self._line_free_at)
            if begins - now > _QUEUE_SECONDS:
                return
            leaves = self._line_free_at = begins + 8 * len(packet) / self.rate_bps
        self._count += 1
        heapq.heappush(self._due, (leaves + self.delay_seconds, self._count, packet))

    def write(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            packet = heapq.heappop(self._due)[2]
            try:
                os.write(self.sink, packet)
            except (BlockingIOError, OSError):
                continue  # the other end is down or full: lost, as on a wire

    def wait_ms(self, now: float) -> float:
        return max(0.0, (self._due[0][0] - now) * 1000) if self._due else _FOREVER_MS


def _open(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def _configure(line: str, both: tuple[Direction, ...]) -> None:
    settings = json.loads(line)
    for direction in both:
        direction.delay_seconds = settings.get("delay_ms", 0.0) / 1000
        direction.loss = settings.get("loss", 0.0)
        direction.rate_bps = settings.get("rate_bps", 0.0)


def main(first: str, second: str) -> None:
    here, there = _open(first), _open(second)
    both = (Direction(here, there, 1), Direction(there, here, 2))
    print("ready", flush=True)
    poller = select.poll()
    control = sys.stdin.fileno()
    for descriptor in (here, there, control):
        poller.register(descriptor, select.POLLIN)
    pending = b""
    while True:
        now = time.monotonic()
        # Rounded up: waiting 0 ms for the next millisecond would spin.
        ready = {descriptor for descriptor, _ in poller.poll(min(d.wait_ms(now) for d in both) + 0.5)}
        now = time.monotonic()
        if control in ready:
            data = os.read(control, 4096)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                _configure(line.decode(), both)
                print("set", flush=True)
        for direction in both:
            if direction.source in ready:
                direction.read(now)
            direction.write(time.monotonic())


if __name__ == "__main__":
    main(*sys.argv[1:3])
