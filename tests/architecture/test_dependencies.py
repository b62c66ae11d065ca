"""docs/dependencies.md has one row for each package that we name ourselves, about the version that is locked."""

from __future__ import annotations

import json
import re
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "dependencies.md"
ROW = re.compile(r"^\| ([@\w./-]+) \| ([\d.]+(?:, [\d.]+)*) \| (\d{4}-\d\d-\d\d)", re.MULTILINE)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _documented() -> dict[str, set[str]]:
    rows = ROW.findall(DOCUMENT.read_text())
    names = [name for name, _, _ in rows]
    assert len(names) == len(set(names)), "a package has two rows"
    return {name: set(versions.split(", ")) for name, versions, _ in rows}


def _locked_python() -> dict[str, set[str]]:
    versions: dict[str, set[str]] = defaultdict(set)
    for lock in (ROOT / "requirements").glob("*.txt"):
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE):
            versions[_normal(name)].add(version)
    return versions


def _wanted() -> dict[str, set[str]]:
    """What pyproject.toml and package.json name, with the locked versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    locked = _locked_python()
    named = {_normal(re.match(r"[\w.-]+", line)[0]) for group in groups for line in group}  # type: ignore[index]
    unlocked = named - set(locked)
    assert not unlocked, f"pyproject.toml names what no lock file has, so nothing ever installs it: {sorted(unlocked)}"
    pages = json.loads((ROOT / "runtime" / "web" / "package.json").read_text())
    return {name: locked[name] for name in named} | {
        name: {version} for name, version in {**pages["dependencies"], **pages["devDependencies"]}.items()
    }


def test_every_dependency_has_its_row_and_every_row_its_dependency() -> None:
    documented, wanted = _documented(), _wanted()
    assert documented.keys() == wanted.keys()
    stale = {name: sorted(versions) for name, versions in wanted.items() if documented[name] != versions}
    assert not stale, f"docs/dependencies.md speaks of other versions than these: {stale}"
