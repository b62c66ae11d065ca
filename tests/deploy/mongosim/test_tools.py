"""The stand-ins for mongodump and mongorestore bring back what was there, and refuse arguments they do not know."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests.deploy.running import PROJECT
from tests.lab.mongosim.running import Mongod, mongods


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.lab.mongosim.tools", name, *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)


def users(server: Mongod) -> None:
    roles = ("userAdminAnyDatabase", "clusterAdmin")
    with MongoClient[dict[str, object]](f"mongodb://{server.address}/") as client:
        client.admin.command("createUser", "admin", pwd="pw", roles=[{"role": role, "db": "admin"} for role in roles])
    with MongoClient[dict[str, object]](f"mongodb://admin:pw@{server.address}/") as admin:
        admin.admin.command("createUser", "site", pwd="pw", roles=[{"role": "readWrite", "db": "site"}])
        admin.admin.command("createUser", "backup", pwd="pw", roles=["backup", "restore"])


def test_there_and_back(tmp_path: Path) -> None:
    config, archive = tmp_path / "tool.yml", f"--archive={tmp_path / 'archive'}"
    with mongods(tmp_path, 1) as (server,):
        users(server)
        config.write_text(f"uri: {json.dumps(f'mongodb://backup:pw@{server.address}/?authSource=admin')}\n")
        with MongoClient[dict[str, object]](f"mongodb://site:pw@{server.address}/?authSource=admin") as client:
            client.site.title.insert_many([{"_id": "a", "n": 1}, {"_id": "b", "n": 2}])
            client.site.title.create_index("n", unique=True)
            done = tool("mongodump", f"--config={config}", "--db=site", "--gzip", archive)
            assert done.returncode == 0, done.stderr
            client.site.title.delete_one({"_id": "a"})
            client.site.title.insert_one({"_id": "c", "n": 3})
            done = tool("mongorestore", f"--config={config}", "--nsInclude=site.*", "--drop", "--gzip", archive)
            assert done.returncode == 0, done.stderr
            assert [document["_id"] for document in client.site.title.find(sort=[("_id", 1)])] == ["a", "b"]
            indexes = client.site.title.index_information().values()  # whose names are the engine's own
            assert [index["key"] for index in indexes if index.get("unique")] == [[("n", 1)]]


@pytest.mark.parametrize(
    "arguments",
    [
        ["mongodump", "--db=site", "--gzip", "--archive=x"],
        ["mongodump", "--config=x", "--db=site", "--gzip", "--archive=x", "--oplog"],
        ["mongorestore", "--config=x", "--nsInclude=site.*", "--gzip", "--archive=x"],
    ],
)
def test_other_arguments_are_refused(arguments: list[str]) -> None:
    assert tool(*arguments).returncode == 2
