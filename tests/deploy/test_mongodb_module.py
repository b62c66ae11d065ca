"""The role mongodb's modules against stand-ins for MongoDB (tests/lab/mongosim), one and three of them, on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from tests.lab.mongosim.running import Mongod, certificates, mongods

from .running import PROJECT, ansible_environment

SET = "pixelstream"
# Role module_utils are found by Ansible; here the module is run as it would be on the target, without a connection.
RUN = """
import runpy, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1])
module = sys.argv[2]
sys.argv[1:] = []
runpy.run_path(module, run_name="__main__")
"""
USERS = [
    {"user": "coordinator", "password": "coordinator/password@x", "roles": [{"role": "readWrite", "db": "site"}]},
    {
        "user": "backup",
        "password": "backup-password",
        "roles": [{"role": "backup", "db": "admin"}, {"role": "restore", "db": "admin"}],
    },
]
SECRETS = ("admin-password", "another-password", "coordinator/password@x", "backup-password")


def run(name: str, home: Path, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run a module of the role; its result. None of the secrets may be in what it says."""
    document = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check, "_ansible_remote_tmp": str(home)}}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            RUN,
            str(PROJECT / "roles/mongodb/module_utils"),
            str(PROJECT / f"roles/mongodb/library/{name}.py"),
        ],
        input=json.dumps(document),
        env=ansible_environment(home),
        capture_output=True,
        text=True,
        timeout=60,
    )
    result: dict[str, Any] = json.loads(done.stdout or "{}") or pytest.fail(done.stderr)
    said = json.dumps({key: value for key, value in result.items() if key != "invocation"}) + done.stderr
    assert not [secret for secret in SECRETS if secret in said]
    assert not [secret for secret in SECRETS if secret in json.dumps(result.get("invocation", {}))]
    return result


class Group:
    """The machines of the group mongodb; the first one is where the module runs, unless said otherwise."""

    def __init__(self, home: Path, servers: list[Mongod], name: str) -> None:
        self.home, self.servers, self.name = home, servers, name
        self.arguments: dict[str, Any] = {"admin_password": "admin-password", "users": USERS, "seconds": 10}

    def configure(self, on: int = 0, *, count: int | None = None, check: bool = False, **other: Any) -> dict[str, Any]:
        members = [server.address for server in self.servers[:count]]
        own = self.servers[on].address
        where = {"replica_set": self.name, "members": members, "member": own} if self.name else {}
        return run(
            "mongodb_members_and_users", self.home, check=check,
            **{**self.arguments, "local_address": own, "ca_file": self.servers[0].authority, **where, **other},
        )  # fmt: skip

    def client(self, number: int, user: str = "admin", password: str = "admin-password") -> MongoClient[dict[str, Any]]:
        server = self.servers[number]
        tls: dict[str, Any] = {"tls": True, "tlsCAFile": server.authority} if server.authority else {}
        return MongoClient(
            f"mongodb://{server.address}/", username=user, password=password, directConnection=True,
            serverSelectionTimeoutMS=5000, **tls,
        )  # fmt: skip

    def ask(self, number: int, command: str, value: Any = 1) -> dict[str, Any]:
        with self.client(number) as client:
            return dict(client.admin.command(command, value))

    def hosts(self, number: int = 0) -> list[str]:
        return [member["host"] for member in self.ask(number, "replSetGetConfig")["config"]["members"]]

    def is_primary(self, number: int) -> bool:
        with self.client(number) as client:
            return bool(client.admin.command("hello")["isWritablePrimary"])

    def wait_for_primary(self, number: int, wanted: bool = True) -> None:
        deadline = time.monotonic() + 10
        while self.is_primary(number) != wanted:
            assert time.monotonic() < deadline, self.servers[number].output


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Group]:
    """One server on its own, with TLS."""
    with mongods(tmp_path, 1, certificate=certificates(tmp_path / "tls")) as servers:
        yield Group(tmp_path, servers, "")


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Group]:
    """Three servers that are to be a set, with TLS."""
    with mongods(tmp_path, 3, set_name=SET, certificate=certificates(tmp_path / "tls")) as servers:
        yield Group(tmp_path, servers, SET)


def test_one_server_gets_its_users_once(one: Group) -> None:
    assert one.configure(check=True)["changes"] == ["user admin made", "what follows from that"]
    made = one.configure()
    assert made["changes"] == ["user admin made", "user coordinator made", "user backup made"], made
    again = one.configure()
    assert again["changed"] is False, again
    with one.client(0, "coordinator", "coordinator/password@x") as client:
        client.site.title.insert_one({"_id": "sample"})
        with pytest.raises(OperationFailure, match="not authorized on other"):
            client.other.title.find_one()
        with pytest.raises(OperationFailure, match="not authorized on admin"):
            client.admin.command("createUser", "intruder", pwd="x" * 20, roles=[])


def test_what_differs_is_changed_and_nothing_else(one: Group) -> None:
    one.configure()
    password = [{**USERS[0], "password": "another-password"}, USERS[1]]
    assert one.configure(users=password, check=True)["changes"] == ["password of coordinator"]
    assert one.configure(users=password)["changes"] == ["password of coordinator"]
    assert one.configure(users=password)["changed"] is False
    roles = [{**password[0], "roles": [{"role": "readWrite", "db": "renamed"}]}, USERS[1]]
    assert one.configure(users=roles)["changes"] == ["roles of coordinator"]
    assert one.configure(users=roles)["changed"] is False


def test_a_changed_admin_password_is_refused_with_the_way_out(one: Group) -> None:
    one.configure()
    refused = one.configure(admin_password="another-password")
    assert refused["failed"]
    assert "vault_mongodb_admin_password_before" in refused["msg"]
    renewed = one.configure(admin_password="another-password", admin_password_before="admin-password")
    assert renewed["changes"] == ["password of admin"]
    assert one.configure(admin_password="another-password")["changed"] is False


def test_a_server_that_is_not_there_or_not_trusted(one: Group, tmp_path: Path) -> None:
    _, stranger = certificates(tmp_path / "stranger")
    for module in ("mongodb_answers", "mongodb_members_and_users"):
        where = {"address": one.servers[0].address} if module == "mongodb_answers" else {
            "local_address": one.servers[0].address, "admin_password": "admin-password"
        }  # fmt: skip
        refused = run(module, tmp_path, **where, ca_file=stranger, seconds=0.1)
        assert "is not trusted here" in refused["msg"], refused
    one.servers[0].stop()
    refused = run("mongodb_answers", tmp_path, address=one.servers[0].address, seconds=0.1)
    assert "does not answer" in refused["msg"]
    assert "journalctl --unit=mongod" in refused["msg"]


def test_three_servers_become_a_set_once(three: Group) -> None:
    assert run(
        "mongodb_answers", three.home, address=three.servers[1].address, ca_file=three.servers[1].authority, seconds=5
    )
    made = three.configure()
    assert not made.get("failed"), made
    addresses = [server.address for server in three.servers]
    assert made["changes"] == [
        f"set {SET} begun on {addresses[0]}",
        "user admin made",
        "user coordinator made",
        "user backup made",
        f"member {addresses[1]} added",
        f"member {addresses[2]} added",
    ]
    assert three.hosts() == addresses
    assert {member["stateStr"] for member in three.ask(0, "replSetGetStatus")["members"]} == {"PRIMARY", "SECONDARY"}
    for on in (0, 2):
        again = three.configure(on)
        assert again["changed"] is False, again
    with three.client(1) as client, pytest.raises(PyMongoError, match="not primary"):
        client.admin.command("createUser", "x", pwd="x", roles=[])


def test_the_primary_may_be_another_machine(three: Group) -> None:
    three.configure()
    three.ask(0, "replSetStepDown", 60)
    three.wait_for_primary(1)
    assert three.configure()["changed"] is False
    changed = three.configure(users=[{**USERS[0], "password": "another-password"}])
    assert changed["changes"] == ["password of coordinator"], changed
    assert changed["primary"] == three.servers[1].address


def test_members_come_and_go_with_the_inventory(three: Group) -> None:
    three.configure(count=1)
    assert three.hosts() == [three.servers[0].address]
    # The new machine is first in the group and runs the module: it must join, not begin a set of its own.
    three.servers.reverse()
    assert three.configure(0)["changes"] == [f"member {server.address} added" for server in three.servers[:2]]
    assert three.configure(0)["changed"] is False
    three.servers.reverse()
    told = three.configure(count=2)
    assert told["changed"] is False
    assert told["absent"] == [three.servers[2].address]
    assert "mongodb_absent_members=remove" in json.dumps(told["warnings"])
    assert len(three.hosts()) == 3
    removed = three.configure(count=2, absent_members="remove")
    assert removed["changes"] == [f"member {three.servers[2].address} removed"], removed
    assert len(three.hosts()) == 2
    assert "warnings" not in three.configure(count=2)
    refused = three.configure(1, count=2, members=[three.servers[1].address], absent_members="remove")
    assert f"{three.servers[0].address} is primary. Stop mongod there" in refused["msg"], refused


def test_a_dead_machine_is_replaced_by_one_at_another_address(tmp_path: Path) -> None:
    with mongods(tmp_path, 4, set_name=SET) as servers:
        group = Group(tmp_path, servers[:3], SET)
        group.configure()
        servers[1].stop()
        group.servers = [servers[0], servers[2], servers[3]]
        replaced = group.configure(absent_members="remove")
        assert replaced["changes"] == [f"member {servers[1].address} removed", f"member {servers[3].address} added"]
        assert group.configure()["changed"] is False


def test_one_server_with_data_grows_into_a_set_from_any_machine(tmp_path: Path) -> None:
    """It has users and no set yet; whoever runs this, its data is what the set begins with."""
    with mongods(tmp_path, 1) as (old,):
        alone = Group(tmp_path, [old], "")
        alone.configure()
    with mongods(tmp_path / "more", 2, set_name=SET) as new:
        old.document["security"]["keyFile"] = str(tmp_path / "more/mongod0/key")
        old.document["replication"] = {"replSetName": SET}
        old.start()
        try:
            group = Group(tmp_path, [new[0], old, new[1]], SET)
            assert group.configure(0)["changes"] == [
                f"set {SET} begun on {old.address}",
                f"member {new[0].address} added",
                f"member {new[1].address} added",
            ]
        finally:
            old.stop()


def test_an_unreachable_member_is_named(three: Group) -> None:
    three.servers[2].stop()
    refused = three.configure()
    assert "Whether the set pixelstream exists cannot be told" in refused["msg"]
    assert three.servers[2].address in refused["msg"]
    assert three.configure(count=2)["changed"] is True
    refused = three.configure()
    assert f"{three.servers[2].address} cannot be added" in refused["msg"], refused
    assert "Nothing listens" in refused["msg"]
    three.servers[2].start()
    assert three.configure()["changes"] == [f"member {three.servers[2].address} added"]
    three.servers[2].stop()
    assert three.configure()["changed"] is False, "two of three are enough"


def test_no_majority_no_primary(three: Group) -> None:
    three.configure()
    for server in three.servers[1:]:
        server.stop()
    three.wait_for_primary(0, False)
    refused = three.configure(seconds=1)
    assert "No member is primary after 1 s" in refused["msg"], refused
    assert "A majority of the members must run" in refused["msg"]


@contextmanager
def wrong_key(server: Mongod) -> Iterator[None]:
    server.stop()
    (server.home / "key").chmod(0o600)
    (server.home / "key").write_text("anotherkey")
    (server.home / "key").chmod(0o400)
    server.start()
    yield


def test_a_member_with_another_key_is_told(three: Group) -> None:
    with wrong_key(three.servers[2]):
        refused = three.configure()
    assert f"{three.servers[2].address} cannot be added" in refused["msg"], refused
    assert "key file" in refused["msg"]


def test_two_sets_are_not_joined(three: Group) -> None:
    three.configure(count=1)
    other = Group(three.home, three.servers[1:], SET)
    other.configure(count=1)
    refused = three.configure()
    assert "so there are two sets" in refused["msg"], refused
