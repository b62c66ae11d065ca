"""Ansible module: how this project's services are on a Linux machine. Changes nothing."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: machine_status
short_description: Tell releases, services, certificate and disk of a machine
description:
  - Reads what systemd and the file system say.
author: pixelstream
options:
  root:
    description: Directory of the releases.
    type: path
    default: /opt/pixelstream
  certificate:
    description: Certificate whose end is wanted.
    type: path
    default: /etc/pixelstream/tls/fullchain.pem
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: Look
  machine_status:
"""

RETURN = r"""
release:
  description: Current release.
  type: str
  returned: always
previous:
  description: The one to which a rollback would go.
  type: str
  returned: always
services:
  description: Our units with their state, since when, and how often systemd had to start them again.
  type: list
  returned: always
certificate_days:
  description: Days until the certificate ends; null when there is none.
  type: float
  returned: always
disk_free_bytes:
  description: Free bytes where releases and data live.
  type: int
  returned: always
load:
  description: Load average of the last minute.
  type: float
  returned: always
"""

UNITS = ("pixelstream-*.service", "nginx.service", "mongod.service", "coturn.service", "prometheus.service")


def linked(path: Path) -> str:
    return path.resolve().name if path.is_symlink() else ""


def services(module: AnsibleModule) -> list[dict[str, Any]]:
    """Return the state of each unit that is loaded."""
    properties = "Id,LoadState,ActiveState,SubState,ActiveEnterTimestamp,NRestarts,Result"
    _, output, _ = module.run_command(["systemctl", "show", "--all", f"--property={properties}", *UNITS])
    found = []
    for block in output.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("LoadState") == "loaded":
            found.append(
                {
                    "unit": values["Id"].removesuffix(".service"),
                    "state": values["ActiveState"],
                    "detail": values["SubState"],
                    "since": values.get("ActiveEnterTimestamp", ""),
                    "restarts": int(values.get("NRestarts") or 0),
                }
            )
    return sorted(found, key=lambda unit: str(unit["unit"]))


def certificate_days(path: str) -> float | None:
    """Return how long the certificate still lives, as openssl reads it."""
    if not Path(path).exists() or not shutil.which("openssl"):
        return None
    command = ["openssl", "x509", "-noout", "-enddate", "-in", path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    if result.returncode:
        return None
    ends = ssl.cert_time_to_seconds(result.stdout.strip().removeprefix("notAfter="))
    return round((ends - time.time()) / 86400, 1)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/opt/pixelstream"},
            "certificate": {"type": "path", "default": "/etc/pixelstream/tls/fullchain.pem"},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["root"])
    module.exit_json(
        changed=False,
        release=linked(root / "current"),
        previous=linked(root / "previous"),
        services=services(module),
        certificate_days=certificate_days(module.params["certificate"]),
        disk_free_bytes=shutil.disk_usage(root if root.exists() else "/").free,
        load=round(float(Path("/proc/loadavg").read_text().split()[0]), 2),
    )


if __name__ == "__main__":
    main()
