"""Ansible filters for Windows hosts: findings of preflight, and what status tells."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# Programs of ours that may hold the ports already.
OWN_PROGRAMS = ("nginx", "python", "pythonw")


def free_bytes(disks: Iterable[Mapping[str, Any]], letter: str) -> int:
    """Return the free bytes of a drive letter, from ``win_disk_facts``; 0 when there is no such drive."""
    for disk in disks:
        for partition in disk.get("partitions") or []:
            if str(partition.get("drive_letter") or "").upper() == letter.upper():
                return sum(int(volume.get("size_remaining") or 0) for volume in partition.get("volumes") or [])
    return 0


def units(services: Iterable[Sequence[str]]) -> list[dict[str, Any]]:
    """Return names and states as ``machine_status`` tells them of systemd's units."""
    return [{"unit": name, "state": "active" if state in ("running", "started") else state} for name, state in services]


def findings(facts: Mapping[str, Any], host: Mapping[str, Any], look: Mapping[str, Any]) -> list[str]:
    """Return what stops a deployment on a Windows host, each with its fix."""
    return _system(facts, look) + _disk(look) + _clock(facts, look) + _ports(host, look)


def _system(facts: Mapping[str, Any], look: Mapping[str, Any]) -> list[str]:
    parts = str(facts.get("kernel", "0.0.0")).split(".")
    build = int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else 0
    if build >= look["lowest_build"] and "64" in str(facts.get("architecture", "")):
        return []
    name = f"{facts.get('distribution', 'an unknown Windows')} {facts.get('kernel', '')}"
    return [
        f"it runs {name}. 64-bit Windows 10 1809, Windows 11 or Windows Server 2019, 2022 or 2025 is needed.",
    ]


def _disk(look: Mapping[str, Any]) -> list[str]:
    free, wanted = free_bytes(look["disks"], "C") / 1e9, int(look["disk_free_bytes"]) / 1e9
    if free >= wanted:
        return []
    return [
        f"drive C: has {free:.1f} GB free, {wanted:.1f} GB are needed. Free some, or lower preflight_disk_free_bytes.",
    ]


def _clock(facts: Mapping[str, Any], look: Mapping[str, Any]) -> list[str]:
    text = (facts.get("date_time") or {}).get("iso8601")
    if not text:
        return []
    theirs = datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    # The clock was read after the one and before the other; a slow neighbour in the same play is not its fault.
    apart = max(float(look["asked_seconds"]) - theirs, theirs - float(look["answered_seconds"]))
    if apart <= float(look["clock_difference_seconds"]) + float(look["round_trip_seconds"]):
        return []
    return [
        f"its clock is {apart:.0f} s from this controller's; signed requests live for 30 s. "
        "Set the clock: w32tm /resync, or correct windows_base_time_servers.",
    ]


def _ports(host: Mapping[str, Any], look: Mapping[str, Any]) -> list[str]:
    wanted = {int(host.get("session_server_listen_port", 8750)): "session_server_listen_port"}
    if host.get("edge_mode", "central") == "direct":
        wanted |= {int(host.get("http_port", 80)): "http_port", int(host.get("https_port", 443)): "https_port"}
    found = []
    for listener in look["listeners"]:
        program = str(listener.get("name") or "unknown").lower().removesuffix(".exe")
        port = int(listener["port"])
        if port in wanted and program not in OWN_PROGRAMS:
            hint = " (IIS: Stop-Service W3SVC and disable it)" if program == "system" else ""
            found.append(f"TCP port {port} is taken by {program}{hint}. Stop it, or change {wanted[port]}.")
    return found


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "pixelstream_windows_findings": findings,
            "pixelstream_windows_free_bytes": free_bytes,
            "pixelstream_windows_units": units,
        }
