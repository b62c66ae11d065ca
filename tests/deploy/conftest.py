"""Run one of Ansible's commands in the checkout."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.winsim import scenario

from .lab import Lab, missing
from .rendering import render
from .running import BIN, PROJECT, Run, ansible_environment
from .serving import Running

NO_ANSIBLE = "Ansible is not installed in this environment: pip install --requirement requirements/deploy.txt"


@pytest.fixture
def ansible(tmp_path: Path) -> Run:
    """Run one of Ansible's commands in the checkout; the result is returned whatever the exit code."""
    if not (BIN / "ansible-playbook").exists():
        pytest.skip(NO_ANSIBLE)

    def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=PROJECT,
            env=ansible_environment(tmp_path / "ansible") | variables,
            capture_output=True,
            text=True,
            timeout=110,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every template, rendered once for all tests; the directory of each layout by name."""
    if not (BIN / "ansible-playbook").exists():
        pytest.skip(NO_ANSIBLE)
    return render(tmp_path_factory.mktemp("render"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all simulated Windows hosts of a run have in common."""
    if not (BIN / "ansible-playbook").exists():
        pytest.skip(NO_ANSIBLE)
    folder = tmp_path_factory.mktemp("simulated")
    scenario.prepare(folder)
    return folder


@pytest.fixture
def central(rendered: dict[str, Path], tmp_path: Path) -> Iterator[Running]:
    """nginx of a coordinator with a central edge."""
    nginx = Running(rendered["central"] / "hub/pixelstream.conf", tmp_path / "central")
    yield nginx
    nginx.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """No machine yet: a test boots what it needs."""
    if reason := missing():
        pytest.skip(reason)
    with Lab(tmp_path / "lab") as machines:
        yield machines


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what an operator's checkout holds; caches and environments are shared by links."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in ("ansible.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, copy / name)
    for name in ("playbooks", "roles", "inventory", "requirements", "docs"):
        shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("mine", "__pycache__", ".authority"))
    shutil.copytree(
        PROJECT / "runtime", copy / "runtime", ignore=shutil.ignore_patterns("web", "__pycache__", "node_modules")
    )
    (copy / ".cache").mkdir()
    (PROJECT / ".cache/deploy").mkdir(parents=True, exist_ok=True)
    (copy / ".cache/deploy").symlink_to(PROJECT / ".cache/deploy")
    return copy
