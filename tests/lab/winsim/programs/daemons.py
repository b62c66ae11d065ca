"""What services and logon tasks really run.

With ``WINSIM_RUNTIME`` set to a Python interpreter, a started session server is a real process of this project: its
rendered configuration, with Windows paths replaced by the files behind them, is read by the real loader, and it
listens, heartbeats and obeys. With ``WINSIM_NGINX`` set, nginx is a real one that serves at the machine's own address
(``web.py``). Without them, only the state changes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.lab.winsim import access, paths
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import HOSTS_FILE, State

from . import web
from .call import Finished

_RUNTIME_MODULES = ("runtime", "runtime.session_server.windows_logon")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/].*")
STOP_SECONDS = 30.0
POWER_OFF_SECONDS = 2.0
PROJECT = Path(__file__).resolve().parents[4]


def start(state: State, name: str, command_line: str, account: str) -> None:
    """Run what a service or task names; raises :class:`ModelError` when its wrapper's own arguments are wrong, or its
    account may not do what the program is about to do."""
    everything = paths.split_command_line(command_line)
    words = _unwrap(state, everything)
    _check_rights(state, everything, words, access.resolve(state, account))
    if not state.writing:
        return
    interpreter, folder = os.environ.get("WINSIM_RUNTIME"), state.root / "run"
    folder.mkdir(exist_ok=True)
    if paths.name(words[0]).lower() == "nginx.exe" and web.at_hand():
        real = web.command(state, words)
    elif words[1:2] == ["-m"] and words[2] in _RUNTIME_MODULES and interpreter is not None:
        configuration = folder / f"{_file_name(name)}.json"
        real = [*_with_hosts_file(state), interpreter, "-m", words[2], *_real_words(state, words[3:], configuration)]
    else:
        return
    with (folder / f"{_file_name(name)}.log").open("ab") as output:
        process = subprocess.Popen(
            real,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=PROJECT,
            start_new_session=True,
        )
    state.section("processes")[name] = process.pid
    _reap_later(process)
    if real[0] == web.at_hand():
        web.wait_until_it_serves(state, process)


def _unwrap(state: State, words: list[str]) -> list[str]:
    """The command behind Shawl (``shawl.exe run [options] -- command``), or the words themselves."""
    if paths.name(words[0]).lower() != "shawl.exe":
        return words
    if words[1:2] != ["run"] or "--" not in words:
        raise ModelError("winsim: shawl needs: run [options] -- COMMAND")
    command = words[words.index("--") + 1 :]
    options = words[2 : words.index("--")]
    takes_value = {
        "--name",
        "--cwd",
        "--env",
        "--log-dir",
        "--log-as",
        "--log-cmd-as",
        "--log-rotate",
        "--log-retain",
        "--stop-timeout",
        "--restart-delay",
        "--pass",
    }
    plain = {"--restart", "--no-restart", "--no-log", "--no-log-cmd", "--kill-process-tree"}
    index = 0
    while index < len(options):
        if options[index] in takes_value:
            index += 2
        elif options[index] in plain:
            index += 1
        else:
            raise ModelError(f"winsim: shawl has no option {options[index]}")
    if not command or not state.path(command[0]).is_file():
        raise ModelError(f"shawl: cannot find {command[:1]}")
    return command


def _check_rights(state: State, everything: list[str], words: list[str], account: str) -> None:
    """The program really runs as this machine's root, so what its own account may do is looked up."""
    for program in {everything[0], words[0]}:
        access.demand(state, account, program, access.READ)
    for option, right in (("--log-dir", access.CHANGE), ("--cwd", access.READ), ("-p", access.READ)):
        if option in everything:
            access.demand(state, account, everything[everything.index(option) + 1], right)
    if "--log" in words:
        access.demand(state, account, paths.parent(words[words.index("--log") + 1]), access.CHANGE)
    if "--config" in words:
        file = words[words.index("--config") + 1]
        access.demand(state, account, file, access.READ)
        settings = json.loads(state.path(file).read_text())
        access.demand(state, account, settings["data_directory"], access.CHANGE)
        if "coordinator_ca_file" in settings:
            access.demand(state, account, settings["coordinator_ca_file"], access.READ)
    if paths.name(words[0]).lower() == "nginx.exe":
        prefix = words[words.index("-p") + 1]
        text = state.path(paths.join(prefix, words[words.index("-c") + 1])).read_text()
        for changed in re.findall(r"^\s*(?:pid|error_log)\s+([^\s;]+)", text, re.MULTILINE):
            access.demand(state, account, paths.parent(changed), access.CHANGE)
        access.demand(state, account, paths.join(prefix, "temp"), access.CHANGE)
        for found in re.findall(r"(?<![A-Za-z])[A-Za-z]:/(?!/)[^\";\s]+", text):
            if state.path(found).is_file():
                access.demand(state, account, found, access.READ)


def _with_hosts_file(state: State) -> list[str]:
    """Words before a command that give it the host's own hosts file, by a mount namespace, if that says anything."""
    lines = [line for line in state.path(HOSTS_FILE).read_text().splitlines() if line and not line.startswith("#")]
    if not lines or os.geteuid() != 0:
        return []
    file = state.root / "run" / "hosts"
    file.write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", script, str(file)]


def _real_words(state: State, words: list[str], configuration: Path) -> list[str]:
    """Arguments with real paths; the configuration file is a copy, with real paths inside too."""
    real = [str(_real(state, word)) for word in words]
    place = real.index("--config") + 1
    settings = json.loads(Path(real[place]).read_text())
    configuration.touch(mode=0o600)
    configuration.write_text(json.dumps(_real(state, settings), indent=1))
    real[place] = str(configuration)
    return real


def _real(state: State, value: Any) -> Any:
    if isinstance(value, str) and _WINDOWS_PATH.fullmatch(value):
        return str(state.path(value))
    if isinstance(value, dict):
        return {key: _real(state, item) for key, item in value.items()}
    return [_real(state, item) for item in value] if isinstance(value, list) else value


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-")


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


def _reap_later(process: subprocess.Popen[bytes]) -> None:
    _CHILDREN[process.pid] = process
    for pid in [pid for pid, child in _CHILDREN.items() if child.poll() is not None]:
        del _CHILDREN[pid]


def stop(state: State, name: str, grace_seconds: float = STOP_SECONDS) -> None:
    """End what ``start`` ran, as a service stop does: ask (Ctrl-C becomes SIGINT), wait, kill."""
    pid = state.section("processes").get(name)
    if pid is None or not state.writing:
        return
    state.section("processes").pop(name)
    process = _CHILDREN.pop(pid, None)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + grace_seconds
    while _alive(pid, process):
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def running(state: State, name: str) -> bool:
    pid = state.section("processes").get(name)
    return pid is not None and _alive(pid, _CHILDREN.get(pid))


def has_ended(state: State, name: str) -> bool:
    """Whether a real process was started for it that is there no longer."""
    return name in state.section("processes") and not running(state, name)


def _alive(pid: int, process: subprocess.Popen[bytes] | None) -> bool:
    if process is not None:
        return process.poll() is None
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def hang_up(state: State, name: str, command_line: str) -> None:
    """nginx's reload: a real one reads its configuration and certificate again."""
    if running(state, name):
        web.command(state, _unwrap(state, paths.split_command_line(command_line)))
        os.kill(state.section("processes")[name], signal.SIGHUP)


def stop_all(state: State) -> None:
    """The machine goes down: everything ends, politely or not."""
    for name in list(state.section("processes")):
        stop(state, name, POWER_OFF_SECONDS)


def power_on(state: State) -> None:
    """Start what the state says is running, after the simulator itself was away."""
    state.document["processes"] = {}
    for service in state.section("services").values():
        if service["state"] == "running" and not service["path"].lower().startswith("c:\\windows\\"):
            start(state, service["name"], service["path"], service["username"])
    for key, task in state.section("tasks").items():
        if task.get("_status") == "TASK_STATE_RUNNING":
            start_task(state, key, task)
    state.save()


def start_task(state: State, key: str, task: dict[str, Any]) -> None:
    """Start a scheduled task; one that runs is left alone, as ``multiple_instances`` 2 (ignore new) says."""
    if running(state, key):
        return
    action = task["actions"][0]
    start(state, key, f'"{action["path"]}" {action.get("arguments") or ""}', task["username"])
    task["_status"] = "TASK_STATE_RUNNING"


def power_cycle(state: State) -> None:
    """Restart the machine: all ends, automatic services start, the automatic logon happens and runs its tasks."""
    stop_all(state)
    state.document["boot"] += 1
    state.document["reboot_pending"] = False
    settings = state.section("settings")
    logon = settings.get("auto_logon")
    settings["logged_on"] = [logon["user"]] if logon else []
    desktops = {f"hku\\{access.sid_of(user)}\\volatile environment".lower() for user in settings["logged_on"]}
    registry = {key: values for key, values in state.section("registry").items() if not key.startswith("hku\\")}
    state.document["registry"] = registry | {key: {} for key in desktops}
    for service in state.section("services").values():
        automatic = service["start_mode"] in ("auto", "delayed")
        service["state"] = "running" if automatic else "stopped"
        if automatic and not service["path"].lower().startswith("c:\\windows\\"):
            start(state, service["name"], service["path"], service["username"])
    for key, task in state.section("tasks").items():
        at_logon = any(str(trigger.get("type")).lower() == "logon" for trigger in task.get("triggers") or [])
        task["_status"] = "TASK_STATE_READY"
        if (
            at_logon
            and task.get("enabled") is not False
            and paths.name(task.get("username") or "").lower() in settings["logged_on"]
        ):
            start_task(state, key, task)
    state.save()


def run_runtime(state: State, words: list[str]) -> Finished:
    """``python -m runtime ...`` in the foreground."""
    interpreter = os.environ.get("WINSIM_RUNTIME")
    if interpreter is None:
        return Finished()
    real = _real_words(state, words, state.root / "run" / "foreground.json")
    done = subprocess.run([interpreter, *real], capture_output=True, text=True, cwd=PROJECT, timeout=120, check=False)
    return Finished(done.returncode, done.stdout, done.stderr)


def run_code(state: State, path: str, code: str, words: list[str]) -> Finished:
    """``python -c``: only the one line that loads a configuration, run by the real loader when there is a runtime."""
    interpreter = os.environ.get("WINSIM_RUNTIME")
    if "runtime.chassis.config" not in code or len(words) != 1:
        return Finished(1, "", f"winsim: python -c with this code is not modelled: {code[:120]}")
    if not state.path(words[0]).is_file():
        return Finished(1, "", f"no such file: {words[0]}")
    if interpreter is None:
        return Finished()
    done = subprocess.run(
        [interpreter, "-c", code, str(state.path(words[0]))],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=60,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)
