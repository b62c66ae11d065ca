"""Programs of the simulated machine: what ``win_command`` runs, what services run, and canned PowerShell.

A program outside Windows' own folders must be there as a file, so a role that forgets to install it fails.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.lab.winsim import paths
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from . import daemons, nginx, nvidia, python, system
from .call import PROGRAMS, Call, Finished

__all__ = ["daemons", "nginx", "nvidia", "python", "run", "run_powershell", "start_service", "stop_service", "system"]

SYSTEM_FOLDER = "C:\\Windows\\System32"
_REBOOT_PROBE = re.compile(r"AutoLogonChecked' -ErrorAction Stop; '(success-[0-9a-f-]+)'")


def run(state: State, words: list[str], become: str | None = None, folder: str | None = None) -> Finished:
    """Run a command line that is split already; raises :class:`ModelError` when the program is not there."""
    path, name = words[0], paths.name(words[0]).lower()
    if "\\" not in path and "/" not in path:
        path = paths.join(SYSTEM_FOLDER, path if "." in path else path + ".exe")
        name = paths.name(path).lower()
    if not path.lower().startswith(SYSTEM_FOLDER.lower()) and not state.path(path).is_file():
        raise ModelError(f"The system cannot find the file specified: {path}", rc=2)
    model = PROGRAMS.get(name)
    if model is None:
        raise ModelError(f"winsim: program {name} is not modelled", rc=1)
    return model(Call(state, path, tuple(words[1:]), become, folder))


def run_powershell(state: State, text: str, kind: str) -> Finished:
    """Answer a script: win_reboot's own questions, else ``scripts.json`` beside the state; unknown text fails.

    An entry of ``scripts.json`` is ``{"match": regular expression, "kind"?: raw|script|shell|powershell, "stdout"?,
    "stderr"?, "rc"?}``.
    """
    if "LastBootUpTime" in text:
        return Finished(0, f"{133_000_000_000_000_000 + state.document['boot']}\r\n")
    if "shutdown.exe /r" in text:
        daemons.power_cycle(state)
        return Finished(0, json.dumps({"rc": 0, "stdout": "", "stderr": ""}))
    probe = _REBOOT_PROBE.search(text)
    if probe:
        return Finished(0, probe.group(1) + "\r\n")
    canned = state.root / "scripts.json"
    answers: list[dict[str, Any]] = json.loads(canned.read_text()) if canned.exists() else []
    for answer in answers:
        if answer.get("kind", kind) == kind and re.search(answer["match"], text, re.DOTALL):
            return Finished(answer.get("rc", 0), answer.get("stdout", ""), answer.get("stderr", ""))
    return Finished(1, "", f"winsim: no canned answer for this {kind} script: {text[:200]}")


def start_service(state: State, service: dict[str, Any]) -> None:
    daemons.start(state, service["name"], service["path"], service["username"])


def stop_service(state: State, service: dict[str, Any]) -> None:
    daemons.stop(state, service["name"])
