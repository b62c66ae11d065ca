"""Every role says what it takes, its defaults are exactly that, and it refuses what it cannot work with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import role_documents
from .running import PROJECT, Run

ROLES = sorted(path.parents[1] for path in (PROJECT / "roles").glob("*/meta/argument_specs.yml"))
WANTED = {
    "preflight",
    "runtime_install",
    "mongodb",
    "coordinator",
    "nginx",
    "tls",
    "firewall",
    "session_server",
    "windows_base",
    "gpu_driver",
    "title",
    "registry",
    "turn",
    "observability",
}


def test_all_roles_are_there() -> None:
    assert {role.name for role in ROLES} == WANTED
    assert {path.name for path in (PROJECT / "roles").iterdir() if path.is_dir()} == WANTED


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_equal_the_specification(role: Path) -> None:
    options = role_documents.specification(role).get("options", {})
    defaults: dict[str, Any] = yaml.safe_load((role / "defaults/main.yml").read_text()) or {}
    expected = {name: option["default"] for name, option in options.items() if not option.get("required")}
    assert defaults == expected
    for name, option in options.items():
        assert name.startswith(f"{role.name}_"), f"{name} does not carry its role's name"
        assert option["description"], name
        assert not option.get("required") or "default" not in option, name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_literal_defaults_have_the_type_they_claim(role: Path) -> None:
    types = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict, "path": str, "float": float}
    for name, option in role_documents.specification(role).get("options", {}).items():
        value = option.get("default")
        if isinstance(value, str) and "{{" in value:
            continue  # decided when the play runs; the argument specification checks it there
        assert isinstance(value, types[option.get("type", "str")]), name
        if "choices" in option:
            assert value in option["choices"], name


def test_generated_files_are_current() -> None:
    stale = [str(path.relative_to(PROJECT)) for path in role_documents.stale()]
    assert not stale, "run: python tests/deploy/role_documents.py"


def test_secrets_are_marked() -> None:
    for role in ROLES:
        for name, option in role_documents.specification(role).get("options", {}).items():
            if re.search(r"(password|secret|signing_key|_uri)$", name) or "vault_" in str(option.get("default", "")):
                assert option.get("no_log") is True, f"{name} may hold a secret, so it needs no_log: true"


def test_every_variable_a_role_uses_exists() -> None:
    """A misspelt variable with a default is silently ignored by Ansible; here it is found."""
    known = set()
    for role in ROLES:
        known |= set(role_documents.specification(role).get("options", {}))
    # Facts that a role leaves for others, under its own name.
    for role in ROLES:
        for path in role.glob("tasks/*.yml"):
            known |= set(re.findall(rf"^ +({role.name}_[a-z0-9_]+):", path.read_text(), re.MULTILINE))
    own = re.compile(rf"\b(?:{'|'.join(sorted(WANTED))})_[a-z0-9_]+\b")
    unknown = set()
    for role in ROLES:
        files = [
            path
            for folder in ("tasks", "templates", "vars", "handlers")
            for path in role.glob(f"{folder}/**/*")
            if path.is_file()
        ]
        text = "\n".join(path.read_text() for path in files)
        made_here = set(re.findall(r"^\s*(?:register:\s*)?(_{0,2}[a-z_0-9]+):?\s", text, re.MULTILINE))
        made_here |= set(re.findall(r"(?:register|loop_var|index_var): ([a-z_0-9]+)", text))
        for expression in re.findall(
            r"\{\{.*?\}\}|\{%.*?%\}|(?:when|that|until|failed_when|changed_when|loop):.*?$",
            text,
            re.DOTALL | re.MULTILINE,
        ):
            without_texts = re.sub(r"'[^']*'", "''", expression)
            read = set(own.findall(without_texts))
            unknown |= {f"roles/{role.name} reads {name}" for name in read - known - made_here - WANTED}
    assert not unknown, "no role defines what it reads"


NEGATIVE = {
    "tls": ({"tls_mode": "magic"}, "magic"),
    "nginx": ({"nginx_edge_mode": "sideways"}, "sideways"),
    "mongodb": ({"mongodb_engine": "postgres"}, "postgres"),
    "coordinator": ({"coordinator_instances": "many"}, "coordinator_instances"),
    "session_server": ({"session_server_capacity": "lots"}, "session_server_capacity"),
    "title": ({"title_items": "demo"}, "title_items"),
    "registry": ({"registry_prune": "perhaps"}, "registry_prune"),
    "runtime_install": ({"runtime_install_keep": "all"}, "runtime_install_keep"),
    "firewall": ({"firewall_provider": "moat"}, "moat"),
    "turn": ({"turn_first_port": "first"}, "turn_first_port"),
    "observability": ({"observability_scrape_seconds": "often"}, "observability_scrape_seconds"),
    "preflight": ({"preflight_udp": "sometimes"}, "preflight_udp"),
}


def test_wrong_values_are_refused_by_name(ansible: Run, tmp_path: Path) -> None:
    """One play for each role with one wrong value: the role fails at its door and names the variable or the value."""
    plays = [
        {
            "name": f"Wrong value for {role}",
            "hosts": "all",
            "gather_facts": False,
            "vars": values,
            "tasks": [
                {
                    "name": "Refuse it",
                    "block": [{"name": "Enter", "ansible.builtin.include_role": {"name": role}}],
                    "rescue": [
                        {
                            "name": "Note what was said",
                            "ansible.builtin.debug": {
                                "msg": f"REFUSED {role} {{{{ ansible_failed_result.argument_errors | join(' ') }}}}"
                            },
                        }
                    ],
                }
            ],
        }
        for role, (values, _) in NEGATIVE.items()
    ]
    playbook = tmp_path / "negative.yml"
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
    inventory = tmp_path / "hosts.yml"
    facts = {
        "ansible_connection": "local",
        "public_name": "x.test",
        "private_address": "127.0.0.1",
        "ansible_facts": {"os_family": "Debian"},
    }
    inventory.write_text(
        yaml.safe_dump(
            {
                "all": {
                    "hosts": {"box": facts},
                    "children": {"coordinator": {"hosts": {"box": None}}, "streaming": {"hosts": {"box": None}}},
                }
            }
        )
    )
    result = ansible("ansible-playbook", "-i", str(inventory), str(playbook), ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    for role, (_, word) in NEGATIVE.items():
        said = re.search(rf"REFUSED {role} (.*)", result.stdout)
        assert said, f"{role} took a wrong value\n{result.stdout[-3000:]}{result.stderr[-2000:]}"
        assert word in said.group(1), said.group(0)
