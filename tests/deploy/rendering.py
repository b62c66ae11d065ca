"""Every template of every Linux role, rendered by Ansible for the layouts of tests/deploy/data/render.yml."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from .running import PROJECT, ansible_environment

# Groups of the inventory that each rendering sees; hosts alone decide too little.
GROUPS: dict[str, dict[str, list[str]]] = {
    "central": {"coordinator": ["hub"], "streaming": ["gpu1"]},
    "several": {
        "coordinator": ["hub-a", "hub-b"],
        "streaming": ["gpu1"],
        "mongodb": ["hub-a", "hub-b"],
        "turn": ["hub-a", "hub-b"],
        "observability": ["hub-a"],
    },
    "direct": {"coordinator": ["hub"], "streaming": ["edge1"]},
    "one": {"coordinator": ["both"], "streaming": ["both"]},
}
DIRECT = {"direct"}


def render(home: Path) -> dict[str, Path]:
    """Render every group layout; return its directory by name."""
    hosts = yaml.safe_load((PROJECT / "tests/deploy/data/render.yml").read_text())["all"]
    templates = sorted(str(path) for path in (PROJECT / "roles").glob("*/templates/*.j2"))
    directories = {}
    for name, groups in GROUPS.items():
        used = {host for members in groups.values() for host in members}
        inventory: dict[str, Any] = {
            "all": {
                "vars": hosts["vars"] | ({"edge_mode": "direct"} if name in DIRECT else {}),
                "hosts": {host: hosts["hosts"][host] for host in used},
                "children": {group: {"hosts": dict.fromkeys(members)} for group, members in groups.items()},
            }
        }
        (home / f"{name}.yml").write_text(yaml.safe_dump(inventory))
        directories[name] = home / name
        (home / name).mkdir()
        result = subprocess.run(
            [
                "ansible-playbook",
                "-i",
                str(home / f"{name}.yml"),
                "tests/deploy/render.yml",
                "-e",
                json.dumps({"render_directory": str(home / name), "render_files": templates}),
            ],
            cwd=PROJECT,
            env=ansible_environment(home / "ansible"),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
        for bundle in (home / name).glob("*.json"):
            place = bundle.with_suffix("")
            place.mkdir()
            for template, text in json.loads(bundle.read_text()).items():
                (place / Path(template).stem).write_text(text)
            bundle.unlink()
    return directories


def files(rendered: dict[str, Path], name: str) -> list[tuple[str, Path]]:
    found = [
        (f"{layout}/{path.parent.name}", path)
        for layout, top in rendered.items()
        for path in sorted(top.glob(f"*/{name}"))
    ]
    assert found
    return found
