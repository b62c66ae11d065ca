"""Local users, groups, rights and the automatic logon."""

from __future__ import annotations

import hashlib
import re

from tests.lab.winsim.access import resolve, sid_of
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, given, model

_RIGHT = re.compile(r"Se\w+(Right|Privilege)")


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


@model("ansible.windows.win_user")
def win_user(state: State, arguments: Arguments) -> Result:
    users, key = state.section("users"), arguments["name"].lower()
    wanted_state = arguments.get("state", "present")
    if wanted_state == "absent":
        for members in state.section("groups").values():
            if key in members and state.writing:
                members.remove(key)
        return {"changed": state.drop(users, key)}
    present = users.get(key)
    if wanted_state == "query":
        return {"state": "present", "sid": sid_of(key)} if present else {"state": "absent"}
    wanted = given(
        arguments,
        "name",
        "description",
        "fullname",
        "password_never_expires",
        "user_cannot_change_password",
        "account_disabled",
        "password_expired",
        "home_directory",
    )
    password = arguments.get("password")
    if password and (present is None or arguments.get("update_password", "always") == "always"):
        if len(password) < 8:
            raise ModelError("The password does not meet the password policy requirements.")
        wanted["password_sha256"] = _digest(password)
    changed = state.merge(users, key, wanted)
    if arguments.get("groups") is not None:
        groups = [resolve(state, str(group)) for group in arguments["groups"]]
        changed |= _join_groups(state, key, groups, arguments.get("groups_action", "replace"))
    return {"changed": changed, "name": arguments["name"], "state": "present", "sid": sid_of(key)}


def _join_groups(state: State, user: str, wanted: list[str], action: str) -> bool:
    changed = False
    groups = state.section("groups")
    for group in wanted:
        if group not in groups:
            raise ModelError(f"Failed to find group {group}")
    for group, members in list(groups.items()):
        member = user in members
        should = group in wanted if action == "replace" else member or (action == "add" and group in wanted)
        if action == "remove" and group in wanted:
            should = False
        if member != should:
            changed |= state.put(
                groups, group, [*members, user] if should else [other for other in members if other != user]
            )
    return changed


@model("ansible.windows.win_group_membership")
def win_group_membership(state: State, arguments: Arguments) -> Result:
    groups, group = state.section("groups"), arguments["name"].lower()
    if group not in groups:
        raise ModelError(f"Could not find local group {arguments['name']}")
    members, action = groups[group], arguments.get("state", "present")
    wanted = [resolve(state, member) for member in arguments["members"]]
    added = [member for member in wanted if member not in members] if action != "absent" else []
    removed = [member for member in members if member in wanted] if action == "absent" else []
    if action == "pure":
        removed = [member for member in members if member not in wanted]
    after = [member for member in members if member not in removed] + added
    return {
        "changed": state.put(groups, group, after),
        "added": added,
        "removed": removed,
        "members": after,
        "name": arguments["name"],
    }


@model("ansible.windows.win_user_right")
def win_user_right(state: State, arguments: Arguments) -> Result:
    name = arguments["name"]
    if not _RIGHT.fullmatch(name):
        raise ModelError(f"the specified right {name} is not a valid right")
    rights = state.section("rights")
    present = rights.get(name, [])
    wanted = [resolve(state, user) for user in arguments["users"] or []]
    action = arguments.get("action", "set")
    if action == "set":
        after = wanted
    elif action == "add":
        after = present + [user for user in wanted if user not in present]
    else:
        after = [user for user in present if user not in wanted]
    added = [user for user in after if user not in present]
    removed = [user for user in present if user not in after]
    changed = sorted(after) != sorted(present) and state.put(rights, name, after)
    return {"changed": changed, "added": added, "removed": removed}


@model("ansible.windows.win_auto_logon")
def win_auto_logon(state: State, arguments: Arguments) -> Result:
    settings = state.section("settings")
    if arguments.get("state", "present") == "absent":
        return {"changed": state.drop(settings, "auto_logon")}
    user, password = arguments.get("username"), arguments.get("password")
    if not user or not password:
        raise ModelError("state is present but all of the following are missing: username, password")
    account = state.section("users").get(resolve(state, user))
    if account is None or account.get("password_sha256") != _digest(password):
        raise ModelError("The user name or password is incorrect.")
    wanted = {"user": user.lower(), "password_sha256": _digest(password), "logon_count": arguments.get("logon_count")}
    return {"changed": state.put(settings, "auto_logon", wanted)}
