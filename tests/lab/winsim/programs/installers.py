"""What the installers that the roles use leave behind. A silent switch is demanded: over WinRM nobody can click."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable

from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

Installer = Callable[[State, list[str]], None]


def find(file_name: str) -> Installer:
    """The model of an installer by its file name; raises :class:`ModelError` for one that is not modelled."""
    for pattern, installer in _INSTALLERS.items():
        if fnmatch.fnmatch(file_name.lower(), pattern):
            return installer
    raise ModelError(f"winsim: installer {file_name} is not modelled")


def exit_code(state: State, file_name: str) -> int:
    """What ``installers.json`` (glob -> exit code) beside the state says, else 0."""
    listing = state.root / "installers.json"
    codes: dict[str, int] = json.loads(listing.read_text()) if listing.exists() else {}
    return next((code for pattern, code in codes.items() if fnmatch.fnmatch(file_name.lower(), pattern.lower())), 0)


def _demand(words: list[str], *switches: str) -> None:
    lower = [word.lower() for word in words]
    missing = [switch for switch in switches if switch not in lower]
    if missing:
        raise ModelError(
            f"winsim: the installer would wait for a click or restart the machine; it needs {' '.join(missing)}"
        )


def _registry(state: State, path: str, name: str, data: object, kind: str = "string") -> None:
    key = state.section("registry").setdefault(path.lower(), {})
    key[name.lower()] = {"type": kind, "data": data}


def _python(state: State, words: list[str]) -> None:
    _demand(words, "/quiet", "installallusers=1")
    target = next(
        (word.partition("=")[2] for word in words if word.lower().startswith("targetdir=")),
        "C:\\Program Files\\Python312",
    )
    for name in ("python.exe", "pythonw.exe", "python312.dll", "vcruntime140.dll"):
        state.write(f"{target}\\{name}", b"MZ", parents=True)


def _visual_cpp(state: State, words: list[str]) -> None:
    _demand(words, "/quiet", "/norestart")
    path = "hklm\\software\\microsoft\\visualstudio\\14.0\\vc\\runtimes\\x64"
    for name, data, kind in (
        ("Installed", 1, "dword"),
        ("Major", 14, "dword"),
        ("Minor", 44, "dword"),
        ("Version", "v14.44.35211.00", "string"),
    ):
        _registry(state, path, name, data, kind)


def _direct_x_archive(state: State, words: list[str]) -> None:
    """The offline redistributable only unpacks; what is unpacked holds the installer proper."""
    _demand(words, "/q")
    folder = next(
        (re.sub(r"^/t:", "", word, flags=re.IGNORECASE).strip('"') for word in words if word.lower().startswith("/t:")),
        None,
    )
    if folder is None:
        raise ModelError("winsim: directx_Jun2010_redist.exe needs /T:FOLDER, or it asks where to unpack")
    state.write(f"{folder}\\DXSETUP.exe", b"MZ", parents=True)


def _direct_x(state: State, words: list[str]) -> None:
    _demand(words, "/silent")
    for name in ("d3dx9_43.dll", "XInput1_3.dll", "XAPOFX1_5.dll", "d3dcompiler_43.dll"):
        state.write(f"C:\\Windows\\System32\\{name}", b"MZ", parents=True)


def _nvidia(state: State, words: list[str]) -> None:
    _demand(words, "-s", "-noreboot")
    state.write("C:\\Windows\\System32\\nvidia-smi.exe", b"MZ", parents=True)
    listing = state.root / "gpus.json"
    gpus = [{"index": 0, "name": "NVIDIA RTX A4000", "memory_mib": 16376, "driver": "573.42", "encoder_sessions": 0}]
    if not listing.exists():
        listing.write_text(json.dumps(gpus))


_INSTALLERS: dict[str, Installer] = {
    "python-3.*-amd64.exe": _python,
    "vc_redist*.exe": _visual_cpp,
    "directx_jun2010_redist.exe": _direct_x_archive,
    "dxsetup.exe": _direct_x,
    "*nvidia*.exe": _nvidia,
    "*-desktop-*-whql.exe": _nvidia,
}
