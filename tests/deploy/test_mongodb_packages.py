"""``mongodb_engine: packages`` on real systemd machines, from an operator's first run to the last.

MongoDB itself cannot be had here: the packages are stand-ins (tests/lab/mongosim) from a signed repository. Three
machines form the set; the first one is the coordinator as well.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.mongosim import packages

from .lab import Lab

ADDRESSES = {"mongo1": "10.213.88.71", "mongo2": "10.213.88.72", "mongo3": "10.213.88.73"}
NAME = "play.lab.test"
PLAY_SECONDS = 400
# Runs on the coordinator's machine, with the runtime's driver: who may what. Prints one JSON line.
PROBE = """
import json, sys
from pymongo import MongoClient
from pymongo.errors import PyMongoError

task = json.load(sys.stdin)

def outcome(user, action):
    login = {"username": user, "password": task["passwords"][user], "authSource": "admin"} if user else {}
    try:
        with MongoClient(task["uri"], serverSelectionTimeoutMS=5000, tls=True, tlsCAFile=task["ca"], **login) as client:
            return action(client.pixelstream, client)
    except PyMongoError as error:
        return str(error).split(",")[0]

def put(database, client):
    database.kept.insert_one({"_id": "before"})
    return "done"

def spoil(database, client):
    database.kept.delete_one({"_id": "before"})
    database.kept.insert_one({"_id": "after"})
    database.title.delete_many({})
    return "done"

actions = {
    "titles": lambda database, client: sorted(str(title["_id"]) for title in database.title.find()),
    "kept": lambda database, client: sorted(document["_id"] for document in database.kept.find()),
    "put": put,
    "spoil": spoil,
    "make a user": lambda database, client: client.admin.command("createUser", "x", pwd="x", roles=[]),
    "members": lambda database, client: sorted(
        member["name"] + " " + member["stateStr"] for member in client.admin.command("replSetGetStatus")["members"]
    ),
}
print(json.dumps([outcome(user, actions[action]) for user, action in task["ask"]]))
"""


@dataclass
class Site:
    """The operator's checkout with its inventory, and the machines."""

    lab: Lab
    checkout: Path
    key: Path

    @property
    def inventory(self) -> Path:
        return self.checkout / "inventory/mine"

    @property
    def authority(self) -> Path:
        return self.inventory / ".authority/authority.pem"

    @property
    def vault(self) -> dict[str, str]:
        vault: dict[str, str] = yaml.safe_load((self.inventory / "group_vars/all/vault.yml").read_text())
        return vault

    def write_inventory(self) -> None:
        hosts = {
            name: {"ansible_host": address, "ansible_user": "root", "private_address": address}
            for name, address in ADDRESSES.items()
        }
        groups: dict[str, Any] = {
            "coordinator": {"hosts": {"mongo1": {}}},
            "streaming": {"children": {"streaming_linux": {"hosts": {"mongo1": {}}}}},  # a title needs a host
            "mongodb": {"hosts": {name: {} for name in ADDRESSES}},
        }
        variables = {
            "public_name": NAME,
            "tls_mode": "own_ca",
            "relay_port_count": 4,
            "session_server_coordinator_address": ADDRESSES["mongo1"],
            "mongodb_engine": "packages",
            "mongodb_repository": "deb [signed-by=/etc/apt/keyrings/mongodb.asc] file:/srv/mongodb ./",
            "mongodb_repository_key": str(self.key),
        }
        (self.inventory / "group_vars/all").mkdir(parents=True)
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": groups}}))
        (self.inventory / "group_vars/all/main.yml").write_text(yaml.safe_dump(variables))
        titles = {"titles": [{"name": "sample", "executable": "pixelstream-streamer"}]}
        (self.inventory / "titles.yml").write_text(yaml.safe_dump(titles))

    def play(self, *arguments: str, succeeds: bool = True) -> str:
        """Run a playbook; what it said. No secret of the vault may be in it."""
        done = subprocess.run(
            ["ansible-playbook", f"playbooks/{arguments[0]}.yml", "-i", "inventory/mine", *arguments[1:]],
            cwd=self.checkout,
            env=self.lab.environment(self.checkout),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PLAY_SECONDS,
        )
        said = done.stdout + done.stderr
        faults = re.findall(r"^(?:fatal|failed|\[ERROR\]).*$", said, re.MULTILINE)
        assert (done.returncode == 0) == succeeds, "\n".join(faults) + said[-3000:]
        self.keeps_secrets(said)
        return said

    def keeps_secrets(self, text: str) -> None:
        if (self.inventory / "group_vars/all/vault.yml").exists():
            assert not [name for name, secret in self.vault.items() if str(secret) in text]

    def shell(self, machine: str, command: str, text: str = "") -> str:
        options = ["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]
        done = subprocess.run(
            ["ssh", "-i", str(self.lab.key), *options, f"root@{ADDRESSES[machine]}", command],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout + done.stderr

    def ask(self, *asked: tuple[str, str]) -> list[Any]:
        """Ask the database as each user."""
        passwords = {user: self.vault[f"vault_mongodb_{user}_password"] for user in ("admin", "coordinator", "backup")}
        places = ",".join(f"{address}:27017" for address in ADDRESSES.values())
        task = {
            "uri": f"mongodb://{places}/?replicaSet=pixelstream",
            "ca": "/etc/pixelstream/database-tls/authority.pem",
            "passwords": passwords,
            "ask": asked,
        }
        self.shell("mongo1", "cat > /root/probe.py", PROBE)
        said = self.shell("mongo1", "/opt/pixelstream/current/bin/python /root/probe.py", json.dumps(task))
        answers: list[Any] = json.loads(said.splitlines()[-1])
        return answers


@pytest.fixture
def site(lab: Lab, checkout: Path, tmp_path: Path) -> Site:
    if shutil.which("gpg") is None:
        pytest.skip("not installed: gpg, which signs the repository (apt-get install gpg)")
    key = packages.build(tmp_path / "repository")
    for name, address in ADDRESSES.items():
        lab.up(name, address, binds=f"--bind-ro={key.parent}:/srv/mongodb")
    made = Site(lab, checkout, key)
    made.write_inventory()
    return made


def changed(said: str) -> dict[str, int]:
    """Tasks that changed something, by machine, from the recap."""
    recap = said.rsplit("PLAY RECAP", 1)[1]
    lines = [line.split() for line in recap.splitlines() if "changed=" in line]
    return {line[0]: int(next(word for word in line if word.startswith("changed="))[8:]) for line in lines}


@pytest.mark.root
@pytest.mark.timeout(900)
def test_from_bare_machines_to_none(site: Site) -> None:
    site.play("secrets")
    site.play("deploy", "--check", "--tags", "mongodb", "--limit", "mongo3")
    site.play("deploy")
    # What has to do with MongoDB; the other roles' second run is the scenarios' to prove.
    assert set(changed(site.play("deploy", "--tags", "firewall,mongodb")).values()) == {0}
    status, titles = site.lab.ask(NAME, ADDRESSES["mongo1"], "/api/v1/titles", site.authority)
    assert (status, [title["name"] for title in titles["items"]]) == (200, ["sample"])
    assert site.ask(
        ("coordinator", "titles"), ("coordinator", "put"), ("coordinator", "make a user"), ("", "titles"),
        ("backup", "make a user"), ("admin", "titles"), ("admin", "members"),
    ) == [
        ["sample"], "done", "not authorized on admin to execute command", "Command requires authentication",
        "not authorized on admin to execute command", "not authorized on pixelstream to execute command",
        ["10.213.88.71:27017 PRIMARY", "10.213.88.72:27017 SECONDARY", "10.213.88.73:27017 SECONDARY"],
    ]  # fmt: skip
    site.play("backup")
    (backup,) = (site.inventory / "backups").iterdir()
    assert site.ask(("coordinator", "spoil"), ("coordinator", "kept")) == ["done", ["after"]]
    site.play("restore", "-e", f"restore_file={backup}")
    assert site.ask(("coordinator", "kept"), ("coordinator", "titles")) == [["before"], ["sample"]]
    for name in ADDRESSES:
        journal = site.shell(name, "journalctl --unit=mongod --no-pager")
        assert "Waiting for connections on port 27017" in journal
        assert "not modelled" not in journal
        site.keeps_secrets(journal)
    # A machine that is MongoDB's alone; the scenarios uninstall coordinators.
    site.play("uninstall", "-e", "uninstall=yes", "--limit", "mongo3")
    assert site.shell("mongo3", "systemctl is-active mongod").strip() == "inactive"
    left = site.shell("mongo3", "ls /etc/mongod.key /etc/mongod.pem /etc/mongod.conf /usr/bin/mongod 2>/dev/null")
    assert left.split() == ["/usr/bin/mongod"], "the package stays, its secrets do not"
