"""Services. Starting one needs its program to exist and its account to be allowed; what then runs is a matter of
``programs``.
"""

from __future__ import annotations

import fnmatch
from typing import Any

from tests.lab.winsim import paths, programs
from tests.lab.winsim.access import resolve
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, given, model

_SHOWN = ("name", "display_name", "state", "start_mode", "path", "username", "dependencies", "description")
_RUNNING = {"started": "running", "restarted": "running", "stopped": "stopped", "paused": "paused"}


def _find(state: State, name: str) -> str:
    lower = name.lower()
    services = state.section("services")
    return next(
        (key for key, service in services.items() if key == lower or service["display_name"].lower() == lower), lower
    )


@model("ansible.windows.win_service")
def win_service(state: State, arguments: Arguments) -> Result:
    services, key, wanted_state = state.section("services"), _find(state, arguments["name"]), arguments.get("state")
    if wanted_state == "absent":
        if services.get(key, {}).get("state") == "running":
            programs.stop_service(state, services[key])
        return {"changed": state.drop(services, key), "exists": False}
    if key not in services and not arguments.get("path"):
        if wanted_state or arguments.get("start_mode"):
            raise ModelError(
                f"Service '{arguments['name']}' is not installed, need to set 'path' to create a new service"
            )
        return {"exists": False}
    old = services.get(key) or _new_service(arguments["name"])
    new = {**old, **given(arguments, "path", "display_name", "description", "start_mode", "username", "dependencies")}
    new |= given(
        arguments,
        "failure_actions",
        "failure_reset_period_sec",
        "failure_actions_on_non_crash_failure",
        "pre_shutdown_timeout_ms",
    )
    _check_account(state, key, new["username"])
    changed = new != old or key not in services
    changed |= _drive(state, old, new, wanted_state)
    state.put(services, key, new)
    return {"changed": changed, "exists": True, **{name: new.get(name) for name in _SHOWN}}


def _new_service(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "display_name": name,
        "state": "stopped",
        "start_mode": "auto",
        "username": "LocalSystem",
        "dependencies": [],
    }


def _check_account(state: State, key: str, account: str) -> None:
    if account.lower() == f"nt service\\{key}":
        return  # the virtual account comes into being with its service
    resolve(state, account)


def _drive(state: State, old: dict[str, Any], new: dict[str, Any], wanted: str | None) -> bool:
    """Start or stop as asked, with the effects of it; says whether anything changed."""
    if wanted is None:
        return False
    target = _RUNNING[wanted]
    restart = wanted == "restarted"
    if old["state"] == target and not restart:
        return False
    if old["state"] == "running":
        programs.stop_service(state, old)
    new["state"] = target
    if target == "running":
        _check_can_start(state, new)
        programs.start_service(state, new)
        new["starts"] = old.get("starts", 0) + 1
    return True


def _check_can_start(state: State, service: dict[str, Any]) -> None:
    failure = f"Service '{service['display_name']} ({service['name']})' cannot be started due to the following error: "
    if service["start_mode"] == "disabled":
        raise ModelError(failure + "The service cannot be started because it is disabled")
    words = paths.split_command_line(service["path"])
    if words[0].lower().startswith("c:\\windows\\"):
        return
    if not state.path(words[0]).is_file():
        raise ModelError(failure + "The system cannot find the file specified")
    for name in service["dependencies"]:
        if name.lower() not in state.section("services"):
            raise ModelError(failure + f"the dependency service {name} does not exist")


@model("ansible.windows.win_service_info")
def win_service_info(state: State, arguments: Arguments) -> Result:
    pattern = (arguments.get("name") or "*").lower()
    found = [service for key, service in state.section("services").items() if fnmatch.fnmatch(key, pattern)]
    return {"exists": bool(found), "services": found}
