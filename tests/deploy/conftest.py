"""Run one of Ansible's commands in the checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .running import BIN, PROJECT, Run, ansible_environment


@pytest.fixture
def ansible(tmp_path: Path) -> Run:
    """Run one of Ansible's commands in the checkout; the result is returned whatever the exit code."""
    if not (BIN / "ansible-playbook").exists():
        pytest.skip("Ansible is not installed in this environment: pip install --requirement requirements/deploy.txt")

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
