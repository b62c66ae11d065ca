"""Ansible filters of playbooks/status.yml: from what machines and hosts said to one report and one table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

ENDED = ("ended", "failed")


def report(
    hosts: Collection[str],
    groups: Mapping[str, list[str]],
    hostvars: Mapping[str, Any],
    answers: Mapping[str, Mapping[str, Any]],
    problem: str = "",
) -> dict[str, Any]:
    """Return ``{"machines": {name: ...}}``: each of ``hosts`` with what it said and what its session server said.

    ``problem`` is why no coordinator could ask the session servers; it then is in the report too.
    """
    names = sorted(
        {
            name
            for group in ("coordinator", "streaming", "mongodb", "turn", "observability")
            for name in groups.get(group, [])
            if name in hosts
        }
    )
    machines: dict[str, Any] = {}
    for name in names:
        look = hostvars[name].get("status_machine") or {}
        entry: dict[str, Any] = {"reached": not look.get("unreachable", False)}
        if "release" in look:
            entry |= {
                key: look[key]
                for key in ("release", "previous", "services", "certificate_days", "disk_free_bytes", "load")
            }
        if name in answers:
            answer = dict(answers[name])
            if "error" in answer:
                entry["host"] = {"error": answer["error"]}
            else:
                live = [session for session in answer.get("sessions", []) if session["state"] not in ENDED]
                entry["host"] = {
                    **{
                        key: answer[key]
                        for key in ("version", "platform", "capacity", "draining", "cpu", "events_waiting")
                    },
                    "sessions": [
                        {key: session.get(key) for key in ("session_id", "title", "state", "participants", "build")}
                        for session in live
                    ],
                }
        machines[name] = entry
    return {"machines": machines} | ({"problem": problem.strip().splitlines()[-1]} if problem.strip() else {})


def _machine_cells(entry: Mapping[str, Any]) -> list[str]:
    services = entry.get("services", [])
    bad = [f"{unit['unit']} {unit['state']}" for unit in services if unit["state"] != "active"]
    host = entry.get("host", {})
    days = entry.get("certificate_days")
    free = entry.get("disk_free_bytes")
    if "error" in host:
        sessions = "no answer"
    elif host:
        sessions = f"{len(host['sessions'])}/{host['capacity']}" + (" draining" if host["draining"] else "")
    else:
        sessions = "-"
    return [
        entry.get("release") or host.get("version") or "-",
        ("unreachable" if not entry["reached"] else ", ".join(bad) or f"{len(services)} ok" if services else "-"),
        sessions,
        "-" if days is None else f"{days:.0f} d",
        "-" if free is None else f"{free / 1e9:.1f} GB",
    ]


def table(status: Mapping[str, Any]) -> str:
    """Return the report as text: a line for each machine, then a line for each live session."""
    rows = [["machine", "release", "services", "sessions", "certificate", "disk free"]]
    rows += [[name, *_machine_cells(entry)] for name, entry in status["machines"].items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for name, entry in status["machines"].items():
        lines += [
            f"{name}: {session['title']} {session['state']}, {session['participants']} people, "
            f"build {session['build']}, {session['session_id']}"
            for session in entry.get("host", {}).get("sessions", [])
        ]
        if "error" in entry.get("host", {}):
            lines.append(f"{name}: {entry['host']['error']}")
    if "problem" in status:
        lines.append(f"No coordinator could ask the streaming hosts: {status['problem']}")
    return "\n".join(lines)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pixelstream_status_report": report, "pixelstream_status_table": table}
