"""inventory/local makes one machine everything. It is deployed as it stands, but for how Ansible gets there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from .lab import Lab

ADDRESS = "10.213.88.42"
# Asked on the machine, since the site's name is localhost.
ASK = """
import json, ssl, urllib.request
context = ssl.create_default_context(cafile="/etc/pixelstream/tls/authority.pem")
answer = urllib.request.urlopen("https://localhost/api/v1/titles", context=context, timeout=15)
print(json.dumps([[title["name"], title["availability"]["free"]] for title in json.load(answer)["items"]]))
"""


@pytest.mark.root
@pytest.mark.timeout(600)
def test_this_machine_becomes_everything(lab: Lab, checkout: Path) -> None:
    lab.up("local", ADDRESS)
    environment = lab.environment(checkout)
    place = checkout / "inventory/local/hosts.yml"
    hosts = yaml.safe_load(place.read_text())
    here = hosts["all"]["hosts"]["local"]
    assert here.pop("ansible_connection") == "local"
    here |= {"ansible_host": ADDRESS, "ansible_user": "root"}
    place.write_text(yaml.safe_dump(hosts))

    def run(*command: str) -> str:
        result = subprocess.run(
            command,
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout[-6000:]}{result.stderr[-2000:]}"
        return result.stdout

    run("ansible-playbook", "playbooks/secrets.yml", "-i", "inventory/local")
    said = run("ansible-playbook", "playbooks/deploy.yml", "-i", "inventory/local")
    assert "https://localhost answers. Titles: sample. Streaming hosts: local." in " ".join(said.split())
    answer = run("ansible", "local", "-i", "inventory/local", "-m", "ansible.builtin.command", "-a",
                 json.dumps({"argv": ["python3", "-c", ASK]}))  # fmt: skip
    assert '[["sample", 2]]' in answer
