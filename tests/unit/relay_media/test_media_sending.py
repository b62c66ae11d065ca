"""How a batch is cut for segmented sends, and how sockets fall back."""

from __future__ import annotations

import errno
import socket
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.rtc.batch import runs
from runtime.relay.rtc.segmentation import MAX_BYTES, MAX_SEGMENTS, SegmentedSocket
from runtime.relay.rtc.udp import StrangerLimit, expand_wildcards


@given(st.lists(st.integers(13, 2048), max_size=64), st.sampled_from([10, 16]))
def test_runs_cover_the_batch_and_hold_to_the_kernels_rules(sizes: list[int], tag_bytes: int) -> None:
    found = runs(sizes, tag_bytes)
    assert [i for start, end in found for i in range(start, end)] == list(range(len(sizes)))
    for start, end in found:
        run = sizes[start:end]
        assert len(run) <= MAX_SEGMENTS
        assert sum(run) + tag_bytes * len(run) <= MAX_BYTES + 2064
        assert all(size == run[0] for size in run[:-1])
        assert run[-1] <= run[0]


def test_runs_are_as_long_as_they_can_be() -> None:
    assert runs([1200] * 20 + [700, 1200, 1200, 80], 16) == [(0, 21), (21, 24)]
    assert runs([100, 200, 200], 16) == [(0, 1), (1, 3)]
    assert runs([], 16) == []


@pytest.fixture
def pair() -> object:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        sender.bind(("127.0.0.1", 0))
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(2)
        yield sender, receiver


def batch(count: int, stride: int, last: int) -> memoryview:
    data = b"".join(bytes([i]) * stride for i in range(count - 1)) + bytes([count - 1]) * last
    return memoryview(data)


@pytest.mark.parametrize("mode", ["gso", "option", "none"])
def test_a_batch_arrives_as_single_datagrams_in_every_mode(
    pair: tuple[socket.socket, socket.socket], mode: str
) -> None:
    sender, receiver = pair
    sending = SegmentedSocket(sender, Counter(), mode)
    for stride, last in ((300, 300), (500, 20)):
        assert sending.send_batch(batch(7, stride, last), stride, 7, receiver.getsockname()) == 7
        # A single datagram between two batches must not be cut by what is left of the option.
        assert sending.send(b"x" * 1000, receiver.getsockname())
        got = [receiver.recv(4096) for _ in range(8)]
        assert [len(data) for data in got] == [stride] * 6 + [last, 1000]
        assert [data[0] for data in got[:7]] == list(range(7))
    assert sending.mode == mode


class Refusing:
    """A socket whose segmented sends fail with one error, or whose every send does."""

    def __init__(self, real: socket.socket, code: int, *, always: bool = False) -> None:
        self.real, self.code, self.always = real, code, always

    def sendmsg(self, *arguments: object) -> int:
        raise OSError(self.code, "refused")

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        if self.always:
            raise OSError(self.code, "refused")
        return self.real.sendto(data, address)


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.EMSGSIZE])
def test_a_socket_that_refuses_segmentation_goes_on_without(
    pair: tuple[socket.socket, socket.socket], code: int
) -> None:
    sender, receiver = pair
    counters: Counter[str] = Counter()
    sending = SegmentedSocket(Refusing(sender, code), counters, "gso")  # type: ignore[arg-type]
    assert sending.send_batch(batch(3, 100, 40), 100, 3, receiver.getsockname()) == 3
    assert [len(receiver.recv(4096)) for _ in range(3)] == [100, 100, 40]
    assert sending.mode == "none"
    assert counters == {"segmentation_refused": 1}


class RefusingOption:
    """A socket on a Windows that does not know UDP_SEND_MSG_SIZE, or no longer takes it."""

    def __init__(self, real: socket.socket) -> None:
        self.real, self.refuses = real, True

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if self.refuses:
            raise OSError(errno.ENOPROTOOPT, "An unknown, invalid, or unsupported option was specified")
        self.real.setsockopt(level, option, value)

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        return self.real.sendto(data, address)


def test_a_machine_without_the_option_sends_packet_by_packet(pair: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = pair
    counters: Counter[str] = Counter()
    sending = SegmentedSocket(RefusingOption(sender), counters, "option")  # type: ignore[arg-type]
    assert sending.send_batch(batch(3, 100, 40), 100, 3, receiver.getsockname()) == 3
    assert [len(receiver.recv(4096)) for _ in range(3)] == [100, 100, 40]
    assert (sending.mode, counters) == ("none", {"segmentation_refused": 1})


def test_an_option_that_cannot_be_taken_back_drops_and_counts(pair: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = pair
    counters: Counter[str] = Counter()
    fickle = RefusingOption(sender)
    fickle.refuses = False
    sending = SegmentedSocket(fickle, counters, "option")  # type: ignore[arg-type]
    assert sending.send_batch(batch(2, 100, 40), 100, 2, receiver.getsockname()) == 2
    fickle.refuses = True
    assert not sending.send(b"x" * 1000, receiver.getsockname())
    assert counters == {"send_ENOPROTOOPT": 1}


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EPERM, errno.ENETUNREACH])
def test_a_full_or_closed_path_drops_and_counts(pair: tuple[socket.socket, socket.socket], code: int) -> None:
    sender, receiver = pair
    counters: Counter[str] = Counter()
    sending = SegmentedSocket(Refusing(sender, code, always=True), counters, "gso")  # type: ignore[arg-type]
    assert sending.send_batch(batch(3, 100, 40), 100, 3, receiver.getsockname()) == 0
    assert not sending.send(b"x", receiver.getsockname())
    assert sending.mode == "gso"
    assert counters == {"send_" + errno.errorcode[code]: 2}


def test_strangers_are_limited_per_host_and_together() -> None:
    limit = StrangerLimit(per_host=3, total=5)
    assert [limit.allow("a") for _ in range(4)] == [True, True, True, False]
    assert [limit.allow("b") for _ in range(2)] == [True, False]
    limit.next_window()
    assert limit.allow("a")


def test_wildcards_become_the_machines_addresses() -> None:
    assert expand_wildcards(["192.0.2.1", "192.0.2.1", "::1"]) == ["192.0.2.1", "::1"]
    expanded = expand_wildcards(["0.0.0.0"])
    assert "127.0.0.1" in expanded
    assert "0.0.0.0" not in expanded
    assert expanded[0] != "127.0.0.1" or expanded == ["127.0.0.1"]
