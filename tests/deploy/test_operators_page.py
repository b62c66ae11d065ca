"""docs/operators.md, followed word for word: its files are written, its commands are run, in a copy of this checkout.

Only what a page cannot know is added: that the example's address is a lab machine's, and the key to reach it. It has
Debian 13; the scenarios' coordinators have Debian 12.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .lab import Lab
from .running import PROJECT

EXAMPLE_ADDRESS = "203.0.113.10"
LAB_ADDRESS = "10.213.88.41"
BLOCK = re.compile(r"^```(sh|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Preparing the checkout is what CI has done before it comes here; what the page says of it is checked below.
PREPARED = {"make operate", ". .venv/bin/activate"}
# A first installation has no release to go back to; the page says so.
REFUSED = {"ansible-playbook playbooks/rollback.yml -i inventory/mine": "there is nothing to go back to"}


def steps() -> list[tuple[str, str]]:
    """Return the page's blocks in order: (``sh``, commands) or (path of a file, its content)."""
    found = []
    for kind, text in BLOCK.findall((PROJECT / "docs/operators.md").read_text()):
        if kind == "sh":
            found.append(("sh", text))
        else:
            first = text.splitlines()[0]
            assert first.startswith("# inventory/mine/"), f"a file block must name its file in the first line: {first}"
            found.append((first.removeprefix("# "), text))
    return found


def test_the_page_names_only_playbooks_that_exist() -> None:
    text = (PROJECT / "docs/operators.md").read_text()
    named = set(re.findall(r"`([a-z_]+\.yml)[` ]", text)) | set(re.findall(r"playbooks/([a-z_]+\.yml)", text))
    present = {path.name for path in (PROJECT / "playbooks").glob("*.yml")}
    assert {name for name in named if name not in {"titles.yml", "hosts.yml", "main.yml", "vault.yml"}} <= present
    assert present - {"site.yml", "verify.yml"} <= named, "every playbook is explained"


def test_the_page_prepares_the_checkout_with_targets_that_exist() -> None:
    commands = [line for kind, text in steps() if kind == "sh" for line in text.splitlines()]
    assert commands[:2] == ["make operate", ". .venv/bin/activate"]
    assert re.search(r"^lint:", (PROJECT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.root
@pytest.mark.timeout(900)
def test_first_use_word_for_word(lab: Lab, checkout: Path) -> None:
    lab.up("operators", LAB_ADDRESS, suite="trixie")
    environment = lab.environment(checkout)
    for kind, text in steps():
        if kind != "sh":
            path = checkout / kind
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace(EXAMPLE_ADDRESS, LAB_ADDRESS))
            continue
        for command in text.splitlines():
            if command in PREPARED:
                continue
            result = subprocess.run(
                ["bash", "-euc", command],
                cwd=checkout,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=400,
            )
            said = result.stdout + result.stderr
            if command in REFUSED:
                assert result.returncode != 0
                assert REFUSED[command] in " ".join(said.split())
                continue
            assert result.returncode == 0, f"$ {command}\n{said[-6000:]}"
    vault = checkout / "inventory/mine/group_vars/all/vault.yml"
    assert vault.stat().st_mode & 0o077 == 0
    assert list((checkout / "inventory/mine/backups").iterdir())
    status, titles = lab.ask(
        "play.example.org", LAB_ADDRESS, "/api/v1/titles", checkout / "inventory/mine/.authority/authority.pem"
    )
    assert status == 200
    assert [title["name"] for title in titles["items"]] == ["sample", "tour"]
