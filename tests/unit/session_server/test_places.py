from __future__ import annotations

import pytest

from runtime.session_server.policy.crash_places import crash_patterns
from runtime.session_server.policy.places import choose_gpu, port_order


def test_ports_go_round_the_range() -> None:
    assert port_order(10, 13, ()) == (10, 11, 12, 13)
    assert port_order(10, 13, (), after=11) == (12, 13, 10, 11)
    assert port_order(10, 13, {12}, after=11) == (13, 10, 11)
    assert port_order(10, 13, (), after=13) == (10, 11, 12, 13)
    assert port_order(10, 13, (), after=99) == (10, 11, 12, 13), "the range was changed since"
    assert port_order(10, 10, {10}) == ()


@pytest.mark.parametrize(
    ("slots", "used", "chosen"),
    [
        ({}, {}, None),
        ({0: 1}, {0: 1}, None),
        ({0: 2, 1: 2}, {}, 0),
        ({0: 2, 1: 2}, {0: 1}, 1),
        ({0: 4, 1: 1}, {0: 1}, 1),
        ({0: 4, 1: 1}, {0: 1, 1: 1}, 0),
        ({0: 1, 1: 1}, {0: 3}, 1),
    ],
)
def test_gpu_with_the_largest_free_share(slots: dict[int, int], used: dict[int, int], chosen: int | None) -> None:
    assert choose_gpu(slots, used) == chosen


def test_unreals_crash_folders() -> None:
    windows = crash_patterns(r"C:\Titles\Hall\Hall\Binaries\Win64\Hall-Win64-Shipping.exe", {"LOCALAPPDATA": r"C:\L"})
    assert (r"C:\Titles\Hall\Hall", "Saved/Crashes/**/*") in windows
    assert (r"C:\L", "Hall/Saved/Crashes/**/*") in windows
    starter = crash_patterns("/srv/hall/Hall.sh", {"HOME": "/home/u"})
    assert ("/srv/hall", "*/Saved/Crashes/**/*") in starter
    assert ("/home/u", ".config/Epic/Hall/Saved/Logs/*") in starter
