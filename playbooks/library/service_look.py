"""Ansible module: do systemd services run, and with what is installed and configured now? Changes nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: service_look
short_description: Tell which services must be started or restarted
description:
  - A service is stale when it runs from another release than the current one, or when one of its files was written
    after it started. Asking the process itself, rather than remembering what this run changed, also notices what an
    interrupted run left undone.
author: pixelstream
options:
  names:
    description: Units.
    type: list
    elements: str
    required: true
  current:
    description: Symbolic link to the current release. Empty means that the release does not matter.
    type: str
    default: ''
  files:
    description: Files that each reads when it starts; C(%i) stands for the unit's instance, as in systemd.unit(5).
    type: list
    elements: str
    default: []
  reloads:
    description: Whether the service reads O(files) when it is reloaded, too.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: Are both instances up to date?
  service_look:
    names: [pixelstream-coordinator@1, pixelstream-coordinator@2]
    current: /opt/pixelstream/current
    files: [/etc/pixelstream/coordinator-%i.json]
"""

RETURN = r"""
services:
  description: What was seen of each service, in the order of O(names).
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Unit.
      type: str
    active:
      description: Whether the unit runs.
      type: bool
    settled:
      description: Whether it runs, starts at each boot, and systemd has read its unit file as it is now.
      type: bool
    release:
      description: Name of the release the unit's process runs from; empty when it does not run.
      type: str
    stale:
      description: Why it must be restarted; empty when it need not.
      type: list
unsettled:
  description: Names of those that are not settled.
  type: list
  returned: always
stale:
  description: Names of those that must be restarted.
  type: list
  returned: always
"""

PROPERTIES = (
    "ActiveState",
    "SubState",
    "MainPID",
    "UnitFileState",
    "NeedDaemonReload",
    "ExecMainStartTimestampMonotonic",
    "StateChangeTimestampMonotonic",
)


def running_release(pid: int, releases: Path) -> str:
    """Return the release directory's name in the interpreter's path, or nothing."""
    try:
        program = (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""
    try:
        return Path(program).relative_to(releases).parts[0]
    except (ValueError, IndexError):
        return ""


def instance(unit: str) -> str:
    """Return what stands between ``@`` and the unit's type; empty for a unit that is no instance."""
    return unit.partition("@")[2].removesuffix(".service")


def reasons(current: str, files: list[str], release: str, started: float) -> list[str]:
    """Return why a service that started then (Unix time) must be restarted."""
    found = []
    if current and release != (wanted := Path(current).resolve().name):
        found.append(f"runs {release or 'from elsewhere'}, current is {wanted}")
    later = [file for file in map(Path, files) if file.exists() and file.stat().st_mtime > started]
    return found + [f"{file} was written after it was read" for file in later]


def judged(
    name: str, current: str, files: list[str], values: dict[str, str], *, reloads: bool = False
) -> dict[str, Any]:
    """Return what is said of a service, from its properties (org.freedesktop.systemd1)."""
    pid = int(values.get("MainPID", "0") or 0)
    # A unit that only loads something has no process, and is active once that is done.
    up = values.get("ActiveState") in ("active", "activating", "reloading")
    active = up and (pid > 0 or values.get("SubState") == "exited")
    release, stale = "", []
    if active:
        boot = time.time() - time.monotonic()
        # A unit that is being reloaded goes through a state of that name, and comes back from it.
        read = "StateChangeTimestampMonotonic" if reloads else "ExecMainStartTimestampMonotonic"
        started = boot + int(values.get(read, "0") or 0) / 1e6
        release = running_release(pid, Path(current).parent / "releases") if current else ""
        stale = reasons(current, files, release, started)
    enabled = values.get("UnitFileState", "").startswith("enabled")
    settled = active and enabled and values.get("NeedDaemonReload") == "no"
    return {"name": name, "active": active, "settled": settled, "release": release, "stale": stale}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "current": {"type": "str", "default": ""},
            "files": {"type": "list", "elements": "str", "default": []},
            "reloads": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    names, current, files = (module.params[key] for key in ("names", "current", "files"))
    status, output, error = module.run_command(["systemctl", "show", f"--property={','.join(PROPERTIES)}", *names])
    if status:
        module.fail_json(msg=f"systemctl show {' '.join(names)} failed: {error.strip()}")
    # One block of lines for each unit, in the order in which they were named.
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in output.strip().split("\n\n")]
    services = [
        judged(
            name,
            current,
            [file.replace("%i", instance(name)) for file in files],
            values,
            reloads=module.params["reloads"],
        )
        for name, values in zip(names, blocks, strict=True)
    ]
    module.exit_json(
        changed=False,
        services=services,
        unsettled=[service["name"] for service in services if not service["settled"]],
        stale=[service["name"] for service in services if service["stale"]],
    )


if __name__ == "__main__":
    main()
