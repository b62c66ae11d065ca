"""Ansible module: what a Linux machine has that a deployment depends on. Changes nothing."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: machine_look
short_description: Look at disk, clock, listeners, names, firewall and packages of a Linux machine
description:
  - Needs nothing on the machine but Python; where there is no dpkg, no packages are known.
author: pixelstream
options:
  paths:
    description: Paths whose file systems' free space is wanted; the nearest existing parent counts.
    type: list
    elements: path
    default: []
  names:
    description: Host names to resolve.
    type: list
    elements: str
    default: []
  controller_seconds:
    description: The controller's clock as this module is sent (Unix time), to compare the machine's with.
    type: float
    required: true
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: Look
  machine_look:
    paths: [/opt, /var]
    names: [play.example.org]
    controller_seconds: "{{ now().timestamp() }}"
"""

RETURN = r"""
free_bytes:
  description: Free bytes for each path.
  type: dict
  returned: always
clock_difference_seconds:
  description: The machine's clock less the controller's; what the way here took makes it larger.
  type: float
  returned: always
listeners:
  description: What listens on TCP or is bound on UDP, each with protocol, port and command.
  type: list
  returned: always
effective_user_id:
  description: The number of the user as whom Ansible works there.
  type: int
  returned: always
user:
  description: The name of that user.
  type: str
  returned: always
addresses:
  description: Addresses of each name; empty when it is not known.
  type: dict
  returned: always
ufw_enabled:
  description: Whether ufw filters what comes in, now or at the next boot.
  type: bool
  returned: always
ansible_facts:
  description:
    - C(pixelstream_packages) holds the names of the packages that are installed; empty on a machine without dpkg.
      With it a role knows that it needs nothing from the package manager, which takes a quarter of a second to say so.
  type: dict
  returned: always
"""


def free_bytes(path: str) -> int:
    """Return what a new file under ``path`` could use."""
    place = Path(path)
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def commands_by_inode() -> dict[str, str]:
    """Return the command line of the owner of each socket."""
    owners: dict[str, str] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            for descriptor in (process / "fd").iterdir():
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    owners[target[8:-1]] = command
        except OSError:
            continue  # ended meanwhile, or not ours to see
    return owners


def listeners() -> list[dict[str, Any]]:
    """Return listening TCP sockets and bound, unconnected UDP sockets (proc(5), /proc/net/tcp)."""
    owners = commands_by_inode()
    found = []
    for protocol, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        try:
            lines = Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == state:
                port = int(fields[1].rsplit(":", 1)[1], 16)
                command = owners.get(fields[9], "")
                found.append({"protocol": protocol[:3], "port": port, "command": command})
    return found


def addresses(name: str) -> list[str]:
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None)})
    except OSError:
        return []


def user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def ufw_enabled(settings: Path = Path("/etc/ufw/ufw.conf")) -> bool:
    """Return what ufw's own settings say (ufw-framework(8))."""
    try:
        lines = settings.read_text().splitlines()
    except OSError:
        return False
    return any(line.strip().replace(" ", "").lower() == "enabled=yes" for line in lines)


def installed_packages(module: AnsibleModule) -> list[str]:
    try:
        status, output, _ = module.run_command(
            ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}|${Package}\\n"], handle_exceptions=False
        )
    except OSError:
        return []
    # dpkg(1): what is wanted, then its state; "ii" is installed with all its files and set up.
    lines = [line.partition("|") for line in output.splitlines()] if status == 0 else []
    return sorted({name for state, _, name in lines if state[1:2] == "i"})


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "names": {"type": "list", "elements": "str", "default": []},
            "controller_seconds": {"type": "float", "required": True},
        },
        supports_check_mode=True,
    )
    module.exit_json(
        changed=False,
        free_bytes={path: free_bytes(path) for path in module.params["paths"]},
        clock_difference_seconds=time.time() - module.params["controller_seconds"],
        listeners=listeners(),
        effective_user_id=os.geteuid(),
        user=user_name(),
        addresses={name: addresses(name) for name in module.params["names"]},
        ufw_enabled=ufw_enabled(),
        ansible_facts={"pixelstream_packages": installed_packages(module)},
    )


if __name__ == "__main__":
    main()
