"""Single settings of the machine: environment, time zone, power, page file, certificates."""

from __future__ import annotations

import hashlib
import json
import ssl
from typing import Any

from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, model

_PLANS = {
    "381b4222-f694-41f0-9685-ff5bb260df2e": "Balanced",
    "8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c": "High performance",
    "a1841308-3541-4fab-bc81-f71556f20b4a": "Power saver",
}
_TIME_ZONES = {
    "utc",
    "w. europe standard time",
    "russian standard time",
    "eastern standard time",
    "tokyo standard time",
    "gmt standard time",
}


@model("ansible.windows.win_environment")
def win_environment(state: State, arguments: Arguments) -> Result:
    level = "machine" if arguments["level"] == "machine" else "user"
    bucket = state.section("environment")[level]
    wanted = arguments.get("variables")
    if not wanted:
        wanted = {arguments["name"]: None if arguments.get("state") == "absent" else arguments.get("value")}
    changed = False
    for name, value in wanted.items():
        changed |= state.drop(bucket, name) if value is None else state.put(bucket, name, str(value))
    return {"changed": changed}


@model("ansible.windows.win_path")
def win_path(state: State, arguments: Arguments) -> Result:
    bucket, name = state.section("environment")[arguments.get("scope", "machine")], arguments.get("name", "PATH")
    current = [entry for entry in bucket.get(name, "").split(";") if entry]
    after = list(current)
    for element in arguments["elements"]:
        same = [entry for entry in after if entry.rstrip("\\").lower() == element.rstrip("\\").lower()]
        if arguments.get("state", "present") == "absent":
            after = [entry for entry in after if entry not in same]
        elif not same:
            after.append(element)
    changed = after != current and state.put(bucket, name, ";".join(after))
    return {"changed": changed or after != current, "path_value": ";".join(after)}


@model("ansible.windows.win_timezone")
def win_timezone(state: State, arguments: Arguments) -> Result:
    wanted = arguments["timezone"]
    if wanted.lower() not in _TIME_ZONES:
        raise ModelError(f"The specified timezone: {wanted} isn't supported on the machine.")
    previous = state.section("settings").get("timezone", "UTC")
    changed = previous.lower() != wanted.lower() and state.put(state.section("settings"), "timezone", wanted)
    return {"changed": changed or previous.lower() != wanted.lower(), "previous_timezone": previous, "timezone": wanted}


@model("community.windows.win_power_plan")
def win_power_plan(state: State, arguments: Arguments) -> Result:
    name = arguments.get("name")
    guid = arguments.get("guid") or next((known for known, plan in _PLANS.items() if plan == name), None)
    # Machines with modern standby come with "Balanced" alone: tests say so in power_plans.json.
    known = state.root / "power_plans.json"
    plans = json.loads(known.read_text()) if known.exists() else list(_PLANS)
    if guid not in (*plans, *state.section("settings").get("power_plans_made", [])):
        raise ModelError(f"Defined power_plan: ({name or guid}) is not available")
    before = state.section("settings").get("power_plan", "381b4222-f694-41f0-9685-ff5bb260df2e")
    state.put(state.section("settings"), "power_plan", guid)
    return {"changed": before != guid, "power_plan_name": _PLANS[guid], "power_plan_enabled": True}


@model("community.windows.win_pagefile")
def win_pagefile(state: State, arguments: Arguments) -> Result:
    settings, replaced = state.section("settings"), False
    before = settings.get("pagefile", {"automatic": True, "files": {}})
    after = {"automatic": before["automatic"], "files": dict(before["files"])}
    if arguments.get("automatic") is not None:
        after["automatic"] = arguments["automatic"]
    drive, action = (arguments.get("drive") or "").upper(), arguments.get("state", "query")
    if arguments.get("remove_all"):
        after["files"] = {}
    if action == "present":
        if not arguments.get("system_managed") and arguments.get("maximum_size") is None:
            raise ModelError("When present state set, all parameters must be set: initial_size, maximum_size")
        size = {"initial": arguments.get("initial_size"), "maximum": arguments.get("maximum_size")}
        # With override, which is the default, the module removes what is there first and reports that as a change.
        replaced = arguments.get("override", True) and drive in after["files"]
        after["files"][drive] = {"initial": 0, "maximum": 0} if arguments.get("system_managed") else size
        if after["automatic"]:
            raise ModelError("Automatic managed pagefile is on: set automatic to false in the same task")
    elif action == "absent":
        after["files"].pop(drive, None)
    changed = before != after or replaced
    state.put(settings, "pagefile", after)
    shown = [
        {"name": f"{name}:\\pagefile.sys", "initial_size": size["initial"], "maximum_size": size["maximum"]}
        for name, size in after["files"].items()
    ]
    return {"changed": changed, "automatic_managed_pagefiles": after["automatic"], "pagefiles": shown}


def _thumbprint(pem: str) -> str:
    return hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()


@model("ansible.windows.win_certificate_store")
def win_certificate_store(state: State, arguments: Arguments) -> Result:
    store = f"{arguments.get('store_location', 'LocalMachine')}\\{arguments.get('store_name', 'My')}"
    stores = state.section("certificates")
    present: dict[str, Any] = stores.get(store, {})
    if arguments.get("state", "present") == "absent":
        thumbprint = (arguments.get("thumbprint") or "").upper()
        if thumbprint not in present:
            return {"thumbprints": []}
        state.put(stores, store, {known: value for known, value in present.items() if known != thumbprint})
        return {"changed": True, "thumbprints": [thumbprint]}
    file = state.path(arguments["path"])
    if not file.is_file():
        raise ModelError(f"File at '{arguments['path']}' either does not exist or is not a file")
    data = file.read_bytes()
    try:
        pem = data.decode() if b"BEGIN CERTIFICATE" in data else ssl.DER_cert_to_PEM_cert(data)
        thumbprint = _thumbprint(pem)
    except ValueError:
        raise ModelError(f"Failed to load cert from file '{arguments['path']}'") from None
    if thumbprint in present:
        return {"thumbprints": [thumbprint]}
    state.put(stores, store, {**present, thumbprint: {"pem": pem}})
    return {"changed": True, "thumbprints": [thumbprint]}
