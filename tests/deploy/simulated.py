"""One simulated Windows host for a test, and the real Ansible against it."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.winsim import scenario
from tests.lab.winsim.state import State

from .running import BIN, PROJECT, ansible_environment

PASSWORD = "lab-password"  # of a simulated host that lives as long as one test
PLAY_SECONDS = 110


@dataclass
class SimulatedHost:
    """A running simulator. ``variables`` are the host's in the inventory; ``shared`` may be had by several hosts."""

    folder: Path
    shared: Path
    address: str
    port: int = 55986
    tls: bool = True
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def state_folder(self) -> Path:
        return self.folder / "win1"

    def state(self) -> State:
        """What the host remembers now, read from its files."""
        return State(self.state_folder, "WIN1", "ansible")

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.state_folder / "calls.jsonl").read_text().splitlines()]

    def write(self, name: str, content: Any) -> None:
        """Files beside the state steer it: faults, installers, locks, gpus, power_plans."""
        (self.state_folder / name).write_text(json.dumps(content))

    def inventory(self) -> Path:
        connection = {
            "ansible_host": self.address,
            "ansible_port": self.port,
            "ansible_connection": "winrm",
            "ansible_winrm_scheme": "https" if self.tls else "http",
            "ansible_winrm_transport": "ntlm",
            "ansible_winrm_ca_trust_path": str(self.shared / "winrm.pem"),
            "ansible_user": "ansible",
            "ansible_password": PASSWORD,
        }
        document = {
            "streaming": {"children": {"streaming_windows": {"hosts": {"win1": connection | self.variables}}}},
            # Nobody connects to it; roles ask the inventory where it is.
            "coordinator": {"hosts": {"hub": {"private_address": "127.77.2.2"}}},
        }
        file = self.folder / "hosts.json"
        file.write_text(json.dumps({"all": {"children": document}}))
        return file

    def play(self, tasks: list[dict[str, Any]], *options: str, roles: list[str] | None = None) -> PlayResult:
        """Run a play of ``roles`` and ``tasks``."""
        play = {"hosts": "streaming", "gather_facts": bool(roles), "roles": roles or [], "tasks": tasks}
        file = self.folder / "play.yml"
        file.write_text(json.dumps([play]))
        done = subprocess.run(
            [str(BIN / "ansible-playbook"), f"--inventory={self.inventory()}", *options, str(file)],
            cwd=PROJECT,
            env=ansible_environment(self.folder / "ansible") | {"ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer"},
            capture_output=True,
            text=True,
            timeout=PLAY_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        return PlayResult(done.returncode, done.stdout + done.stderr)

    def digest(self) -> dict[str, Any]:
        """Everything the host holds, to be compared."""
        files = {str(path): path.read_bytes() for path in self.state().files.rglob("*") if path.is_file()}
        return {"files": files, "document": self.state().document}


@dataclass(frozen=True)
class PlayResult:
    code: int
    output: str

    @property
    def unreachable(self) -> bool:
        return self.code == 4

    def changed(self) -> int:
        """Tasks that changed something, by the recap."""
        return int(self.output.rsplit("changed=", 1)[1].split()[0])


def _simulator(host: SimulatedHost, action: str, certificate: Path | None = None) -> None:
    command = [sys.executable, "-m", "tests.lab.winsim", action, f"--state={host.state_folder}"]
    if action == "start":
        command += [f"--address={host.address}", f"--port={host.port}"]
        if host.tls:
            place = certificate or host.shared
            command += [f"--certificate={place / 'winrm.pem'}", f"--key={place / 'winrm.key'}"]
    subprocess.run(command, cwd=PROJECT, env=os.environ | {"WINSIM_PASSWORD": PASSWORD}, check=True, timeout=60)


@contextmanager
def simulated_host(folder: Path, shared: Path, address: str, **settings: Any) -> Iterator[SimulatedHost]:
    """Run a simulated host; ``shared`` must hold what ``scenario.prepare`` writes."""
    certificate = settings.pop("certificate", None)
    host = SimulatedHost(folder, shared, address, **settings)
    _simulator(host, "start", certificate)
    try:
        yield host
    finally:
        _simulator(host, "stop")


def expired_certificate(folder: Path) -> Path:
    """A folder with a WinRM certificate that ended yesterday."""
    folder.mkdir()
    scenario.certificate(folder, datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1))
    return folder
