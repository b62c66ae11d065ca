"""The stand-in lets do what MongoDB lets do, and says so where it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import OperationFailure

from tests.lab.mongosim.running import Mongod, mongods

ADMIN_ROLES = [{"role": "userAdminAnyDatabase", "db": "admin"}, {"role": "clusterAdmin", "db": "admin"}]
Client = MongoClient[dict[str, Any]]
Connect = Callable[..., Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    opened: list[Client] = []

    def client(server: Mongod, user: str = "", password: str = "", **other: Any) -> Client:
        login = {"username": user, "password": password} if user else {}
        settings = {"directConnection": True, "serverSelectionTimeoutMS": 3000, **login, **other}
        opened.append(MongoClient(f"mongodb://{server.address}/", **settings))
        return opened[-1]

    yield client
    for made in opened:
        made.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Mongod]:
    with mongods(tmp_path, 1) as (one,):
        yield one


def with_users(server: Mongod, connect: Connect) -> Client:
    """Make admin by the localhost exception and the others by admin; return admin's client."""
    connect(server).admin.command("createUser", "admin", pwd="admin-pw", roles=ADMIN_ROLES)
    admin = connect(server, "admin", "admin-pw")
    admin.admin.command("createUser", "coordinator", pwd="c-pw", roles=[{"role": "readWrite", "db": "site"}])
    admin.admin.command("createUser", "backup", pwd="b-pw", roles=[{"role": "backup", "db": "admin"}])
    return admin


def refused(code: int, action: Callable[[], Any]) -> str:
    with pytest.raises(OperationFailure) as caught:
        action()
    assert caught.value.code == code, caught.value
    return str(caught.value)


def test_the_localhost_exception_ends_with_the_first_user(server: Mongod, connect: Connect) -> None:
    nobody = connect(server)
    refused(13, nobody.site.title.find_one)
    refused(13, lambda: nobody.admin.command("usersInfo", "admin"))
    refused(13, lambda: nobody.site.command("createUser", "x", pwd="x", roles=[]))
    refused(76, lambda: nobody.admin.command("replSetGetStatus"))
    nobody.admin.command("createUser", "admin", pwd="admin-pw", roles=ADMIN_ROLES)
    refused(13, lambda: nobody.admin.command("createUser", "second", pwd="x", roles=[]))
    refused(13, lambda: nobody.admin.command("replSetGetStatus"))


def test_each_user_may_what_its_roles_let(server: Mongod, connect: Connect) -> None:
    admin = with_users(server, connect)
    coordinator, backup = connect(server, "coordinator", "c-pw"), connect(server, "backup", "b-pw")
    coordinator.site.title.insert_one({"_id": "sample"})
    assert backup.site.title.find_one() == {"_id": "sample"}
    refused(13, lambda: backup.site.title.insert_one({"_id": "x"}))
    refused(13, coordinator.other.title.find_one)
    refused(13, lambda: coordinator.admin.command("createUser", "x", pwd="x", roles=[]))
    refused(13, admin.site.title.find_one)
    refused(18, connect(server, "coordinator", "wrong").site.title.find_one)
    refused(18, connect(server, "nobody", "wrong").site.title.find_one)
    refused(51003, lambda: admin.admin.command("createUser", "backup", pwd="x", roles=[]))
    admin.admin.command("updateUser", "coordinator", pwd="new-pw")
    connect(server, "coordinator", "new-pw").site.title.find_one()
    refused(18, connect(server, "coordinator", "c-pw").site.title.find_one)


def test_what_is_not_modelled_is_said(server: Mongod, connect: Connect) -> None:
    admin = with_users(server, connect)
    for action in (
        lambda: admin.admin.command("shutdown"),
        lambda: admin.admin.command("createUser", "x", pwd="x", roles=[], customData={}),
        lambda: admin.admin.command("createUser", "x", pwd="x", roles=["dbOwner"]),
        lambda: connect(server, "coordinator", "c-pw").site.title.aggregate([{"$out": "x"}]),
        lambda: connect(server, "admin", "admin-pw", authMechanism="PLAIN").admin.command("usersInfo", "x"),
    ):
        assert "mongosim: not modelled" in refused(59, action)
    assert "not modelled: the command shutdown" in server.output


def test_everything_is_there_after_a_restart(server: Mongod, connect: Connect) -> None:
    with_users(server, connect)
    connect(server, "coordinator", "c-pw").site.title.insert_one({"_id": "sample"})
    server.stop()
    server.start()
    assert connect(server, "coordinator", "c-pw").site.title.count_documents({}) == 1


def test_who_initiates_with_all_members_does_not_win(tmp_path: Path, connect: Connect) -> None:
    with mongods(tmp_path, 2, set_name="set") as servers:
        members = [{"_id": number, "host": server.address} for number, server in enumerate(servers)]
        first = connect(servers[0])
        first.admin.command("replSetInitiate", {"_id": "set", "members": members})
        assert first.admin.command("hello")["isWritablePrimary"] is False
        with pytest.raises(Exception, match="not primary"):
            first.admin.command("createUser", "admin", pwd="x", roles=[])


def test_only_one_member_at_a_time_and_only_a_newer_version(tmp_path: Path, connect: Connect) -> None:
    with mongods(tmp_path, 3, set_name="set") as servers:
        hosts = [{"_id": number, "host": server.address} for number, server in enumerate(servers)]
        connect(servers[0]).admin.command("replSetInitiate", {"_id": "set", "members": hosts[:1]})
        connect(servers[0]).admin.command("createUser", "admin", pwd="admin-pw", roles=ADMIN_ROLES)
        admin = connect(servers[0], "admin", "admin-pw")
        config = admin.admin.command("replSetGetConfig")["config"]
        refused(103, lambda: admin.admin.command("replSetReconfig", {**config, "version": 9, "members": hosts}))
        refused(103, lambda: admin.admin.command("replSetReconfig", {**config, "members": hosts[:2]}))
        admin.admin.command("replSetReconfig", {**config, "version": 2, "members": hosts[:2]})
        states = {member["stateStr"] for member in admin.admin.command("replSetGetStatus")["members"]}
        assert states == {"PRIMARY", "SECONDARY"}
        # Its users came with it.
        connect(servers[1], "admin", "admin-pw").admin.command("replSetGetStatus")
        with pytest.raises(Exception, match="not primary"):
            connect(servers[1], "admin", "admin-pw").admin.command("replSetReconfig", config)


async def test_the_asynchronous_driver_finds_the_primary(tmp_path: Path, connect: Connect) -> None:
    with mongods(tmp_path, 1, set_name="set") as (one,):
        member = {"_id": 0, "host": one.address}
        await asyncio.to_thread(connect(one).admin.command, "replSetInitiate", {"_id": "set", "members": [member]})
        await asyncio.to_thread(with_users, one, connect)
        uri = f"mongodb://coordinator:c-pw@{one.address}/?replicaSet=set&authSource=admin"
        async with AsyncMongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=5000) as client:
            await client.site.title.create_index("name", unique=True)
            await client.site.title.insert_one({"_id": 1, "name": "a"})  # a retryable write
            assert await client.site.title.find_one({"name": "a"}) == {"_id": 1, "name": "a"}
