"""Look at deployed simulated hosts from inside: ``python -m tests.lab.winsim.audit HOSTS_FOLDER``.

Every statement is one that an administrator could check on a real host by hand; exit code 1 with those that fail.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import access
from .state import State

DATA = "C:\\ProgramData\\Pixelstream"
SECRETS = ("lab-control-secret", "lab-desktop-password")


def faults(state: State) -> Iterator[str]:
    """Everything about one host that is not as it should be."""
    yield from _rights(state)
    yield from _programs(state)
    yield from _ways_in(state)
    yield from _texts(state)
    yield from _chosen(state)
    for name, wanted in (("longpathsenabled", 1), ("hibernateenabled", 0), ("tdrdelay", 10)):
        values = [key[name]["data"] for key in state.section("registry").values() if name in key]
        if values != [wanted]:
            yield f"{name} is {values}, not {wanted}"


def _access(state: State, path: str) -> dict[str, Any]:
    key = str(state.path(path).relative_to(state.files))
    found: dict[str, Any] = state.section("acl").get(key, {"inherits": True, "entries": []})
    return found


def defender_exclusions(state: State) -> list[str]:
    """Folders that Defender leaves alone: it reads the list only where the policy beside it says so, and takes a folder
    whose value is the text "0".
    """
    keys = state.section("registry")
    policy = "hklm\\software\\policies\\microsoft\\windows defender\\exclusions"
    if keys.get(policy, {}).get("exclusions_paths") != {"type": "dword", "data": 1}:
        return []
    paths = keys.get(policy + "\\paths", {})
    return sorted(name for name, value in paths.items() if value == {"type": "string", "data": "0"})


def _chosen(state: State) -> Iterator[str]:
    """What the inventories of the scenarios want on one host and leave alone on the others."""
    chosen = state.computer == "GPU3"
    zone = state.section("settings").get("timezone", "UTC")
    if zone != ("W. Europe Standard Time" if chosen else "UTC"):
        yield f"the time zone is {zone}"
    excluded = defender_exclusions(state)
    if excluded != (["c:\\pixelstream", "c:\\pixelstreamtitles"] if chosen else []):
        yield f"Defender leaves alone {excluded}"


def _rights(state: State) -> Iterator[str]:
    """The configuration holds the host's key: its account may read it, and nobody else gets in by inheritance."""
    root = _access(state, DATA)
    if root["inherits"] or {entry["user"] for entry in root["entries"]} != {"administrators", "system"}:
        yield f"{DATA} is open: {root}"
    account = "nt service\\pixelstreamsessionserver" if _is_service(state) else "pixelstream"
    entries = [(entry["user"], entry["rights"]) for entry in _access(state, DATA + "\\session-server.json")["entries"]]
    if entries != [(account, ["Read"])]:
        yield f"session-server.json is readable by {entries}"
    if account == "pixelstream":
        groups = [group for group, members in state.section("groups").items() if "pixelstream" in members]
        if groups != ["users"]:
            yield f"the desktop's account is in {groups}"
        if "pixelstream" not in state.section("rights").get("SeDenyNetworkLogonRight", []):
            yield "the desktop's account may log on by network"


def _programs(state: State) -> Iterator[str]:
    """What administrators and services run is not for titles to change, and no private key is for them to read."""
    accounts = ("nt service\\pixelstreamsessionserver" if _is_service(state) else "pixelstream", "nobody")
    for account in accounts:
        for folder in (
            "C:\\Pixelstream",
            "C:\\Pixelstream\\tools",
            "C:\\Pixelstream\\releases",
            "C:\\PixelstreamTitles",
        ):
            if access.CHANGE in access.rights(state, account, folder):
                yield f"{account} may change {folder}"
        for file in ("tls\\privkey.pem", "nginx.stamp"):
            if state.path(f"{DATA}\\{file}").exists() and access.rights(state, account, f"{DATA}\\{file}"):
                yield f"{account} may read {file}"
    if "pixelstreamnginx" in state.section("services"):
        if access.CHANGE in access.rights(state, "nt service\\pixelstreamnginx", f"{DATA}\\nginx\\conf\\nginx.conf"):
            yield "nginx may change its configuration"
        if access.rights(state, "nt service\\pixelstreamnginx", f"{DATA}\\session-server.json"):
            yield "nginx may read the host's key"


def _is_service(state: State) -> bool:
    return "pixelstreamsessionserver" in state.section("services")


def _ways_in(state: State) -> Iterator[str]:
    rules = state.section("firewall")
    open_to_all = {
        name: rule["localport"] for name, rule in rules.items() if rule["enabled"] and rule["remoteip"] == "any"
    }
    wanted = {"Pixelstream media": "8900-8919"}
    if "pixelstreamnginx" in state.section("services"):
        wanted["Pixelstream web"] = "80,443"
    if open_to_all != wanted:
        yield f"open to everybody: {open_to_all}"
    built_in = rules["Windows Remote Management (HTTP-In)"]
    if built_in["enabled"] or not rules["Pixelstream WinRM"]["enabled"]:
        yield "WinRM is open to whole networks"


def _texts(state: State) -> Iterator[str]:
    """Secrets are in no log, no command line and no task; separators are not doubled."""
    calls = (state.root / "calls.jsonl").read_text()
    remembered = json.dumps({name: state.section(name) for name in ("services", "tasks", "registry", "settings")})
    for secret in SECRETS:
        if secret in calls or secret in remembered:
            yield f"{secret}... is readable in what the machine remembers"
    lines = [service["path"] for service in state.section("services").values()]
    actions = [action for task in state.section("tasks").values() for action in task["actions"]]
    lines += [str(action[key]) for action in actions for key in ("path", "arguments", "working_directory")]
    yield from (f"doubled separators: {line}" for line in lines if "\\\\" in line)
    configuration = json.loads(state.path(DATA + "\\session-server.json").read_text())
    if "\\\\" in configuration["data_directory"]:
        yield f"doubled separators: {configuration['data_directory']}"


def main(folder: Path) -> int:
    found = [
        f"{host.name}: {fault}"
        for host in sorted(folder.iterdir())
        if host.is_dir()
        for fault in faults(State(host, host.name.upper(), "ansible"))
    ]
    print("\n".join(found) or "as it should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
