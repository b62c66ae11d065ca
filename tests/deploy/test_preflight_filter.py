"""Preflight: each fault of inventory or machine becomes a sentence that names its fix."""

from __future__ import annotations

from typing import Any

import pytest

from .running import PROJECT, load_plugin

plugin = load_plugin("playbooks/filter_plugins/preflight.py")
names = load_plugin("playbooks/filter_plugins/pixelstream.py")

GROUPS = {"coordinator": ["hub"], "streaming": ["gpu1"]}
HUB: dict[str, Any] = {
    "inventory_hostname": "hub",
    "group_names": ["coordinator"],
    "public_name": "play.test",
    "private_address": "10.0.0.1",
    "vault_control_secret": "c" * 43,
    "vault_cookie_secret": "d" * 43,
    "vault_token_signing_key": "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----",
}
GPU: dict[str, Any] = {**HUB, "inventory_hostname": "gpu1", "group_names": ["streaming"], "private_address": "10.0.0.2"}
FACTS = {"distribution": "Debian", "distribution_version": "12.5", "architecture": "x86_64"}
LIMITS: dict[str, Any] = {
    "systems": {"Debian": ["12", "13"], "Ubuntu": ["24.04"]},
    "disk_free_bytes": 3_000_000_000,
    "clock_difference_seconds": 5.0,
    "round_trip_seconds": 3.0,
}
LOOK: dict[str, Any] = {
    "effective_user_id": 0,
    "user": "root",
    "free_bytes": {"/opt": 9_000_000_000},
    "clock_difference_seconds": 0.5,
    "listeners": [],
    "addresses": {"play.test": ["10.0.0.1"]},
    "ufw_enabled": False,
}


def test_a_good_inventory_has_no_finding() -> None:
    for host in (HUB, GPU):
        assert plugin.inventory_findings(host, GROUPS) == []
        assert plugin.secret_findings(host) == []
        assert plugin.machine_findings(LOOK, host, FACTS, LIMITS) == []


@pytest.mark.parametrize(
    ("change", "groups", "words"),
    [
        ({"inventory_hostname": "GPU_1!"}, GROUPS, "lower-case"),
        ({}, {"streaming": ["gpu1"]}, "group coordinator"),
        ({"public_name": ""}, GROUPS, "public_name is missing"),
        ({"private_address": ""}, GROUPS, "private_address is missing"),
        ({"edge_mode": "sideways"}, GROUPS, "central or direct"),
        ({"edge_mode": "direct"}, GROUPS, "host_public_name"),
        ({"relay_port_first": 80}, GROUPS, "1024 to 65535"),
        ({"relay_port_first": 65500}, GROUPS, "1024 to 65535"),
        ({"relay_port_count": 2, "capacity": 3}, GROUPS, "Raise relay_port_count"),
        (
            {"group_names": ["coordinator"]},
            {"coordinator": ["hub", "gpu1"]},
            "the embedded database serves one machine",
        ),
        (
            {"group_names": ["coordinator"], "mongodb_engine": "packages"},
            {"coordinator": ["hub", "gpu1"]},
            "into the group mongodb",
        ),
        (
            {"group_names": ["coordinator"], "mongodb_engine": "packages"},
            {"coordinator": ["gpu1"], "mongodb": ["a", "b"]},
            "Use one or three",
        ),
        (
            {"group_names": ["mongodb"], "mongodb_engine": "packages", "private_address": ""},
            GROUPS,
            "private_address is missing",
        ),
        (
            {"group_names": ["coordinator"], "tls_mode": "files", "tls_private_key_file": "/nowhere/site.key"},
            GROUPS,
            "tls_private_key_file is /nowhere/site.key, but this computer has no such file",
        ),
        (
            {"group_names": ["coordinator", "turn"], "turn_tls_port": 443},
            GROUPS,
            "turn_tls_port is 443, which nginx has",
        ),
        (
            {"tls_mode": "acme", "tls_private_authority_file": "authority.pem"},
            GROUPS,
            "tls_private_authority_file is authority.pem, which is no full path",
        ),
        (
            {"tls_mode": "acme", "tls_acme_authority_file": "/nowhere/acme.pem"},
            GROUPS,
            "tls_acme_authority_file",
        ),
        (
            {"group_names": ["mongodb"], "mongodb_engine": "packages", "mongodb_repository_key": "/nowhere/key.asc"},
            GROUPS,
            "mongodb_repository_key",
        ),
    ],
)
def test_inventory_findings(change: dict[str, Any], groups: dict[str, list[str]], words: str) -> None:
    found = plugin.inventory_findings({**GPU, **change}, groups)
    assert any(words in finding for finding in found), found


@pytest.mark.parametrize(
    "change",
    [
        {"tls_private_authority_file": "/nowhere/authority.pem"},  # own_ca reads none
        {"tls_mode": "acme", "tls_private_authority_file": __file__, "tls_acme_authority_file": ""},
        {"mongodb_repository_key": "/nowhere/key.asc"},  # of no use to the embedded database
    ],
)
def test_only_files_that_are_read_are_looked_for(change: dict[str, Any]) -> None:
    assert plugin.inventory_findings({**GPU, **change}, GROUPS) == []


@pytest.mark.parametrize(
    ("host", "change", "words"),
    [
        (HUB, {"vault_control_secret": ""}, "vault has no vault_control_secret"),
        (GPU, {"vault_control_secret": None}, "vault has no vault_control_secret"),
        (HUB, {"vault_cookie_secret": "short"}, "shorter than 16"),
        (HUB, {"vault_token_signing_key": "x" * 40}, "no PEM private key"),
        (HUB, {"mongodb_engine": "external"}, "vault_mongodb_uri"),
        (HUB, {"mongodb_engine": "packages"}, "vault_mongodb_admin_password"),
        (HUB, {"mongodb_engine": "packages", "groups": {"mongodb": ["a", "b", "c"]}}, "vault_mongodb_key_file"),
        ({**HUB, "group_names": ["turn"]}, {}, "vault_turn_secret"),
    ],
)
def test_secret_findings(host: dict[str, Any], change: dict[str, Any], words: str) -> None:
    found = plugin.secret_findings({**host, **change})
    assert any(words in finding and "secrets.yml" in finding for finding in found), found


@pytest.mark.parametrize(
    ("look", "facts", "words"),
    [
        ({}, {"distribution": "Fedora"}, "this is Fedora"),
        ({}, {"distribution_version": "11"}, "Debian 12/13"),
        ({}, {"architecture": "riscv64"}, "riscv64"),
        ({"free_bytes": {"/opt": 1_000_000}}, {}, "1 MB free, but 3000 MB"),
        ({"free_bytes": {"/opt": 1_000_000, "/var": 1_000_000}}, {}, "/opt and /var: 1 MB free"),
        ({"effective_user_id": 1000, "user": "debian"}, {}, "debian is not root"),
        ({"clock_difference_seconds": 100.0}, {}, "100 s ahead of"),
        ({"clock_difference_seconds": -100.0}, {}, "100 s behind"),
        ({"addresses": {"play.test": []}}, {}, "does not know the name play.test"),
        ({"ufw_enabled": True}, {}, "ufw disable"),
        (
            {"listeners": [{"protocol": "udp", "port": 8900, "command": "/usr/bin/other -x"}]},
            {},
            "udp 8900 by /usr/bin/other",
        ),
        (
            {"listeners": [{"protocol": "tcp", "port": 8750, "command": "python3 app"}]},
            {},
            "set session_server_listen_port",
        ),
    ],
)
def test_machine_findings(look: dict[str, Any], facts: dict[str, Any], words: str) -> None:
    found = plugin.machine_findings({**LOOK, **look}, GPU, {**FACTS, **facts}, LIMITS)
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(
    ("group", "change", "listener", "words"),
    [
        ("turn", {}, ("udp", 49200), "set turn_first_port to other ports"),
        ("turn", {}, ("tcp", 3478), "tcp 3478 by /usr/bin/other. Stop that program."),
        ("turn", {"turn_tls_port": 443}, ("tcp", 443), "set turn_tls_port to other ports"),
        ("observability", {}, ("tcp", 9090), "tcp 9090 by"),
        ("mongodb", {"mongodb_engine": "packages"}, ("tcp", 27017), "set mongodb_listen_port"),
    ],
)
def test_ports_of_every_group_are_looked_at(
    group: str, change: dict[str, Any], listener: tuple[str, int], words: str
) -> None:
    host = {**HUB, "group_names": [group], **change}
    taken = {"protocol": listener[0], "port": listener[1], "command": "/usr/bin/other"}
    (found,) = plugin.machine_findings({**LOOK, "listeners": [taken]}, host, FACTS, LIMITS)
    assert words in found


def test_our_own_services_do_not_take_our_ports() -> None:
    listeners = [
        {"protocol": "tcp", "port": 443, "command": "nginx: master process /usr/sbin/nginx"},
        {
            "protocol": "tcp",
            "port": 8100,
            "command": "/opt/pixelstream/releases/1-a/bin/python /opt/pixelstream/current/bin/pixelstream coordinator",
        },
        {"protocol": "tcp", "port": 22, "command": "sshd"},
    ]
    assert plugin.machine_findings({**LOOK, "listeners": listeners}, HUB, FACTS, LIMITS) == []


def test_misspelt_variables_are_found_with_the_right_spelling() -> None:
    known = plugin.known_variables(str(PROJECT / "roles"))
    found = names.unknown_names(["public_nmae", "nginx_http_port", "ansible_host", "_derived"], known)
    assert found == [
        "the variable public_nmae is read by nothing. Did you mean public_name? Correct it, remove it, or list it in "
        "preflight_known_variables."
    ]


def test_every_shared_fact_is_described_in_the_example() -> None:
    example = "\n".join(path.read_text() for path in sorted((PROJECT / "inventory/example").rglob("*.yml")))
    missing = [name for name in plugin.SHARED_FACTS if name not in example]
    assert not missing, "describe them in inventory/example"


def test_every_switch_of_a_playbook_is_known_and_described() -> None:
    page = (PROJECT / "docs/operators.md").read_text()
    assert [name for name in plugin.SWITCHES if f"-e {name}=" not in page] == []
    assert names.unknown_names(plugin.SWITCHES, plugin.known_variables(str(PROJECT / "roles"))) == []


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ({"subject_alt_name": ["DNS:other.test"], "valid_at": {"soon": True}}, "for other.test, not for play.test"),
        ({"subject_alt_name": ["DNS:play.test"], "expired": True, "not_after": "x"}, "ended at x"),
        (
            {"subject_alt_name": ["DNS:play.test"], "valid_at": {"soon": False}, "not_after": "x"},
            "in less than 14 days",
        ),
    ],
)
def test_certificate_findings(certificate: dict[str, Any], words: str) -> None:
    (found,) = plugin.certificate_findings(certificate, ["play.test"], 14)
    assert words in found


def test_a_wildcard_certificate_fits() -> None:
    good = {"subject_alt_name": ["DNS:*.test"], "valid_at": {"soon": True}}
    assert plugin.certificate_findings(good, ["play.test"], 14) == []


@pytest.mark.parametrize("provider", ["ufw", "none"])
def test_ufw_is_welcome_where_it_is_chosen(provider: str) -> None:
    assert (
        plugin.machine_findings({**LOOK, "ufw_enabled": True}, {**GPU, "firewall_provider": provider}, FACTS, LIMITS)
        == []
    )
