"""``nginx.exe`` on the command line: tests and reloads its configuration, with the real nginx when there is one
(``web.py``).
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from tests.lab.winsim.state import State

from . import daemons, web
from .call import Call, Finished, program, refuse

# What an nginx for Windows does not have or cannot do; a configuration that uses it is wrong there.
_NOT_ON_WINDOWS = ("user ", "sendfile on", "aio ", "use epoll")


@program("nginx.exe")
def nginx(call: Call) -> Finished:
    words = list(call.words)
    if words[:1] != ["-p"] or words[2:3] != ["-c"] or len(words) < 5:
        return refuse(call)
    prefix, configuration, rest = words[1], words[3], words[4:]
    file = call.state.path(prefix.rstrip("/\\") + "\\" + configuration if ":" not in configuration else configuration)
    if not file.is_file():
        return Finished(
            1,
            "",
            f'nginx: [emerg] CreateFile() "{configuration}" failed (2: The system cannot find the file specified)\r\n',
        )
    if rest == ["-t"]:
        return check(call.state, file)
    if rest in (["-s", "reload"], ["-s", "reopen"], ["-s", "quit"]):
        return _signal(call, rest[1])
    return refuse(call)


def _signal(call: Call, signal: str) -> Finished:
    """Signals are named events in the session of the service: only its own account or SYSTEM may set them."""
    if (call.become or "").upper().rpartition("\\")[2] != "SYSTEM":
        return Finished(1, "", 'nginx: [error] OpenEvent("Global\\ngx_reload_1234") failed (5: Access is denied)\r\n')
    services = call.state.section("services")
    running = [
        service for service in services.values() if "nginx.exe" in service["path"] and service["state"] == "running"
    ]
    if not running:
        return Finished(
            1,
            "",
            'nginx: [error] CreateFile() "logs/nginx.pid" failed (2: The system cannot find the file specified)\r\n',
        )
    count = f"nginx {signal} count"
    settings = call.state.section("settings")
    call.state.put(settings, count, settings.get(count, 0) + 1)
    if signal == "reload":
        daemons.hang_up(call.state, running[0]["name"], running[0]["path"])
    return Finished()


def check(state: State, file: Path) -> Finished:
    """``nginx -t`` of a rendered configuration. Paths are replaced by the real ones behind them."""
    text = file.read_text()
    for word in _NOT_ON_WINDOWS:
        if re.search(rf"^\s*{re.escape(word)}", text, re.MULTILINE):
            return Finished(1, "", f'nginx: [emerg] "{word.strip()}" is not for Windows\r\n')
    program_path = web.at_hand()
    if not program_path:
        return Finished(0, "", "nginx: the configuration file syntax is ok (not checked: WINSIM_NGINX is not set)\r\n")
    with tempfile.TemporaryDirectory() as folder:
        translated = Path(folder) / "nginx.conf"
        translated.write_text(web.as_for_this_nginx(program_path, web.real_paths(state, text)))
        command = [program_path, "-t", "-e", f"{folder}/error.log", "-p", folder, "-c", str(translated)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return Finished(done.returncode, done.stdout, done.stderr)
