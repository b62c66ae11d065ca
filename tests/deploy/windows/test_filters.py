"""Filters of Windows hosts: cards, command lines, findings, status."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.deploy.running import load_plugin
from tests.lab.winsim.paths import split_command_line

NOW = 1_790_000_000.0
FACTS = {
    "kernel": "10.0.20348.0",
    "architecture": "64-bit",
    "distribution": "Windows Server 2022",
    "date_time": {"iso8601": "2026-09-21T14:13:20Z"},
}
LOOK: dict[str, Any] = {
    "disks": [{"partitions": [{"drive_letter": "C", "volumes": [{"size_remaining": 9_000_000_000}]}]}],
    "listeners": [],
    "lowest_build": 17763,
    "disk_free_bytes": 3_000_000_000,
    "clock_difference_seconds": 5.0,
    "asked_seconds": NOW - 40,
    "answered_seconds": NOW + 1,
    "round_trip_seconds": 5.0,
}


@pytest.fixture(scope="module")
def hosts() -> ModuleType:
    return load_plugin("playbooks/filter_plugins/windows_hosts.py")


@pytest.fixture(scope="module")
def lines() -> ModuleType:
    return load_plugin("playbooks/filter_plugins/windows_command_line.py")


@pytest.fixture(scope="module")
def cards() -> ModuleType:
    return load_plugin("roles/gpu_driver/filter_plugins/gpus.py")


def test_cards_as_nvidia_smi_tells_them(cards: ModuleType) -> None:
    told = [
        "0, NVIDIA GeForce RTX 4090, 24564, 573.42",
        "1, NVIDIA RTX A4000, 16376, 573.42",
        "No devices were found",
        "",
    ]
    limits = [{"name": "GeForce|TITAN", "sessions": 8}, {"name": ".*", "sessions": 0}]
    found = cards.gpus(told, limits)
    assert [(card["index"], card["encoder_sessions"]) for card in found] == [(0, 8), (1, 0)]
    assert found[1]["memory_total_bytes"] == 16376 * 1024 * 1024
    assert cards.gpus(["NVIDIA-SMI has failed because it couldn't communicate, with, the, driver"], limits) == []


def test_the_registry_keeps_what_a_deployment_saw_of_the_cards() -> None:
    registry_gpus = load_plugin("playbooks/filter_plugins/registry_gpus.py").registry_gpus
    inventory = [{"index": 0, "slots": 2}, {"index": 1, "vram_bytes": 5}]
    seen = [{"index": 0, "name": "RTX A4000", "memory_total_bytes": 16, "encoder_sessions": 0}]
    deployed = {
        "0": {"slots": 2, "name": "RTX A4000", "vram_bytes": 16, "encoder_sessions": 0},
        "1": {"slots": 1, "name": "", "vram_bytes": 5, "encoder_sessions": 0},
    }
    assert registry_gpus(inventory, seen, {}) == deployed
    assert registry_gpus(inventory, None, deployed) == deployed, "a run that does not look forgets nothing"
    assert registry_gpus(inventory[:1], [], deployed)["0"] == {
        "slots": 2,
        "name": "",
        "vram_bytes": 0,
        "encoder_sessions": 0,
    }
    assert registry_gpus([{"index": 3, "slots": 4}], None, {}) == {"3": {"slots": 4}}


@pytest.mark.parametrize("word", ["plain", "two words", "", 'q"q', "C:\\end\\", "C:\\end space\\", '\\\\"', "Größe"])
def test_arguments_are_read_back(lines: ModuleType, word: str) -> None:
    quoted = lines.windows_argument(word)
    assert split_command_line(f"x.exe {quoted} last") == ["x.exe", word, "last"]


def test_slashes(lines: ModuleType) -> None:
    assert lines.forward_slashes("C:\\ProgramData\\x") == "C:/ProgramData/x"


def test_a_host_in_order_has_no_findings(hosts: ModuleType) -> None:
    assert hosts.findings(FACTS, {}, LOOK) == []


@pytest.mark.parametrize(
    ("facts", "host", "look", "message"),
    [
        ({"kernel": "10.0.14393.0"}, {}, {}, "64-bit Windows 10 1809"),
        ({"architecture": "32-bit"}, {}, {}, "64-bit Windows 10 1809"),
        ({}, {}, {"disk_free_bytes": 10_000_000_000}, "9.0 GB free"),
        ({}, {}, {"disks": []}, "0.0 GB free"),
        ({}, {}, {"asked_seconds": NOW + 60, "answered_seconds": NOW + 99}, "its clock is 60 s from"),
        ({}, {}, {"asked_seconds": NOW - 99, "answered_seconds": NOW - 60}, "its clock is 60 s from"),
        ({}, {}, {"listeners": [{"port": 8750, "name": "other"}]}, "8750 is taken by other"),
        ({}, {"edge_mode": "direct"}, {"listeners": [{"port": 443, "name": "System"}]}, "IIS"),
    ],
)
def test_findings_name_their_fix(
    hosts: ModuleType, facts: dict[str, Any], host: dict[str, Any], look: dict[str, Any], message: str
) -> None:
    found = hosts.findings(FACTS | facts, host, LOOK | look)
    assert len(found) == 1
    assert message in found[0]


def test_ports_that_do_not_matter_are_no_findings(hosts: ModuleType) -> None:
    listeners = [{"port": 443, "name": "System"}, {"port": 8750, "name": "python.exe"}]
    assert hosts.findings(FACTS, {"edge_mode": "central"}, LOOK | {"listeners": listeners}) == []


def test_units_as_status_shows_them(hosts: ModuleType) -> None:
    assert hosts.units([["a", "running"], ["b", "stopped"]]) == [
        {"unit": "a", "state": "active"},
        {"unit": "b", "state": "stopped"},
    ]
