"""Programs that come with Windows."""

from __future__ import annotations

from tests.lab.winsim import paths
from tests.lab.winsim.errors import ModelError

from . import daemons
from .call import Call, Finished, program, refuse


@program("cmd.exe")
def cmd(call: Call) -> Finished:
    """Only the two built-in commands for which no module exists: making and removing a directory junction."""
    words = [word.lower() for word in call.words[:3]]
    if words[:1] != ["/c"]:
        return refuse(call)
    try:
        if words[1:3] == ["mklink", "/j"] and len(call.words) == 5:
            link, target = call.words[3], call.words[4]
            call.state.make_junction(link, target)
            return Finished(0, f"Junction created for {link} <<===>> {target}\r\n")
        if words[1] == "rmdir" and len(call.words) == 3:
            return _remove_folder(call, call.words[2])
    except ModelError as error:
        return Finished(1, "", error.message + "\r\n")
    return refuse(call)


def _remove_folder(call: Call, path: str) -> Finished:
    """``rmdir`` without /s: a junction, or a folder that is empty."""
    place = call.state.path(path)
    if not place.is_symlink() and not place.is_dir():
        return Finished(2, "", "The system cannot find the file specified.\r\n")
    if not place.is_symlink() and any(place.iterdir()):
        return Finished(145, "", "The directory is not empty.\r\n")
    call.state.remove(path)
    return Finished()


@program("schtasks.exe")
def schtasks(call: Call) -> Finished:
    """``/run`` and ``/end`` of a task; an interactive task runs only while its user is logged on."""
    words = [word.lower() for word in call.words]
    if len(words) != 3 or words[0] not in ("/run", "/end") or words[1] != "/tn":
        return refuse(call)
    tasks = call.state.section("tasks")
    key = next((key for key in tasks if key.lower() == "\\" + words[2].strip("\\")), None)
    if key is None:
        return Finished(1, "", "ERROR: The system cannot find the file specified.\r\n")
    task = tasks[key]
    if words[0] == "/end":
        daemons.stop(call.state, key)
        call.state.merge(tasks, key, {"_status": "TASK_STATE_READY"})
        return Finished(0, "SUCCESS\r\n")
    if task.get("enabled") is False:
        return Finished(1, "", "ERROR: The task is disabled.\r\n")
    if task.get("logon_type") == "interactive_token" and not _logged_on(call, task["username"]):
        # As on a real machine: accepted, queued, and nothing runs until the user logs on.
        call.state.merge(tasks, key, {"_status": "TASK_STATE_QUEUED"})
        return Finished(0, "SUCCESS: Attempted to run the scheduled task.\r\n")
    daemons.start_task(call.state, key, task)
    call.state.merge(tasks, key, {"_runs": task.get("_runs", 0) + 1})
    return Finished(0, "SUCCESS: Attempted to run the scheduled task.\r\n")


def _logged_on(call: Call, user: str) -> bool:
    """Automatic logon happens at boot, so its user is there only after a restart that came after the setting."""
    return paths.name(user).lower() in call.state.section("settings").get("logged_on", [])


@program("w32tm.exe")
def w32tm(call: Call) -> Finished:
    known = {("/resync",), ("/resync", "/nowait"), ("/config", "/update")}
    if tuple(word.lower() for word in call.words) not in known:
        return refuse(call)
    if call.state.section("services")["w32time"]["state"] != "running":
        return Finished(2147943462, "", "The service has not been started. (0x80070426)\r\n")
    return Finished(0, "The command completed successfully.\r\n")


@program("powercfg.exe")
def powercfg(call: Call) -> Finished:
    words = [word.lower() for word in call.words]
    if words[:1] == ["/duplicatescheme"] and len(words) == 3:
        settings = call.state.section("settings")
        call.state.put(settings, "power_plans_made", [*settings.get("power_plans_made", []), words[2]])
        return Finished(0, f"Power Scheme GUID: {words[2]}\r\n")
    if words not in (["/hibernate", "off"], ["/hibernate", "on"]):
        return refuse(call)
    call.state.put(call.state.section("settings"), "hibernate", call.words[1].lower())
    return Finished()


@program("forfiles.exe")
def forfiles(call: Call) -> Finished:
    return refuse(call)
