"""Settings that an inventory may choose: what a host has afterwards; check mode and a second run change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.simulated import PlayResult, SimulatedHost
from tests.lab.winsim.audit import defender_exclusions

pytestmark = pytest.mark.timeout(300)


def settings(host: SimulatedHost, *options: str, **variables: Any) -> PlayResult:
    host.variables |= variables
    return host.play(
        [{"ansible.builtin.include_role": {"name": "windows_base", "tasks_from": "settings"}}],
        *options,
    )


def zone(host: SimulatedHost) -> str:
    found: str = host.state().section("settings").get("timezone", "UTC")
    return found


def test_time_zone_and_exclusions_follow_the_inventory(host: SimulatedHost) -> None:
    assert settings(host).code == 0
    assert zone(host) == "UTC", "left alone unless it is chosen"
    assert defender_exclusions(host.state()) == []
    before = host.digest()
    chosen = {"windows_base_time_zone": "Tokyo Standard Time", "windows_base_defender_exclusions": True}
    done = settings(host, "--check", "--diff", **chosen)
    assert done.code == 0, done.output
    assert done.changed() >= 3
    assert host.digest() == before, "check mode writes nothing"
    done = settings(host)
    assert done.code == 0, done.output
    assert zone(host) == "Tokyo Standard Time"
    assert defender_exclusions(host.state()) == ["c:\\pixelstream", "c:\\pixelstreamtitles"]
    assert (done := settings(host)).changed() == 0, done.output
    done = settings(host, windows_base_time_zone="", windows_base_defender_exclusions=False)
    assert done.code == 0, done.output
    assert zone(host) == "Tokyo Standard Time", "what nobody chooses any more stays as it is"
    assert defender_exclusions(host.state()) == []
    assert (done := settings(host)).changed() == 0, done.output


def test_a_time_zone_that_windows_does_not_know_is_named(host: SimulatedHost) -> None:
    done = settings(host, windows_base_time_zone="Europe/Berlin")
    assert done.code == 2
    assert "The specified timezone: Europe/Berlin isn't supported" in " ".join(done.output.split())


def test_exclusions_of_a_domain_s_policy_stay(host: SimulatedHost) -> None:
    policy = "HKLM:\\SOFTWARE\\Policies\\Microsoft\\Windows Defender\\Exclusions"
    theirs = [
        {"path": policy, "name": "Exclusions_Paths", "data": 1, "type": "dword"},
        {"path": f"{policy}\\Paths", "name": "D:\\Databases", "data": "0", "type": "string"},
    ]
    done = host.play([{"ansible.windows.win_regedit": value} for value in theirs])
    assert done.code == 0, done.output
    for chosen in (False, True, False):
        done = settings(host, windows_base_defender_exclusions=chosen)
        assert done.code == 0, done.output
        ours = ["c:\\pixelstream", "c:\\pixelstreamtitles"] if chosen else []
        assert defender_exclusions(host.state()) == [*ours, "d:\\databases"]
    assert (done := settings(host)).changed() == 0, done.output
