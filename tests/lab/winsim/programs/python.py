"""Python on the simulated machine: virtual environments, and scripts of the roles, which really run.

A script is run by the simulator's own interpreter, with the Windows paths among its arguments replaced by the real
files behind them, and the other way round in what it prints.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.lab.winsim import paths
from tests.lab.winsim.state import State

from . import daemons, pip
from .call import Call, Finished, program, refuse

_SCRIPT_SECONDS = 60
_WINDOWS_PATH = re.compile(r"([A-Za-z]:\\|\\\\).*")


@program("python.exe", "pythonw.exe")
def python(call: Call) -> Finished:
    words = list(call.words)
    while words[:1] in (["-I"], ["-E"], ["-s"], ["-B"]):
        words = words[1:]
    if words[:2] == ["-m", "venv"] and len(words) == 3:
        return _venv(call, words[2])
    if words[:2] == ["-m", "pip"]:
        rest = [word for word in words[2:] if word not in ("--disable-pip-version-check", "--no-cache-dir")]
        return pip.install(call, rest[1:]) if rest[:1] == ["install"] else refuse(call)
    if words[:2] == ["-m", "runtime"] and words[-1] == "--end-sessions":
        return daemons.run_runtime(call.state, words)
    if words == ["--version"]:
        return Finished(0, "Python 3.12.10\r\n")
    if words[:1] == ["-c"]:
        return daemons.run_code(call.state, call.path, words[1], words[2:])
    if words and words[0].lower().endswith(".py"):
        return _run_script(call, words)
    return refuse(call)


def _venv(call: Call, folder: str) -> Finished:
    for name in ("python.exe", "pythonw.exe", "pip.exe"):
        call.state.write(paths.join(folder, "Scripts", name), b"MZ venv redirector", parents=True)
    call.state.write(paths.join(folder, "pyvenv.cfg"), f"home = {paths.parent(call.path)}\r\n".encode(), parents=True)
    call.state.make_folder(paths.join(folder, "Lib", "site-packages"))
    return Finished()


def _run_script(call: Call, words: list[str]) -> Finished:
    script = call.state.path(call.absolute(words[0]))
    if not script.is_file():
        return Finished(2, "", f"{call.path}: can't open file '{words[0]}': [Errno 2] No such file or directory\r\n")
    command = [sys.executable, "-I", str(script), *(_real(call.state, word) for word in words[1:])]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_SCRIPT_SECONDS, check=False, env={"PATH": os.defpath}
    )
    return Finished(done.returncode, _shown(call.state, done.stdout), _shown(call.state, done.stderr))


def _real(state: State, word: str) -> str:
    """A Windows path as an argument becomes the real file; anything else stays."""
    return str(state.path(word)) if _WINDOWS_PATH.fullmatch(word) else word


def _shown(state: State, text: str) -> str:
    """Real paths in a program's output become Windows paths again."""
    pattern = re.escape(str(state.files)) + r"/([a-z])((?:/[^/\s\"':,]+)*)"
    return re.sub(pattern, lambda match: f"{match.group(1).upper()}:{match.group(2)}".replace("/", "\\"), text)


@program("pixelstream.exe")
def pixelstream(call: Call) -> Finished:
    if call.words == ("--version",):
        return Finished(0, "pixelstream\r\n")
    return refuse(call)
