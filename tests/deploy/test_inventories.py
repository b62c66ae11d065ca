"""The inventories that come with the project are right, so that copying them is a good start."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from .running import PROJECT, Run, load_plugin

titles = load_plugin("playbooks/filter_plugins/pixelstream.py")
preflight = load_plugin("playbooks/filter_plugins/preflight.py")
ANSIBLE_OWN = ("ansible_",)


def hosts_of(ansible: Run, name: str) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """Return every host's variables, and the hosts of every group, as Ansible reads the inventory."""
    result = ansible("ansible-inventory", "-i", f"inventory/{name}", "--list")
    assert result.returncode == 0, result.stderr
    listing = json.loads(result.stdout)

    def members(group: str) -> list[str]:
        entry = listing.get(group, {})
        return sorted(
            {*entry.get("hosts", []), *(host for child in entry.get("children", []) for host in members(child))}
        )

    groups = {group: members(group) for group in listing if group != "_meta"}
    hosts = {
        host: {
            **variables,
            "inventory_hostname": host,
            "group_names": [group for group, inside in groups.items() if host in inside],
        }
        for host, variables in listing["_meta"]["hostvars"].items()
    }
    return hosts, groups


@pytest.mark.parametrize("name", ["local", "example"])
def test_preflight_finds_nothing_but_missing_secrets(ansible: Run, name: str) -> None:
    hosts, groups = hosts_of(ansible, name)
    known = preflight.known_variables(str(PROJECT / "roles"))
    streaming = {host: hosts[host] for host in groups["streaming"]}
    assert groups["coordinator"]
    assert streaming
    for variables in hosts.values():
        own = [key for key in variables if key not in ("inventory_hostname", "group_names")]
        assert titles.unknown_names(own, known) == []
        assert preflight.inventory_findings(variables, groups) == []
    listed = yaml.safe_load((PROJECT / f"inventory/{name}/titles.yml").read_text())["titles"]
    assert titles.title_faults(listed, streaming) == []
    for variables in streaming.values():
        assert any("vault_control_secret" in finding for finding in preflight.secret_findings(variables))


def test_the_example_shows_every_key_of_a_title() -> None:
    text = (PROJECT / "inventory/example/titles.yml").read_text()
    assert [key for key in titles.TITLE_KEYS if f"{key}:" not in text] == []
