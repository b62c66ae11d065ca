"""The status table: every machine has a line that a person understands."""

from __future__ import annotations

from typing import Any

from .running import load_plugin

status = load_plugin("playbooks/filter_plugins/status.py")

LOOK: dict[str, Any] = {
    "release": "1.0-a",
    "previous": "0.9-b",
    "services": [{"unit": "nginx", "state": "active"}, {"unit": "pixelstream-coordinator@1", "state": "failed"}],
    "certificate_days": 20.4,
    "disk_free_bytes": 5_200_000_000,
    "load": 0.1,
}
ANSWER: dict[str, Any] = {
    "version": "1.0",
    "platform": "linux",
    "capacity": 2,
    "draining": True,
    "cpu": 0.2,
    "events_waiting": 0,
    "sessions": [
        {"session_id": "s1", "title": "car", "state": "streaming", "participants": 3, "build": "7"},
        {"session_id": "s2", "title": "car", "state": "ended", "participants": 0, "build": "7"},
    ],
}
GROUPS = {"coordinator": ["hub"], "streaming": ["gpu1", "gpu2", "win1"]}
HOSTVARS: dict[str, Any] = {
    "hub": {"status_machine": LOOK},
    "gpu1": {"status_machine": {**LOOK, "services": [{"unit": "pixelstream-session-server", "state": "active"}]}},
    "gpu2": {"status_machine": {"unreachable": True, "msg": "no route"}},
    "win1": {"status_machine": {"skipped": True}},
}


def test_report_and_table() -> None:
    hosts = ["hub", "gpu1", "gpu2", "win1"]
    report = status.report(hosts, GROUPS, HOSTVARS, {"gpu1": ANSWER, "gpu2": {"error": "timed out"}, "win1": ANSWER})
    machines = report["machines"]
    assert [session["session_id"] for session in machines["gpu1"]["host"]["sessions"]] == ["s1"], (
        "ended ones are history"
    )
    assert machines["gpu2"] == {"reached": False, "host": {"error": "timed out"}}
    lines = status.table(report).splitlines()
    by_name = {line.split()[0]: line for line in lines[1:5]}
    assert "pixelstream-coordinator@1 failed" in by_name["hub"]
    assert "20 d" in by_name["hub"]
    assert "5.2 GB" in by_name["hub"]
    assert "1 ok" in by_name["gpu1"]
    assert "1/2 draining" in by_name["gpu1"]
    assert "unreachable" in by_name["gpu2"]
    assert "1.0" in by_name["win1"], "a Windows host tells its version itself"
    assert lines[5:] == [
        "gpu1: car streaming, 3 people, build 7, s1",
        "gpu2: timed out",
        "win1: car streaming, 3 people, build 7, s1",
    ]


def test_a_limit_leaves_the_other_machines_out() -> None:
    report = status.report(["gpu1"], GROUPS, HOSTVARS, {"gpu1": ANSWER, "gpu2": {"error": "timed out"}})
    assert list(report["machines"]) == ["gpu1"]


def test_machines_are_told_of_although_no_coordinator_could_ask() -> None:
    report = status.report(["hub", "gpu1"], GROUPS, HOSTVARS, {}, "Traceback\nConnection refused\n")
    assert report["problem"] == "Connection refused"
    lines = status.table(report).splitlines()
    assert lines[-1] == "No coordinator could ask the streaming hosts: Connection refused"
    assert "5.2 GB" in lines[1]
