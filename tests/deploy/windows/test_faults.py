"""Faults on the way to a streaming host: each ends with a message that helps, and the next run completes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.simulated import PlayResult, SimulatedHost

pytestmark = pytest.mark.timeout(300)


def base_variables(shared: Path) -> dict[str, Any]:
    sums = json.loads((shared / "mirror/sums.json").read_text())
    return {
        "windows_base_mirror": str(shared / "mirror"),
        "windows_base_cache": str(shared / "cache"),
        "windows_base_python_sha256": sums["python-3.12.10-amd64.exe"],
        "windows_base_vc_sha256": sums["VC_redist.x64.exe"],
        "windows_base_directx_sha256": sums["directx_Jun2010_redist.exe"],
        "windows_base_shawl_sha256": sums["shawl-v1.9.0-win64.zip"],
    }


@pytest.fixture
def prepared(host: SimulatedHost, shared: Path) -> SimulatedHost:
    host.variables |= base_variables(shared)
    return host


def deploy(host: SimulatedHost, *options: str) -> PlayResult:
    return host.play([], *options, roles=["windows_base"])


def test_a_failing_installer_names_the_fix_and_the_next_run_goes_on(prepared: SimulatedHost) -> None:
    prepared.variables["windows_base_page_file_megabytes"] = 16384
    prepared.write("power_plans.json", ["381b4222-f694-41f0-9685-ff5bb260df2e"])
    prepared.write("installers.json", {"vc_redist*": 1603})
    done = deploy(prepared)
    assert done.code == 2
    assert "vc_redist.x64.exe could not be installed" in done.output
    assert "Exit code 1603" in done.output
    assert "run the playbook again" in " ".join(done.output.split())
    assert prepared.state().section("packages") == {}
    prepared.write("installers.json", {})
    done = deploy(prepared)
    assert done.code == 0, done.output
    settings = prepared.state().section("settings")
    assert settings["pagefile"] == {"automatic": False, "files": {"C": {"initial": 16384, "maximum": 16384}}}
    assert settings["power_plan"] == "8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c", "made anew where it is missing"
    assert (done := deploy(prepared)).changed() == 0, done.output


def test_a_pending_restart_is_carried_out_before_there_are_sessions(prepared: SimulatedHost) -> None:
    prepared.write("installers.json", {"vc_redist*": 3010})
    done = deploy(prepared)
    assert done.code == 0, done.output
    assert prepared.state().document["boot"] == 2
    assert prepared.state().document["reboot_pending"] is False


def test_a_pending_restart_waits_where_sessions_may_run(prepared: SimulatedHost) -> None:
    service = {"name": "PixelstreamSessionServer", "path": "C:\\Windows\\System32\\svchost.exe", "start_mode": "manual"}
    assert prepared.play([{"ansible.windows.win_service": service}]).code == 0
    prepared.write("installers.json", {"vc_redist*": 3010})
    done = deploy(prepared)
    assert done.code == 0, done.output
    assert "waits for a restart, which would end its sessions" in " ".join(done.output.split())
    assert prepared.state().document["boot"] == 1


def test_a_connection_lost_in_the_middle_is_taken_up_again(prepared: SimulatedHost) -> None:
    prepared.write(
        "faults.json", [{"match": "win_package", "mode": "drop"}, {"match": "win_pagefile", "mode": "timeout"}]
    )
    assert deploy(prepared).code == 2
    assert {call["mode"] for call in prepared.calls() if call["kind"] == "fault"} >= {"timeout"}
    done = deploy(prepared)
    assert done.code == 0, done.output


def test_a_wrong_checksum_is_found_before_anything_reaches_the_host(prepared: SimulatedHost) -> None:
    prepared.variables["windows_base_python_sha256"] = "0" * 64
    done = deploy(prepared)
    assert done.code == 2
    assert "has SHA-256" in done.output
    assert not any(call["kind"] == "put" and "python" in call["path"] for call in prepared.calls())


def test_an_old_windows_is_refused(prepared: SimulatedHost) -> None:
    prepared.variables["windows_base_lowest_build"] = 99999
    done = deploy(prepared)
    assert done.code == 2
    assert "Windows Server 2019" in done.output
    assert not prepared.state().path("C:\\ProgramData\\Pixelstream").exists()


def test_the_controller_cannot_shut_itself_out(host: SimulatedHost) -> None:
    host.variables["firewall_management_sources"] = ["10.99.0.0/16"]
    done = host.play([], roles=["firewall"])
    assert done.code == 2
    assert "WinRM would be closed to you" in " ".join(done.output.split())
    assert host.state().section("firewall")["Windows Remote Management (HTTP-In)"]["enabled"]
    # Without networks to choose from, only what nobody needs is closed: WinRM without encryption, from everywhere.
    del host.variables["firewall_management_sources"]
    done = host.play([], roles=["firewall"])
    assert done.code == 0, done.output
    rules = host.state().section("firewall")
    assert not rules["Windows Remote Management (HTTP-In)"]["enabled"]
    assert "Pixelstream WinRM" not in rules


def test_fewer_cards_than_promised_are_a_fault(host: SimulatedHost) -> None:
    host.variables |= {"gpus": [{"index": 0, "slots": 1}], "capacity": 1}
    done = host.play([], roles=["gpu_driver"])
    assert done.code == 2
    assert "shows 0 NVIDIA cards, 1 are required" in " ".join(done.output.split())


def test_encoders_for_fewer_sessions_than_the_capacity_are_a_fault(host: SimulatedHost) -> None:
    host.write("gpus.json", [{"index": 0, "name": "NVIDIA GeForce RTX 3060", "memory_mib": 12288, "driver": "573.42"}])
    tool = {"content": "MZ", "dest": "C:\\Windows\\System32\\nvidia-smi.exe"}
    assert host.play([{"ansible.windows.win_copy": tool}]).code == 0
    host.variables |= {"gpus": [{"index": 0, "slots": 9}], "capacity": 9}
    done = host.play([], roles=["gpu_driver"])
    assert done.code == 2
    assert "encodes 8 streams at once, but has 9 slots" in " ".join(done.output.split())
    host.variables |= {"gpus": [{"index": 0, "slots": 8}]}
    done = host.play([], roles=["gpu_driver"])
    assert done.code == 2
    assert "encode 8 streams at once, but its capacity is 9" in " ".join(done.output.split())
