"""The links of the fault tests are as bad as they are told to be, by datagrams counted and timed over them."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from .netns import Network

_ECHO = """
import socket
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("0.0.0.0", 7))
print("up", flush=True)
while True:
    data, address = echo.recvfrom(2048)
    echo.sendto(data, address)
"""
_QUIET_SECONDS = 0.5


@dataclass
class Echoes:
    """Somebody in the namespace who answers every datagram."""

    network: Network
    probe: socket.socket

    def round_trips(self, count: int, *, burst: int = 20, size: int = 100) -> list[float]:
        """Send ``count`` datagrams in bursts; the seconds that those that came back took."""
        seconds = []
        for first in range(0, count, burst):
            for _ in range(first, min(count, first + burst)):
                sent = f"{time.monotonic()} ".encode().ljust(size, b".")
                self.probe.sendto(sent, (self.network.address, 7))
            seconds += self._answers(min(count - first, burst))
        return seconds

    def _answers(self, at_most: int) -> list[float]:
        seconds: list[float] = []
        while len(seconds) < at_most:
            try:
                answer = self.probe.recv(2048)
            except TimeoutError:
                break
            seconds.append(time.monotonic() - float(answer.split()[0]))
        return seconds


@pytest.fixture
def echoes(network: Network) -> Iterator[Echoes]:
    network.quality()
    command = [sys.executable, "-I", "-S", "-c", _ECHO]
    with (
        subprocess.Popen(network.entering(command), stdout=subprocess.PIPE, text=True) as echo,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
    ):
        try:
            assert echo.stdout is not None
            assert echo.stdout.readline() == "up\n"
            probe.bind((network.host, 0))
            probe.settimeout(_QUIET_SECONDS)
            yield Echoes(network, probe)
        finally:
            echo.kill()


def test_a_good_link_loses_nothing(echoes: Echoes) -> None:
    assert len(echoes.round_trips(200)) == 200


def test_delay_holds_for_every_packet(network: Network, echoes: Echoes) -> None:
    network.quality(round_trip_ms=50)
    seconds = echoes.round_trips(100)
    assert len(seconds) == 100
    assert min(seconds) >= 0.05


def test_loss_is_about_what_was_asked_for_in_each_direction(network: Network, echoes: Echoes) -> None:
    network.quality(loss=0.1)
    back = len(echoes.round_trips(500, burst=100))
    # Both ways: 81 % come back; five standard deviations of a fair draw on either side.
    assert 360 <= back <= 450


def test_a_slow_link_takes_what_fits_its_queue_and_drops_the_rest(network: Network, echoes: Echoes) -> None:
    network.quality(rate_bps=500_000)
    back = len(echoes.round_trips(60, burst=60, size=1000))
    # 0.3 s of 500 kbit/s are 18 such packets; the burst is sent in far less time.
    assert 15 <= back <= 30


def test_a_cut_link_is_silent_and_comes_back_with_another_address(network: Network, echoes: Echoes) -> None:
    before = network.address
    network.cut()
    assert echoes.round_trips(5, burst=5) == []
    network.heal(moved=True)
    assert network.address != before
    assert len(echoes.round_trips(20)) == 20
