"""Running programs: win_command models the program that is named; PowerShell is looked up, never interpreted."""

from __future__ import annotations

from tests.lab.winsim import paths, programs
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, model

_TIMES = {"start": "", "end": "", "delta": "0:00:00.1"}


def _skip_reason(state: State, arguments: Arguments) -> str | None:
    for name, skips_when in (("creates", True), ("removes", False)):
        path = arguments.get(name)
        if path and state.path(path).exists() is skips_when:
            return f"skipped, since {path} {'exists' if skips_when else 'does not exist'}"
    if arguments.get("_ansible_check_mode"):
        return "command would have run if not in check mode"
    return None


@model("ansible.windows.win_command")
def win_command(state: State, arguments: Arguments) -> Result:
    words = [str(word) for word in arguments.get("argv") or []]
    if not words:
        words = paths.split_command_line(arguments.get("_raw_params") or arguments.get("cmd") or "")
    if not words:
        raise ModelError("no command given")
    reason = _skip_reason(state, arguments)
    if reason:
        return {"skipped": True, "msg": reason, "rc": 0, "cmd": words}
    if arguments.get("chdir") and not state.path(arguments["chdir"]).is_dir():
        raise ModelError(f"The directory name is invalid: {arguments['chdir']}")
    result = programs.run(state, words, become=arguments.get("_become"), folder=arguments.get("chdir"))
    answer: Result = {
        "changed": True,
        "cmd": words,
        "rc": result.rc,
        "stdout": result.stdout,
        "stderr": result.stderr,
        **_TIMES,
    }
    return answer if result.rc == 0 else {**answer, "failed": True, "msg": "non-zero return code"}


@model("ansible.windows.win_shell")
def win_shell(state: State, arguments: Arguments) -> Result:
    reason = _skip_reason(state, arguments)
    if reason:
        return {"skipped": True, "msg": reason, "rc": 0}
    text = arguments.get("_raw_params") or arguments.get("cmd") or ""
    result = programs.run_powershell(state, text, "shell")
    answer: Result = {
        "changed": True,
        "cmd": text,
        "rc": result.rc,
        "stdout": result.stdout,
        "stderr": result.stderr,
        **_TIMES,
    }
    return answer if result.rc == 0 else {**answer, "failed": True, "msg": "non-zero return code"}


@model("ansible.windows.win_powershell")
def win_powershell(state: State, arguments: Arguments) -> Result:
    reason = _skip_reason(state, arguments)
    if reason:
        return {"skipped": True, "msg": reason}
    result = programs.run_powershell(state, arguments["script"], "powershell")
    if result.rc != 0:
        raise ModelError(result.stderr)
    return {"changed": True, "output": [result.stdout] if result.stdout else [], "error": [], "result": {}}
