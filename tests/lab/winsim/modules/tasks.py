"""Scheduled tasks."""

from __future__ import annotations

from tests.lab.winsim import paths, programs
from tests.lab.winsim.access import resolve
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, model

_NOT_KEPT = {"state", "password", "update_password", "name", "path"}
_TRIGGERS = {"boot", "logon", "daily", "weekly", "monthly", "monthlydow", "time", "registration", "idle", "event"}


def key_of(arguments: Arguments) -> str:
    return (
        paths.join(arguments.get("path") or "\\", arguments["name"])
        if arguments.get("path") not in (None, "\\")
        else "\\" + arguments["name"]
    )


@model("community.windows.win_scheduled_task")
def win_scheduled_task(state: State, arguments: Arguments) -> Result:
    tasks, key = state.section("tasks"), key_of(arguments)
    if arguments.get("state", "present") == "absent":
        return {"changed": state.drop(tasks, key)}
    if key not in tasks and not arguments.get("actions"):
        raise ModelError("one or more actions must be specified to create a scheduled task")
    for action in arguments.get("actions") or []:
        program = action.get("path") or ""
        if not program.lower().startswith("c:\\windows\\") and ":" in program and not state.path(program).is_file():
            raise ModelError(f"winsim: the action's program {program} is not there, so the task could never run")
    for trigger in arguments.get("triggers") or []:
        if str(trigger.get("type", "")).lower() not in _TRIGGERS:
            raise ModelError(f"trigger type '{trigger.get('type')}' is not valid")
    if arguments.get("username"):
        resolve(state, arguments["username"])
    wanted = {name: value for name, value in arguments.items() if not name.startswith("_") and name not in _NOT_KEPT}
    # The module compares texts, and Windows keeps a trigger's user with the machine's name.
    users = [trigger["user_id"] for trigger in arguments.get("triggers") or [] if trigger.get("user_id")]
    renamed = key in tasks and any("\\" not in user for user in users)
    return {"changed": state.merge(tasks, key, wanted) or renamed}


@model("community.windows.win_scheduled_task_stat")
def win_scheduled_task_stat(state: State, arguments: Arguments) -> Result:
    folder = arguments.get("path") or "\\"
    tasks = state.section("tasks")
    inside = folder == "\\" or any(key.lower().startswith(folder.lower().rstrip("\\") + "\\") for key in tasks)
    if not arguments.get("name"):
        return {"folder_exists": inside, "folder_task_count": len(tasks)}
    task = next((task for key, task in tasks.items() if key.lower() == key_of(arguments).lower()), None)
    if task is None:
        return {"folder_exists": inside, "task_exists": False}
    status = task.get("_status", "TASK_STATE_READY")
    if status == "TASK_STATE_RUNNING" and programs.daemons.has_ended(state, key_of(arguments)):
        status = "TASK_STATE_READY"
    if task.get("enabled") is False:
        status = "TASK_STATE_DISABLED"
    return {
        "folder_exists": True,
        "task_exists": True,
        "actions": task.get("actions"),
        "triggers": task.get("triggers"),
        "settings": {"enabled": task.get("enabled", True)},
        "state": {"status": status, "last_task_result": task.get("_last_result", 0)},
    }
