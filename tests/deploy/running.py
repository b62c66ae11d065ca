"""Paths of the deployment, and the environment in which its tools run as an operator would run them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

Run = Callable[..., subprocess.CompletedProcess[str]]


def ansible_environment(home: Path) -> dict[str, str]:
    """Return an environment in which our tools are found and nothing of this machine's user leaks in."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MOLECULE_"))}
    # ansible-lint and molecule look their siblings up in PATH.
    kept |= {
        "PATH": f"{BIN}:{kept['PATH']}",
        "NO_COLOR": "1",
        "ANSIBLE_HOME": str(home),
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
    }
    return kept


def load_plugin(path: str) -> ModuleType:
    """Import one of our Ansible plugins by its path in the checkout; they are files, not parts of a package."""
    name = "pixelstream_plugin_" + path.replace("/", "_").removesuffix(".py")
    specification = importlib.util.spec_from_file_location(name, PROJECT / path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
