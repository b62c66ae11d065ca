"""titles.yml: what is accepted, what is refused with which words, and what reaches the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.chassis.signing import host_key
from runtime.coordinator.registry_file import Launch, load_registry
from runtime.session_server.policy.command_line import UnknownEngineError, check_engine

from .running import load_plugin

plugin = load_plugin("playbooks/filter_plugins/pixelstream.py")

LINUX: dict[str, Any] = {"group_names": ["streaming", "streaming_linux"], "labels": {"room": "a"}}
WINDOWS: dict[str, Any] = {
    "ansible_connection": "winrm",
    "group_names": ["streaming"],
    "labels": {"room": "b", "gpu": 1},
}
HOSTS = {"lin1": LINUX, "win1": WINDOWS}
ROOTS = {"linux": "/opt/titles", "windows": "C:\\Titles"}
EDGES: dict[str, dict[str, Any]] = {
    name: {
        "control_url": "http://10.0.0.1:8750",
        "edge_url": "wss://x.test/hosts/{host}/{port}",
        "capacity": 1,
        "gpus": {},
    }
    for name in HOSTS
}
SUM = "sha256:" + "a" * 64


def faults(*titles: Any) -> list[str]:
    found: list[str] = plugin.title_faults(list(titles), HOSTS)
    return found


def test_name_and_executable_are_enough() -> None:
    assert faults({"name": "demo", "executable": "pixelstream-streamer"}) == []


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("demo", ["item 1", "mapping"]),
        ({"executable": "x"}, ["item 1 has no name"]),
        ({"name": "demo"}, ["demo has no executable"]),
        ({"name": "Demo!", "executable": "x"}, ["lower-case"]),
        ({"name": "d", "executable": "x", "idle_second": 5}, ["unknown key idle_second", "Did you mean idle_seconds?"]),
        ({"name": "d", "executable": "x", "warm": "two"}, ["warm must be a number"]),
        ({"name": "d", "executable": "x", "warm": True}, ["warm must be a number"]),
        ({"name": "d", "executable": "x", "chat": "yes"}, ["chat must be yes or no"]),
        ({"name": "d", "executable": "x", "control_policy": "anarchy"}, ["anarchy", "ask, free, owner"]),
        ({"name": "d", "executable": "x", "idle_seconds": 0}, ["idle_seconds must be above 0"]),
        ({"name": "d", "executable": "x", "engine": "unity"}, ["engine must be generic or unreal-"]),
        ({"name": "d", "executable": "x", "engine": "unreal-4.26"}, ["4.27 or newer"]),
        ({"name": "d", "executable": "x", "display_name": {"English": "D"}}, ["'English'", "language tag"]),
        ({"name": "d", "executable": {"macos": "x"}}, ["linux and windows only"]),
        (
            {"name": "d", "executable": "x", "hosts": ["lin2"]},
            ["lin2 is not in the group streaming", "Did you mean lin1?"],
        ),
        ({"name": "d", "executable": "x", "labels": {"room": "z"}}, ["no host can run it"]),
        ({"name": "d", "executable": "x.exe", "hosts": ["lin1"]}, ["no host can run it"]),
        ({"name": "d", "executable": "x", "build": {"url": "https://x.test/a"}}, ["build.url needs build.checksum"]),
        (
            {"name": "d", "executable": "x", "build": {"url": "u", "file": "f", "version": "1"}},
            ["url and file", "Keep one"],
        ),
        ({"name": "d", "executable": "x", "build": {"file": "f", "checksum": "md5:1"}}, ["sha256: and 64"]),
        ({"name": "d", "executable": "x", "build": {"share": "/mnt/x.zip"}}, ["build needs a version"]),
        ({"name": "d", "executable": "x", "build": {"file": "f", "versoin": "1"}}, ["unknown key versoin", "version"]),
        ({"name": "d", "executable": "x", "build": {"file": "f", "version": "../../etc"}}, ["letters, digits"]),
    ],
)
def test_faults_name_the_item_and_the_fix(item: Any, words: list[str]) -> None:
    found = faults(item)
    assert any(all(word in fault for word in words) for fault in found), found


def test_a_title_named_twice_is_a_fault() -> None:
    title = {"name": "d", "executable": "x"}
    assert any("there twice" in fault for fault in faults(title, title))


def test_titles_must_be_a_list() -> None:
    assert plugin.title_faults({"name": "d"}, HOSTS)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
        max_leaves=12,
    )
)
def test_no_input_breaks_the_check(value: Any) -> None:
    assert isinstance(plugin.title_faults([value, {"name": "d", "executable": value, "build": value}], HOSTS), list)


def test_titles_find_their_hosts() -> None:
    both = {"name": "d", "executable": {"linux": "run.sh", "windows": "run.exe"}}
    assert plugin.title_hosts(both, HOSTS) == ["lin1", "win1"]
    assert plugin.title_hosts({**both, "hosts": "win1"}, HOSTS) == ["win1"]
    # Labels are compared as text: YAML makes a number of 1.
    assert plugin.title_hosts({**both, "labels": {"gpu": "1"}}, HOSTS) == ["win1"]
    assert plugin.title_hosts({"name": "d", "executable": "C:\\G\\g.exe"}, HOSTS) == ["win1"]
    assert plugin.title_hosts({"name": "d", "executable": "pixelstream-streamer"}, HOSTS) == ["lin1", "win1"]


FULL: dict[str, Any] = {
    "name": "car",
    "executable": {"linux": "Car.sh", "windows": "Car\\Car.exe"},
    "display_name": {"en": "Car", "ru": "Машина"},
    "description": "A car.",
    "engine": "unreal-5.5",
    "arguments": ["-quality", 3],
    "environment": {"LEVEL": 1},
    "width": 1920,
    "height": 1080,
    "build": {"url": "https://builds.test/car.zip", "checksum": SUM, "keep": 2},
    "control_policy": "free",
    "idle_seconds": 300,
    "max_length_seconds": 3600,
    "max_players": 5,
    "chat": False,
    "warm": 1,
    "tags": ["cars"],
    "access": {"groups": ["staff"], "listed": True},
    "labels": {"room": "a"},
    "vram_bytes": 4_000_000_000,
    "host_settings": {"lin1": {"arguments": ["-low"]}},
}


def test_the_runtime_accepts_the_document(tmp_path: Path) -> None:
    """The runtime's own reader is the judge, so that both sides of the registry file cannot drift apart."""
    sample = {"name": "sample", "executable": "pixelstream-streamer"}
    assert faults(FULL, sample) == []
    document = plugin.registry_document([FULL, sample], HOSTS, EDGES, ROOTS, {})
    path = tmp_path / "registry.json"
    path.write_text(json.dumps(document))
    registry = load_registry(path)
    car, plain = registry.titles
    assert car.display_name == {"en": "Car", "ru": "Машина"}
    assert car.launch.arguments == ("-quality", "3")
    assert car.launch.environment == {"LEVEL": "1"}
    assert car.limits.idle_seconds == 300
    assert car.features.chat is False
    assert car.access.groups == ("staff",)
    assert car.needs.labels == {"room": "a"}
    assert car.needs.vram_bytes == 4_000_000_000
    assert plain.display_name == {"en": "sample"}
    lin1, win1 = registry.session_servers
    assert lin1.titles["car"].executable == "/opt/titles/car/aaaaaaaaaaaa/Car.sh"
    assert lin1.titles["car"].working_directory == "/opt/titles/car/aaaaaaaaaaaa"
    assert lin1.titles["car"].arguments == ("-low",)
    assert set(win1.titles) == {"sample"}, "the label keeps the car off win1"


def test_windows_paths() -> None:
    title = {key: value for key, value in FULL.items() if key != "labels"}
    build = plugin.host_build(title, "win1", WINDOWS, ROOTS)
    assert build["executable"] == "C:\\Titles\\car\\aaaaaaaaaaaa\\Car\\Car.exe"


def test_builds_of_a_host() -> None:
    local = {"name": "local", "executable": "/usr/bin/true"}
    (build,) = plugin.title_builds([FULL, local], "lin1", HOSTS, 1)
    assert build == {
        "title": "car",
        "version": "aaaaaaaaaaaa",
        "kind": "url",
        "source": "https://builds.test/car.zip",
        "checksum": SUM,
        "keep": 2,
        "strip": False,
        "executable": "Car.sh",
    }
    assert plugin.title_builds([FULL], "win1", HOSTS, 1) == []


def test_host_key_is_the_runtimes() -> None:
    assert plugin.host_key("secret-of-32-characters-and-more", "gpu1") == host_key(
        "secret-of-32-characters-and-more", "gpu1"
    )


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ({"engine": "embedded", "port": 27017}, "mongodb://127.0.0.1:27017/"),
        ({"engine": "external", "uri": "mongodb+srv://u:p@db.test/"}, "mongodb+srv://u:p@db.test/"),
        (
            {"engine": "packages", "port": 27017, "tls": True, "replica_set": "rs"},
            "mongodb://coordinator:p%2F%40@10.0.0.1:27017,10.0.0.2:27017/?authSource=admin&replicaSet=rs&tls=true&tlsCAFile=%2Fca.pem",
        ),
    ],
)
def test_connection_strings(database: dict[str, Any], expected: str) -> None:
    assert plugin.mongodb_uri(database, "coordinator", "p/@", ["10.0.0.1", "10.0.0.2"], "/ca.pem") == expected


def test_one_address_for_each_machine() -> None:
    hosts = [
        {"inventory_hostname": "a", "ansible_host": "203.0.113.1", "private_address": "10.0.0.1"},
        {"inventory_hostname": "b", "ansible_host": "203.0.113.2"},
        {"inventory_hostname": "c.lan"},
    ]
    assert plugin.addresses(hosts) == ["10.0.0.1", "203.0.113.2", "c.lan"]


def test_alternative_names_and_resolvable_places() -> None:
    assert plugin.alternative_names(["play.test", "10.0.0.1", "fd00::1"]) == "DNS:play.test,IP:10.0.0.1,IP:fd00::1"
    assert plugin.names_only(["10.0.0.1", "gpu.lan"]) == ["gpu.lan"]


def test_random_secrets_differ_and_are_long() -> None:
    first, second = plugin.random_secret("a"), plugin.random_secret("a")
    assert first != second
    assert len(first) >= 43


@pytest.mark.parametrize(
    "engine",
    ["generic", "unreal-4.27", "unreal-5.0", "unreal-5.5-ps1", "unreal-5.10", "unreal-4.26", "unreal-6.0", "unity"],
)
def test_inventory_registry_and_hosts_know_the_same_engines(engine: str) -> None:
    verdicts = [bool(plugin.ENGINE.fullmatch(engine))]
    for ask in (check_engine, lambda name: msgspec.convert({"engine": name}, Launch)):
        try:
            ask(engine)
        except (UnknownEngineError, msgspec.ValidationError):
            verdicts.append(False)
        else:
            verdicts.append(True)
    assert len(set(verdicts)) == 1, verdicts
