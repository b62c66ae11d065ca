"""Ansible module: remove old version directories, but none that is wanted or that a running process still uses."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: prune_directories
short_description: Remove old version directories that nothing uses
description:
  - Looks at the sub-directories of O(path). Keeps the O(keep) newest besides those in O(protect), and any that a
    running process has as its program, its working directory, in its command line or among its mapped files.
  - Linux only, because it reads C(/proc).
author: pixelstream
options:
  path:
    description: Directory whose sub-directories are versions.
    type: path
    required: true
  keep:
    description: How many to keep besides the protected ones; the most recently installed first.
    type: int
    required: true
  protect:
    description: Names or paths that must stay. Symbolic links are followed.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: Keep the current release and two older ones
  prune_directories:
    path: /opt/pixelstream/releases
    keep: 2
    protect: [/opt/pixelstream/current]
"""

RETURN = r"""
removed:
  description: Names that were removed, or would be in check mode.
  type: list
  returned: always
busy:
  description: Names that were old enough to go but are in use.
  type: list
  returned: always
"""


def texts_of_process(process: Path) -> list[str]:
    """Return the paths that a process visibly uses; an ended process has none."""
    texts = []
    for link in ("exe", "cwd"):
        try:
            texts.append(str((process / link).readlink()))
        except OSError:
            continue
    for name in ("cmdline", "maps"):
        try:
            texts.append((process / name).read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return texts


def names_in_use(root: Path, names: list[str]) -> set[str]:
    """Return those of ``names`` whose directory some process uses."""
    used: set[str] = set()
    own = str(os.getpid())
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or process.name == own:
            continue
        texts = texts_of_process(process)
        used |= {name for name in names if any(f"{root}/{name}/" in f"{text}/" for text in texts)}
    return used


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "keep": {"type": "int", "required": True},
            "protect": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["path"])
    if not root.is_dir():
        module.exit_json(changed=False, removed=[], busy=[])
    # .stamp is written when an installation is complete and touched when it becomes current.
    entries = [entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink()]
    protected = {Path(os.path.realpath(root / item)) for item in module.params["protect"]}

    def age(entry: Path) -> float:
        stamp = entry / ".stamp"
        return (stamp if stamp.exists() else entry).stat().st_mtime

    candidates = sorted((e for e in entries if Path(os.path.realpath(e)) not in protected), key=age, reverse=True)
    old = candidates[module.params["keep"] :]
    busy = names_in_use(Path(os.path.realpath(root)), [entry.name for entry in old]) if old else set()
    removed = [entry for entry in old if entry.name not in busy]
    if not module.check_mode:
        for entry in removed:
            shutil.rmtree(entry)
    module.exit_json(changed=bool(removed), removed=sorted(e.name for e in removed), busy=sorted(busy))


if __name__ == "__main__":
    main()
