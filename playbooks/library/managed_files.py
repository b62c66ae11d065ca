"""Ansible module: several files and directories of a role at once, each as it is wanted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: managed_files
short_description: Bring several files and directories to the wanted state in one step
description:
  - An unchanged template costs M(ansible.builtin.template) two programs on the machine, and each costs it 0.15 s of
    a core; a role with ten files spends seconds to find that nothing is to be done. This one looks at all.
  - Items are worked on in their order, so a directory goes before what lies in it. Each file is replaced atomically,
    and only after its validator has accepted it. The first item that fails ends the module; those before it are done.
  - Contents are never logged, not even by the machine's journal.
author: pixelstream
options:
  files:
    description: What there is to be.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where it is.
        type: path
        required: true
      state:
        description: A V(directory) is made with its parents. V(absent) takes away a file or a link, never a directory.
        type: str
        choices: [file, directory, link, absent]
        default: file
      content:
        description: What the file holds, as UTF-8; P(ansible.builtin.template#lookup) renders a template of the role.
        type: str
      source:
        description: File on the machine itself that it is a copy of.
        type: path
      target:
        description: Where a V(link) leads. It need not be there yet.
        type: str
      owner:
        description: Name of the user; empty to leave it. A link has none of its own here.
        type: str
        default: root
      group:
        description: Name of the group; empty to leave it.
        type: str
        default: root
      mode:
        description: Permissions, in octal; V(0644) for a file and V(0755) for a directory when not given.
        type: str
      validate:
        description: Command that must accept the new file, named C(%s), before it takes its place.
        type: str
      diff:
        description: Whether C(--diff) may show what changes inside it.
        type: bool
        default: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Unit and its settings
  managed_files:
    files:
      - {path: /etc/systemd/system/nginx.service.d, state: directory}
      - path: /etc/systemd/system/nginx.service.d/limits.conf
        content: "{{ lookup('ansible.builtin.template', 'limits.conf.j2') }}"
"""

RETURN = r"""
changed_paths:
  description: The paths at which something changed.
  type: list
  returned: always
"""

ITEM = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
    "content": {"type": "str"},
    "source": {"type": "path"},
    "target": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str"},
    "validate": {"type": "str"},
    "diff": {"type": "bool", "default": True},
}


class DiscreetModule(AnsibleModule):
    """Says the contents that it was sent neither to the machine's journal nor, when it fails, to the controller.

    ``no_log`` of the constructor is of no use: what the controller sends replaces it before anything is logged.
    """

    def _log_invocation(self) -> None:
        paths = [item.get("path") for item in self.params.get("files") or [] if isinstance(item, dict)]
        self.log(f"Invoked for {', '.join(map(str, paths))}")

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        super().fail_json(msg, **{"invocation": {"module_args": {}}, **result})


class Refused(Exception):
    """An item cannot be as it is wanted; the text says why and what to do."""


def shown(content: bytes | None, allowed: bool) -> str:
    """Return what a difference may show of a file; None stands for no file."""
    if content is None:
        return ""
    if not allowed:
        return "(not shown)\n"
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"({len(content)} bytes that are no text)\n"


def differ(item: dict[str, Any], before: str, after: str) -> dict[str, str]:
    return {"before_header": item["path"], "after_header": item["path"], "before": before, "after": after}


def attributes(module: AnsibleModule, item: dict[str, Any], path: str) -> bool:
    """Give ``path`` the item's owner, group and mode; in check mode only say whether they differ."""
    default = "0755" if item["state"] == "directory" else "0644"
    changed: bool = module.set_mode_if_different(path, item["mode"] or default, False, expand=False)
    if item["owner"]:
        changed = module.set_owner_if_different(path, item["owner"], changed, expand=False)
    if item["group"]:
        changed = module.set_group_if_different(path, item["group"], changed, expand=False)
    return changed


def keep_directory(module: AnsibleModule, item: dict[str, Any]) -> dict[str, str] | None:
    path = Path(item["path"])
    there = path.is_dir()
    if not there:
        if path.exists() or path.is_symlink():
            raise Refused(f"{path} is to be a directory, but something else has that name. Move it away.")
        if not module.check_mode:
            path.mkdir(parents=True)
    changed = (there or not module.check_mode) and attributes(module, item, str(path.resolve()))
    if there and not changed:
        return None
    return differ(item, "directory with other attributes\n" if there else "", "directory\n")


def keep_link(module: AnsibleModule, item: dict[str, Any]) -> dict[str, str] | None:
    path = Path(item["path"])
    before = os.readlink(path) if path.is_symlink() else ""
    if before == item["target"]:
        return None
    if not before and path.is_dir():
        raise Refused(f"{path} is to be a link, but a directory has that name. Move it away.")
    if not module.check_mode:
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(item["target"])
        new.replace(path)
    return differ(item, before and f"link to {before}\n", f"link to {item['target']}\n")


def take_away(module: AnsibleModule, item: dict[str, Any]) -> dict[str, str] | None:
    path = Path(item["path"])
    if not path.exists() and not path.is_symlink():
        return None
    if path.is_dir() and not path.is_symlink():
        raise Refused(f"{path} is to be no file, but it is a directory, which is more than this takes away.")
    if not module.check_mode:
        path.unlink()
    return differ(item, "present\n", "")


def replace(module: AnsibleModule, item: dict[str, Any], content: bytes) -> None:
    """Write beside the file, with its final attributes, have it validated, and give it the name."""
    path = Path(item["path"])
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if item["validate"]:
            status, output, error = module.run_command(item["validate"].replace("%s", name))
            if status:
                said = (error.strip() or output.strip()).replace(name, str(path))
                raise Refused(f"{path} stays as it was, because its validator refuses the new one: {said}")
        if not module.check_mode:
            attributes(module, item, name)
            Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def keep_file(module: AnsibleModule, item: dict[str, Any]) -> dict[str, str] | None:
    path = Path(item["path"])
    if path.is_dir():
        raise Refused(f"{path} is to be a file, but a directory has that name. Move it away.")
    before = path.read_bytes() if path.exists() else None
    try:
        content = Path(item["source"]).read_bytes() if item["source"] else item["content"].encode()
    except FileNotFoundError:
        if not module.check_mode:
            raise
        content = b""  # a step before this one would have made it
    if content == before and not path.is_symlink():
        if attributes(module, item, str(path)):
            return differ(item, "other attributes\n", "wanted attributes\n")
        return None
    # What a dry run would only have made is not there to hold the new file, nor to know its owner or its validator.
    if not module.check_mode:
        replace(module, item, content)
    return differ(item, shown(before, item["diff"]), shown(content, item["diff"]))


def main() -> None:
    module = DiscreetModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": ITEM,
                "mutually_exclusive": [("content", "source")],
                "required_if": [("state", "file", ("content", "source"), True), ("state", "link", ("target",))],
            }
        },
        supports_check_mode=True,
    )
    work = {"directory": keep_directory, "link": keep_link, "absent": take_away, "file": keep_file}
    differences: list[dict[str, str]] = []
    invocation = {"module_args": {"files": [item["path"] for item in module.params["files"]]}}
    for item in module.params["files"]:
        try:
            difference = work[item["state"]](module, item)
        except (Refused, OSError, UnicodeError) as error:
            where = "" if isinstance(error, Refused) else f"{item['path']}: "
            done = [entry["after_header"] for entry in differences]
            module.fail_json(
                msg=f"{where}{error}", changed=bool(differences), changed_paths=done, invocation=invocation
            )
        if difference:
            differences.append(difference)
    module.exit_json(
        changed=bool(differences),
        changed_paths=[entry["after_header"] for entry in differences],
        diff=differences if module._diff else [],
        invocation=invocation,
    )


if __name__ == "__main__":
    main()
