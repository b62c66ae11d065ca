"""docs/windows-hosts.md says what is so."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.deploy.running import PROJECT

PAGE = (PROJECT / "docs/windows-hosts.md").read_text()


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found


def test_every_branch_on_the_platform_is_listed_and_nothing_else() -> None:
    asks = re.compile(r"\bsys\.platform\b|\bos\.name\b|platform\.system\(\) [!=]=")
    runtime = PROJECT / "runtime"
    places = {str(path.relative_to(PROJECT)) for path in runtime.rglob("*.py") if asks.search(path.read_text())}
    section = PAGE.split("## What differs in the runtime")[1].split("\n## ")[0]
    assert places == set(re.findall(r"^\| `([\w/]+\.py)` \|", section, re.MULTILINE))


def test_the_variables_it_names_exist() -> None:
    known: set[str] = set()
    for specs in (PROJECT / "roles").glob("*/meta/argument_specs.yml"):
        known |= set(yaml.safe_load(specs.read_text())["argument_specs"]["main"].get("options") or {})
    named = set(re.findall(r"`((?:windows_base|gpu_driver|session_server_windows|title_windows|firewall)_\w+?)`", PAGE))
    assert named - known == set()
    assert len(named) > 12


def test_the_inventory_it_shows_is_the_example_s() -> None:
    shown = yaml.safe_load(blocks("yaml")[0])
    example = yaml.safe_load((PROJECT / "inventory/example/group_vars/streaming_windows/main.yml").read_text())
    assert shown == example


def test_the_script_that_lets_ansible_in_is_strict_and_one_block() -> None:
    script = blocks("powershell")[0]
    for demand in ("AllowUnencrypted' -Value $false", "Auth\\Basic' -Value $false", "-RemoteAddress $Controller"):
        assert demand in script
    # A console that gets it line by line must not answer Read-Host with the next line.
    assert script.startswith("& {\n")
    assert script.endswith("\n}\n")


@pytest.mark.parametrize("number", range(len(blocks("powershell"))))
def test_scripts_parse_as_powershell(number: int) -> None:
    """The grammar knows most of PowerShell, not all; it must know what people are asked to run as administrators."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    assert parser.parse(b"if ($true) { Get-Item 'x'").root_node.has_error, "the parser sees nothing wrong in anything"
    assert not parser.parse(blocks("powershell")[number].encode()).root_node.has_error


def test_the_certificate_for_logging_on_is_one(tmp_path: Path) -> None:
    (command,) = [line for line in "".join(blocks("sh")).splitlines() if line.startswith("openssl ")]
    subprocess.run(shlex.split(command), cwd=tmp_path, check=True, capture_output=True, timeout=60)
    made = x509.load_pem_x509_certificate((tmp_path / "winrm-client.pem").read_bytes())
    usages = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    # Hosts take it among their roots, so it must not be able to sign others.
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    (name,) = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert isinstance(name, x509.OtherName)
    # Microsoft's user principal name, by which Windows maps the certificate to an account.
    assert name.type_id.dotted_string == "1.3.6.1.4.1.311.20.2.3"
    assert name.value.endswith(b"ansible@localhost")
