"""Lab machines for tests that are not molecule scenarios: real systemd hosts that live as long as a ``with`` block."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any, Self

from .running import BIN, PROJECT, ansible_environment

LAB = PROJECT / "tests/lab"
NEEDED = ("systemd-nspawn", "mmdebstrap", "dpkg-scanpackages", "ip", "ssh-keygen", "openssl")


def missing() -> str | None:
    """Return why the scenarios cannot run here, or None."""
    if os.geteuid() != 0:
        return "the lab's machines need root (systemd-nspawn, a bridge)"
    if not (BIN / "molecule").exists():
        return "molecule is not installed: pip install --requirement requirements/deploy.txt"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (apt-get install systemd-container mmdebstrap dpkg-dev iproute2)"
    if not (PROJECT / "runtime/coordinator/static/index.html").is_file():
        return "the pages are not built: make web"
    return None


class Lab:
    """Boots machines on the lab's bridge and forgets them at the end."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.key = home / "id"
        self._up: list[str] = []

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)],
            check=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._up:
            self._lab_host("down", name)
        self._lab_host("net-down")

    def _lab_host(self, *arguments: str, **variables: str) -> str:
        result = subprocess.run(
            [str(LAB / "lab-host"), *arguments],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def up(self, name: str, address: str, suite: str = "bookworm", binds: str = "") -> None:
        """Boot one machine; image and packages are built on first use. ``binds``: further arguments of nspawn."""
        built = {}
        for what in ("build-image", "build-packages"):
            result = subprocess.run([str(LAB / what), suite], capture_output=True, text=True, timeout=600)
            assert result.returncode == 0, result.stderr
            built[what] = result.stdout.strip()
        self._up.append(name)
        variables = {"LAB_PACKAGES": built["build-packages"], "LAB_BINDS": binds}
        self._lab_host("up", name, address, f"{self.key}.pub", built["build-image"], **variables)

    def environment(self, checkout: Path) -> dict[str, str]:
        """Return the environment of a command that runs in ``checkout`` and reaches these machines by SSH."""
        return ansible_environment(checkout / ".ansible") | {
            "ANSIBLE_CONFIG": str(checkout / "ansible.cfg"),
            "ANSIBLE_PRIVATE_KEY_FILE": str(self.key),
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null "
            "-o StrictHostKeyChecking=no -o LogLevel=ERROR",
        }

    def ask(self, name: str, address: str, path: str, authority: Path) -> tuple[int, Any]:
        """GET over HTTPS from this machine, trusting ``authority`` alone; (status, decoded JSON)."""
        context = ssl.create_default_context(cafile=str(authority))
        with (
            socket.create_connection((address, 443), timeout=15) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            connection = http.client.HTTPConnection(name, timeout=15)
            connection.sock = secure
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
