"""Access control lists. Kept per path as owner, inheritance and entries; entries of a removed file are forgotten with
it.
"""

from __future__ import annotations

from typing import Any

from tests.lab.winsim.access import resolve
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, model

_RIGHTS = {
    "fullcontrol",
    "modify",
    "readandexecute",
    "read",
    "write",
    "listdirectory",
    "traverse",
    "delete",
    "createfiles",
    "appenddata",
    "readattributes",
}


def _list_of(state: State, path: str) -> tuple[str, dict[str, Any]]:
    file = state.path(path)
    if not file.exists():
        raise ModelError(f"{path} file or directory does not exist on the host")
    key = str(file.relative_to(state.files))
    known = state.section("acl")
    identity = file.stat().st_ino
    entry = known.get(key)
    if entry is None or entry["inode"] != identity:
        entry = {"inode": identity, "owner": "administrators", "inherits": True, "entries": []}
    return key, entry


@model("ansible.windows.win_acl")
def win_acl(state: State, arguments: Arguments) -> Result:
    key, current = _list_of(state, arguments["path"])
    rights = sorted(right.strip() for right in arguments["rights"].split(","))
    for right in rights:
        if right.lower() not in _RIGHTS:
            raise ModelError(f"winsim: right {right} is not one that the model knows")
    is_folder = state.path(arguments["path"]).is_dir()
    inherit = arguments.get("inherit")
    if inherit is None:
        inherit = "ContainerInherit, ObjectInherit" if is_folder else "None"
    entry = {
        "user": resolve(state, arguments["user"]),
        "type": arguments["type"],
        "rights": rights,
        "inherit": inherit,
        "propagation": arguments.get("propagation") or "None",
    }
    entries = list(current["entries"])
    if arguments.get("state", "present") == "absent":
        if entry not in entries:
            return {}
        entries.remove(entry)
    elif entry in entries:
        return {}
    else:
        entries.append(entry)
    return {"changed": state.put(state.section("acl"), key, {**current, "entries": entries})}


@model("ansible.windows.win_acl_inheritance")
def win_acl_inheritance(state: State, arguments: Arguments) -> Result:
    key, current = _list_of(state, arguments["path"])
    wanted = arguments.get("state", "absent") == "present"
    if current["inherits"] == wanted:
        return {}
    entries = list(current["entries"])
    if not wanted and arguments.get("reorganize"):
        # Inherited entries become explicit ones; the parent grants at least these.
        for user in ("administrators", "system", "users"):
            right = "FullControl" if user != "users" else "ReadAndExecute"
            entries.append(
                {"user": user, "type": "allow", "rights": [right], "inherit": "inherited", "propagation": "None"}
            )
    return {"changed": state.put(state.section("acl"), key, {**current, "inherits": wanted, "entries": entries})}


@model("ansible.windows.win_owner")
def win_owner(state: State, arguments: Arguments) -> Result:
    key, current = _list_of(state, arguments["path"])
    owner = resolve(state, arguments["user"])
    if current["owner"] == owner:
        return {}
    return {"changed": state.put(state.section("acl"), key, {**current, "owner": owner})}
