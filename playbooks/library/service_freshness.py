"""Ansible module: does a systemd service run what is installed and configured now? Changes nothing."""

from __future__ import annotations

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: service_freshness
short_description: Tell whether a service must be restarted
description:
  - A service is stale when it runs from another release than the current one, or when one of its files was written
    after it started. Asking the process itself, rather than remembering what this run changed, also notices what an
    interrupted run left undone.
author: pixelstream
options:
  name:
    description: Unit.
    type: str
    required: true
  current:
    description: Symbolic link to the current release. Empty means that the release does not matter.
    type: str
    default: ''
  files:
    description: Files that the service reads when it starts.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: Is the first instance up to date?
  service_freshness:
    name: pixelstream-coordinator@1
    current: /opt/pixelstream/current
    files: [/etc/pixelstream/coordinator-1.json]
"""

RETURN = r"""
active:
  description: Whether the unit runs.
  type: bool
  returned: always
release:
  description: Name of the release the unit's process runs from; empty when it does not run.
  type: str
  returned: always
stale:
  description: Why it must be restarted; empty when it need not.
  type: list
  returned: always
"""


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


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "current": {"type": "str", "default": ""},
            "files": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    properties = "ActiveState,MainPID,ExecMainStartTimestampMonotonic"
    status, output, error = module.run_command(["systemctl", "show", f"--property={properties}", module.params["name"]])
    if status:
        module.fail_json(msg=f"systemctl show {module.params['name']} failed: {error.strip()}")
    values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    pid = int(values.get("MainPID", "0") or 0)
    active = values.get("ActiveState") in ("active", "activating", "reloading") and pid > 0
    stale: list[str] = []
    release = ""
    if active:
        started = time.time() - time.monotonic() + int(values["ExecMainStartTimestampMonotonic"]) / 1e6
        if module.params["current"]:
            current = Path(module.params["current"])
            release = running_release(pid, current.parent / "releases")
            if release != current.resolve().name:
                stale.append(f"runs {release or 'from elsewhere'}, current is {current.resolve().name}")
        for name in module.params["files"]:
            path = Path(name)
            if path.exists() and path.stat().st_mtime > started:
                stale.append(f"{name} was written after it started")
    module.exit_json(changed=False, active=active, release=release, stale=stale)


if __name__ == "__main__":
    main()
