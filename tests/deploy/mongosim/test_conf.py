"""The stand-in refuses the configuration that mongod would refuse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.running import PROJECT
from tests.lab.mongosim.conf import Configuration, load
from tests.lab.mongosim.errors import StartError
from tests.lab.mongosim.running import certificates

Load = Callable[[dict[str, Any]], Configuration]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    def read(document: dict[str, Any]) -> Configuration:
        file = tmp_path / "mongod.conf"
        file.write_text(yaml.safe_dump({"storage": {"dbPath": str(tmp_path)}, **document}))
        return load(file)

    return read


def test_a_whole_configuration(loaded: Load, tmp_path: Path) -> None:
    certificate, authority = certificates(tmp_path / "tls")
    (tmp_path / "key").write_text("abc\ndef+/=\n")
    (tmp_path / "key").chmod(0o400)
    tls = {
        "mode": "requireTLS",
        "certificateKeyFile": certificate,
        "CAFile": authority,
        "allowConnectionsWithoutCertificates": True,
    }
    configuration = loaded(
        {
            "net": {"port": 27117, "bindIp": "127.0.0.1,127.0.0.2", "tls": tls},
            "security": {"keyFile": str(tmp_path / "key")},
            "replication": {"replSetName": "set"},
        }
    )
    assert configuration.own_hosts == {"127.0.0.1:27117", "127.0.0.2:27117"}
    assert configuration.authorization, "a key file turns it on"
    assert configuration.key == "abcdef+/=", "white space does not count"
    assert configuration.listening_context()


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"net": {"bind_ip": "127.0.0.1"}}, "Unrecognized option: net.bind_ip"),
        ({"net": {"port": "27017"}}, "net.port must be of type int"),
        ({"net": {"tls": {"mode": "preferTLS"}}}, "not modelled"),
        ({"net": {"tls": {"mode": "requireTLS", "certificateKeyFile": "/x"}}}, "chain of trust"),
        ({"systemLog": {"destination": "syslog"}}, "not modelled"),
        ({"systemLog": {"destination": "file", "path": "/x", "logRotate": "reopen"}}, "logAppend"),
        ({"storage": {"dbPath": "/nowhere"}}, "not found"),
        ({"storage": {"wiredTiger": {"engineConfig": {"cacheSizeGB": 0.1}}}}, "0.25"),
        ({"security": {"keyFile": "/nowhere"}}, "Error reading file"),
        ({"security": {"authorization": "enabled"}, "replication": {"replSetName": "set"}}, "keyFile is required"),
    ],
)
def test_what_mongod_does_not_start_with(loaded: Load, document: dict[str, Any], word: str) -> None:
    with pytest.raises(StartError, match=word):
        loaded(document)


@pytest.mark.parametrize(
    ("text", "mode", "word"),
    [
        ("abcdef", 0o440, "too open"),
        ("abc-def_ghi", 0o400, "invalid char"),
        ("abcde", 0o400, "length 5"),
    ],
)
def test_key_files_that_mongod_refuses(loaded: Load, tmp_path: Path, text: str, mode: int, word: str) -> None:
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(StartError, match=word):
        loaded({"security": {"keyFile": str(tmp_path / "key")}})


def test_it_says_why_it_ends(tmp_path: Path) -> None:
    (tmp_path / "mongod.conf").write_text("net: {port: x}\n")
    command = [sys.executable, "-m", "tests.lab.mongosim", "--config", str(tmp_path / "mongod.conf")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "net.port must be of type int" in done.stderr
