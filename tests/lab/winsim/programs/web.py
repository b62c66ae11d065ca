"""The real nginx behind a simulated one: ``WINSIM_NGINX`` names its program.

It gets the configuration that the role wrote, with Windows paths replaced by the files behind them and each ``listen``
at the address of the simulated machine, so that several machines can serve on ports 80 and 443 beside each other.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import time
from pathlib import Path

from tests.lab.winsim import paths
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

START_SECONDS = 15.0


def at_hand() -> str | None:
    """Path of the real nginx, or None."""
    return os.environ.get("WINSIM_NGINX") or None


def command(state: State, words: list[str]) -> list[str]:
    """Write the configuration of ``nginx.exe -p PREFIX -c FILE`` as it is now; the words that serve with it."""
    program = at_hand()
    assert program is not None
    prefix, file = words[words.index("-p") + 1], words[words.index("-c") + 1]
    home = state.root / "run" / "nginx"
    home.mkdir(parents=True, exist_ok=True)
    text = as_for_this_nginx(program, real_paths(state, state.path(paths.join(prefix, file)).read_text()))
    (home / "nginx.conf").write_text(_at_own_address(text, state.address, home))
    return [
        program,
        "-p",
        str(home),
        "-c",
        str(home / "nginx.conf"),
        "-e",
        str(home / "error.log"),
        "-g",
        "daemon off;",
    ]


def wait_until_it_serves(state: State, process: subprocess.Popen[bytes]) -> None:
    """Raise :class:`ModelError` with nginx's own words when it ends instead, because a port is taken for example.

    nginx writes its process id when it has all its ports, which it tries to get for some seconds.
    """
    home = state.root / "run" / "nginx"
    (place,) = re.findall(r"^\s*pid ([^;]+);", (home / "nginx.conf").read_text(), re.MULTILINE)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if Path(place).read_text().strip() == str(process.pid):
                return
        time.sleep(0.02)
    raise ModelError(f"nginx does not serve: {(home / 'error.log').read_text()[-2000:]}")


def _at_own_address(text: str, address: str, home: Path) -> str:
    """Listen where this machine is, and write where it may: workers are root, who alone can read a test's folders."""
    text = re.sub(r"^\s*listen \[::\]:[^;]*;\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^(\s*listen )(?=\d+[ ;])", rf"\g<1>{address}:", text, flags=re.MULTILINE)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)
    return "user root;\n" + text.replace("http {", f"http {{ {temporary}", 1)


def real_paths(state: State, text: str) -> str:
    """Replace quoted or bare Windows paths (with slashes, as nginx wants them) by the files behind them."""
    return re.sub(r'(?<![A-Za-z])[A-Za-z]:/(?!/)[^";\n]*', lambda match: str(state.path(match.group(0).strip())), text)


def as_for_this_nginx(program: str, text: str) -> str:
    """``http2 on`` came with 1.25.1; the simulated nginx has it, the one at hand may not."""
    return text if _version(program) >= (1, 25, 1) else re.sub(r"^\s*http2 on;\n", "", text, flags=re.MULTILINE)


@functools.cache
def _version(program: str) -> tuple[int, ...]:
    shown = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=30, check=False).stderr
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", shown)
    return tuple(int(part) for part in found.groups()) if found else (0, 0, 0)
