"""Ansible module: which releases of the runtime a Linux machine has, and which of them is in use. Changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: release_look
short_description: Look at the installed releases of the runtime
description:
  - A release is a sub-directory of C(releases) with the file C(.stamp), which is written last; its file C(.predecessor)
    names the release before it.
author: pixelstream
options:
  root:
    description: Directory that holds C(releases), C(current) and C(previous). It need not be there yet.
    type: path
    required: true
  python:
    description: Interpreter that releases are made with.
    type: path
    required: true
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: What is there?
  release_look:
    root: /opt/pixelstream
    python: /usr/bin/python3
"""

RETURN = r"""
python_version:
  description: Major and minor version of O(python); empty when it cannot be asked.
  type: str
  returned: always
python_error:
  description: Why it cannot.
  type: str
  returned: always
directories:
  description: Names of all releases, also of those whose installation broke off.
  type: list
  returned: always
complete:
  description: Names of the releases that are installed.
  type: list
  returned: always
current:
  description: Name of the release in use; empty when there is none.
  type: str
  returned: always
previous:
  description: Name of the release that C(previous) shows; empty when there is none.
  type: str
  returned: always
predecessor:
  description: Name of the installed release before the current one; empty when there is none.
  type: str
  returned: always
"""


def link_name(link: Path) -> str:
    """Return the name of the release a link leads to, or nothing."""
    try:
        return Path(os.readlink(link)).name
    except OSError:
        return ""


def text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def look(root: Path) -> dict[str, object]:
    """Return everything about the releases under ``root``; see RETURN."""
    releases = root / "releases"
    directories = sorted(path.name for path in releases.iterdir() if path.is_dir()) if releases.is_dir() else []
    complete = [name for name in directories if (releases / name / ".stamp").exists()]
    current = link_name(root / "current")
    predecessor = text(root / "current/.predecessor")
    return {
        "directories": directories,
        "complete": complete,
        "current": current,
        "previous": link_name(root / "previous"),
        "predecessor": predecessor if predecessor in complete else "",
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={"root": {"type": "path", "required": True}, "python": {"type": "path", "required": True}},
        supports_check_mode=True,
    )
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        status, output, error = module.run_command([module.params["python"], "-c", ask], handle_exceptions=False)
    except OSError as missing:
        status, output, error = 1, "", str(missing)
    module.exit_json(
        changed=False,
        python_version="" if status else output.strip(),
        python_error=error.strip() if status else "",
        **look(Path(module.params["root"])),
    )


if __name__ == "__main__":
    main()
