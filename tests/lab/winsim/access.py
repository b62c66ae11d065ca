"""Accounts, and who may do what with a file: effective rights by access control lists, inheritance included.

Only as far as deployment needs it: reading and changing, allow entries, local accounts and the groups they are in.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from .errors import ModelError
from .state import State

READ, CHANGE = "read", "change"
_GRANTS = {
    "fullcontrol": {READ, CHANGE},
    "modify": {READ, CHANGE},
    "readandexecute": {READ},
    "read": {READ},
    "write": {CHANGE},
}
_EVERYWHERE = (("administrators", {READ, CHANGE}), ("system", {READ, CHANGE}), ("users", {READ}))
# What Windows grants in folders that nobody closed. In the root of a drive, whoever logs on may change what is below.
_BUILT_IN: dict[str, tuple[tuple[str, set[str]], ...]] = {
    "c": (*_EVERYWHERE, ("authenticated users", {CHANGE})),
    "c/windows": _EVERYWHERE,
    "c/program files": _EVERYWHERE,
    "c/programdata": _EVERYWHERE,
}

_ACCOUNTS = {
    "system",
    "localservice",
    "networkservice",
    "local service",
    "network service",
    "administrators",
    "users",
    "everyone",
    "authenticated users",
    "creator owner",
    "owner rights",
    "trustedinstaller",
    "localsystem",
}
_SIDS = {"S-1-5-32-544": "administrators", "S-1-5-32-545": "users", "S-1-5-18": "system"}


def sid_of(user: str) -> str:
    """The SID of a local account, by its lower-case name."""
    return f"S-1-5-21-1-2-3-{1000 + zlib.crc32(user.encode()) % 9000}"


def resolve(state: State, account: str) -> str:
    """Canonical lower-case name of an account that exists; raises :class:`ModelError` as SID translation does."""
    if account.upper().startswith("S-1-"):
        known = _SIDS | {sid_of(user): user for user in state.section("users")}
        if account.upper() not in known:
            raise ModelError(f"account_name {account} is not a valid account, no such SID")
        return known[account.upper()]
    domain, _, name = account.rpartition("\\")
    lower, place = name.lower(), domain.lower()
    if place == "nt service":
        if lower not in state.section("services"):
            raise ModelError(
                f"account_name {account} is not a valid account, cannot get SID: no service of that name is installed"
            )
        return f"nt service\\{lower}"
    if place in ("", "nt authority", "builtin") and lower in _ACCOUNTS:
        return "system" if lower == "localsystem" else lower
    if place in ("", ".", state.computer.lower()) and (
        lower in state.section("users") or lower in state.section("groups")
    ):
        return lower
    raise ModelError(f"account_name {account} is not a valid account, cannot get SID")


def rights(state: State, account: str, path: str) -> set[str]:
    """What ``account`` (canonical, see ``accounts.resolve``) may do with a file or folder that exists."""
    names = identities(state, account)
    granted: set[str] = set()
    place, first = state.path(path), True
    while place != state.files:
        key = str(place.relative_to(state.files))
        entry = _own_entries(state, place, key)
        for item in entry["entries"]:
            if item["user"] in names and item["type"] == "allow" and (first or item["inherit"] != "None"):
                for right in item["rights"]:
                    granted |= _GRANTS.get(right.lower(), set())
        if not entry["inherits"]:
            return granted
        for name, given in _BUILT_IN.get(key.lower(), ()):
            if name in names:
                granted |= given
        if key.lower() in _BUILT_IN:
            return granted
        place, first = place.parent, False
    return granted


def _own_entries(state: State, place: Path, key: str) -> dict[str, Any]:
    entry: dict[str, Any] | None = state.section("acl").get(key)
    if entry is None or not place.exists() or entry["inode"] != place.stat().st_ino:
        return {"inherits": True, "entries": []}
    return entry


def identities(state: State, account: str) -> set[str]:
    """The account and every group it is in."""
    groups = {group for group, members in state.section("groups").items() if account in members}
    # Whoever is logged on, services too, is an authenticated user, and those belong to Users.
    return {account, "everyone", "authenticated users", "users", *groups}


def demand(state: State, account: str, path: str, right: str) -> None:
    """Raise :class:`ModelError` unless ``account`` may."""
    if right not in rights(state, account, path):
        what = "read" if right == READ else "change"
        raise ModelError(f"Access is denied: {account} may not {what} {path}")
