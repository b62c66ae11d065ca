"""Run decoded payloads on the state of one machine."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

from . import faults, modules, programs
from .errors import ModelError
from .payload import Action, Payload, decode
from .specs import Specs
from .state import State

Output = tuple[bytes, bytes, int]
_TYPED_FILE = re.compile(r"""type ["']?(.+?)["']? \| """)
_REMOVE = re.compile(r"Remove-Item '((?:[^']|'')*)' -Force( -Recurse)?;")
_SCRIPT_FILE = re.compile(r"&\s+'?([A-Za-z]:\\[^';]+?\.ps1)'?([^;]*); exit")


class Machine:
    """Executes what arrives over WinRM. One call at a time: the lock stands for the disk."""

    def __init__(self, root: Path, computer: str, user: str) -> None:
        self.state = State(root, computer, user)
        self._jobs: dict[str, dict[str, Any]] = {}
        self._calls = (root / "calls.jsonl").open("a", buffering=1)
        self._specs: Specs | None = None

    def power_on(self) -> None:
        """Run again what ran when the simulator ended."""
        with self.state.lock:
            programs.daemons.power_on(self.state)

    def power_off(self) -> None:
        with self.state.lock:
            programs.daemons.stop_all(self.state)
        self._calls.close()

    def fault(self, command_line: str, standard_input: bytes) -> faults.Fault | None:
        subject = decode(command_line, standard_input).subject
        fault = faults.take(self.state.root / "faults.json", subject)
        if fault is not None:
            self._log("fault", mode=fault.mode, on=subject[:120])
        return fault

    def execute(self, command_line: str, standard_input: bytes) -> Output:
        typed = _TYPED_FILE.match(command_line)  # ANSIBLE_KEEP_REMOTE_FILES: the manifest was put as a file
        if typed:
            standard_input = self.state.path(typed.group(1)).read_bytes()
        payload = decode(command_line, standard_input)
        with self.state.lock:
            return self._run_manifest(payload) if payload.actions else self._run_script(payload.script)

    def _log(self, kind: str, **fields: Any) -> None:
        self._calls.write(json.dumps({"time": round(time.time(), 3), "kind": kind, **fields}, default=str) + "\n")

    def _run_script(self, text: str) -> Output:
        """Bare scripts: removal of the temporary folder, ``raw``, and win_reboot's questions."""
        match = _REMOVE.search(text)
        if match:
            self.state.remove(match.group(1).replace("''", "'"))
            return b"", b"", 0
        result = programs.run_powershell(self.state, text, "raw")
        self._log("raw", script=text, rc=result.rc)
        self.state.save()
        return result.stdout.encode(), result.stderr.encode(), result.rc

    def _run_manifest(self, payload: Payload) -> Output:
        become: str | None = None
        job: dict[str, Any] | None = None
        for action in payload.actions:
            if action.name == "become_wrapper.ps1":
                become = action.parameters.get("BecomeUser")
            elif action.name == "async_wrapper.ps1":
                job = action.parameters
            elif action.name in ("async_watchdog.ps1", "coverage_wrapper.ps1"):
                continue
            elif action.name == "module_wrapper.ps1":
                return self._run_module(action, payload, become, job)
            else:
                return self._transfer(action, payload)
        raise NotImplementedError("a manifest without a final action")

    def _transfer(self, action: Action, payload: Payload) -> Output:
        """File transfer and the other single-step scripts of the shell plugin."""
        parameters = action.parameters
        if action.name == "winrm_put_file.ps1":
            data = b"".join(base64.b64decode(line) for line in payload.data.split(b"\r\n") if line.strip())
            self.state.write(parameters["Path"], data)
            self._log("put", path=parameters["Path"], size_bytes=len(data))
            return json.dumps({"sha1": hashlib.sha1(data).hexdigest()}).encode() + b"\r\n", b"", 0
        if action.name == "winrm_fetch_file.ps1":
            file = self.state.path(parameters["Path"])
            if file.is_dir():
                return b"[DIR]\r\n", b"", 0
            if not file.is_file():
                return b"", f"{parameters['Path']} does not exist".encode(), 1
            offset, size = int(parameters["Offset"]), int(parameters["BufferSize"])
            return base64.b64encode(file.read_bytes()[offset : offset + size]) + b"\r\n", b"", 0
        if action.name == "powershell_mkdtemp.ps1":
            folder = self.state.expand(parameters["Directory"]).rstrip("\\") + "\\" + parameters["Name"]
            self.state.make_folder(folder)
            return folder.encode() + b"\r\n", b"", 0
        if action.name == "powershell_expand_user.ps1":
            return parameters["Path"].replace("~", self.state.home, 1).encode() + b"\r\n", b"", 0
        raise NotImplementedError(f"execution step {action.name}")

    def _run_module(self, action: Action, payload: Payload, become: str | None, job: dict[str, Any] | None) -> Output:
        name = action.module
        if "Variables" not in action.parameters:
            return self._run_script_file(action, payload)
        arguments = next(item["Value"] for item in action.parameters["Variables"] if item["Name"] == "complex_args")
        if name is None:
            name = re.sub(r"\.ps1$", "", action.parameters["Script"])
        result = self._answer(name, arguments, become)
        shown = {key: value for key, value in arguments.items() if not key.startswith("_ansible")}
        self._log(
            "module",
            name=name,
            check=bool(arguments.get("_ansible_check_mode")),
            become=become,
            asynchronous=job is not None,
            arguments="<no_log>" if arguments.get("_ansible_no_log") else shown,
            changed=bool(result.get("changed")),
            failed=bool(result.get("failed")),
            msg=result.get("msg"),
        )
        self.state.save()
        if job is not None:
            result = self._keep_job(job, result)
        return json.dumps(result).encode() + b"\r\n", b"", 1 if result.get("failed") else 0

    def _run_script_file(self, action: Action, payload: Payload) -> Output:
        """The ``script`` action: the file was put before, and a one-line script calls it."""
        text = base64.b64decode(payload.scripts[action.parameters["Script"]]["script"]).decode()
        match = _SCRIPT_FILE.match(text)
        if match:
            text = self.state.path(match.group(1)).read_text() + "\n# arguments:" + match.group(2)
        result = programs.run_powershell(self.state, text, "script")
        self._log("script", script=text, rc=result.rc)
        self.state.save()
        return result.stdout.encode(), result.stderr.encode(), result.rc

    def _keep_job(self, job: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        identity = job["AsyncJid"] + ".1"
        self._jobs[identity] = {**result, "finished": 1, "started": 1, "ansible_job_id": identity}
        results_file = job["AsyncDir"] + "\\" + identity
        return {
            "started": 1,
            "finished": 0,
            "ansible_job_id": identity,
            "results_file": results_file,
            "_ansible_suppress_tmpdir_delete": True,
        }

    def _answer(self, name: str, arguments: dict[str, Any], become: str | None) -> dict[str, Any]:
        short = name.replace("ansible.legacy.", "ansible.windows.")
        if short == "ansible.windows.async_status":
            found = self._jobs.get(arguments["jid"])
            return dict(found) if found else {"failed": True, "changed": False, "msg": "could not find job"}
        model = modules.MODELS.get(short)
        if model is None:
            return {"failed": True, "changed": False, "msg": f"winsim: module {name} is not modelled"}
        if self._specs is None:
            self._specs = Specs.load(modules.MODELS, self.state.root.parent)
        result: dict[str, Any] = {"changed": False, "failed": False}
        try:
            checked = self._specs.check(short, arguments)
            checked["_become"] = become
            if arguments.get("_ansible_check_mode"):
                with self.state.check_mode():
                    result |= model(self.state, checked)
            else:
                result |= model(self.state, checked)
        except ModelError as error:
            result = {"failed": True, "changed": False, "msg": error.message, **error.result}
        result.setdefault(
            "invocation", {"module_args": {key: value for key, value in arguments.items() if not key.startswith("_")}}
        )
        return result
