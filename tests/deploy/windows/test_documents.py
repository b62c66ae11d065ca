"""docs/windows-hosts.md says what is so."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.deploy.running import PROJECT

PAGE = (PROJECT / "docs/windows-hosts.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_every_branch_on_the_platform_is_listed() -> None:
    places = {
        path.name
        for path in (PROJECT / "runtime").rglob("*.py")
        if re.search(r"\bsys\.platform\b", path.read_text()) and "demo" not in path.parts
    }
    section = PAGE.split("## What differs in the runtime")[1].split("\n## ")[0]
    listed = {name.rsplit("/", 1)[-1] for name in re.findall(r"`([\w/]+\.py)`", section)}
    assert places <= listed, f"not in docs/windows-hosts.md: {sorted(places - listed)}"


def test_the_variables_it_names_exist() -> None:
    known: set[str] = set()
    for specs in (PROJECT / "roles").glob("*/meta/argument_specs.yml"):
        known |= set(yaml.safe_load(specs.read_text())["argument_specs"]["main"].get("options") or {})
    named = set(re.findall(r"`((?:windows_base|gpu_driver|session_server_windows|title_windows|firewall)_\w+?)`", PAGE))
    assert named - known == set()
    assert len(named) > 12


def test_the_inventory_it_shows_is_the_example_s() -> None:
    shown = yaml.safe_load(block("yaml"))
    example = yaml.safe_load((PROJECT / "inventory/example/group_vars/streaming_windows/main.yml").read_text())
    assert shown == example


def test_the_script_that_lets_ansible_in_is_balanced_and_strict() -> None:
    script = block("powershell")
    code = "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in script.splitlines())
    for opening, closing in ("()", "{}", "[]"):
        assert code.count(opening) == code.count(closing)
    assert all(line.count("'") % 2 == 0 and line.count('"') % 2 == 0 for line in code.splitlines())
    for demand in ("AllowUnencrypted' -Value $false", "Auth\\Basic' -Value $false", "-RemoteAddress $Controller"):
        assert demand in script


def test_the_script_parses_as_powershell() -> None:
    """Advisory: the grammar knows most of PowerShell, and an error in it would be a surprise."""
    grammar = pytest.importorskip("tree_sitter_powershell", reason="pip install tree-sitter tree-sitter-powershell")
    tree_sitter = pytest.importorskip("tree_sitter")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    assert not parser.parse(block("powershell").encode()).root_node.has_error
