"""Python: virtual environments, offline pip with hashes, and the release's own console script."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

from tests.lab.winsim import paths
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from . import daemons
from .call import Call, Finished, program, refuse

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_WHEEL_TAG = re.compile(r"-(cp312|cp3\d+-abi3|py3|py2\.py3)-[\w.]*?(win_amd64|any)\.whl$|-cp3\d+-abi3-win_amd64\.whl$")


@program("python.exe", "pythonw.exe")
def python(call: Call) -> Finished:
    words = list(call.words)
    while words[:1] in (["-I"], ["-E"], ["-s"], ["-B"]) or words[:2] == ["-X", "utf8"]:
        words = words[2:] if words[0] == "-X" else words[1:]
    if words[:2] == ["-m", "venv"]:
        return _venv(call, words[2:])
    if words[:3] == ["-m", "pip", "install"]:
        return _pip_install(call, words[3:])
    if words == ["--version"]:
        return Finished(0, "Python 3.12.10\r\n")
    if words[:1] == ["-c"]:
        return daemons.run_code(call.state, call.path, words[1], words[2:])
    return refuse(call)


def _venv(call: Call, words: list[str]) -> Finished:
    folders = [word for word in words if not word.startswith("--")]
    if len(folders) != 1 or any(word not in ("--clear",) for word in words if word.startswith("--")):
        return refuse(call)
    folder = folders[0]
    for name in ("python.exe", "pythonw.exe", "pip.exe"):
        call.state.write(paths.join(folder, "Scripts", name), b"MZ venv redirector", parents=True)
    call.state.write(paths.join(folder, "pyvenv.cfg"), f"home = {paths.parent(call.path)}\r\n".encode(), parents=True)
    call.state.make_folder(paths.join(folder, "Lib", "site-packages"))
    return Finished()


def _pip_install(call: Call, words: list[str]) -> Finished:
    """Offline only: every wheel must be there, fit this Python and Windows, and have the digest of the listing."""
    listing, index = None, True
    rest = iter(words)
    for word in rest:
        if word in ("--requirement", "-r"):
            listing = next(rest)
        elif word == "--no-index":
            index = False
        elif word not in (
            "--require-hashes",
            "--no-deps",
            "--disable-pip-version-check",
            "--quiet",
            "--no-warn-script-location",
            "--no-cache-dir",
        ):
            return refuse(call)
    if listing is None or index or "--require-hashes" not in words:
        return Finished(
            1,
            "",
            "winsim: this machine has no internet: install with --no-index --require-hashes --requirement FILE\r\n",
        )
    release = paths.parent(paths.parent(call.path))
    try:
        for line in call.state.path(listing).read_text().splitlines():
            if line.strip():
                _install(call.state, line.strip(), paths.parent(listing), release)
    except ModelError as error:
        return Finished(1, "", f"ERROR: {error.message}\r\n")
    return Finished(0, "Successfully installed\r\n")


def _install(state: State, line: str, folder: str, release: str) -> None:
    requirement, wanted = line.split()[0], set(_HASH.findall(line))
    wheel = _wheel(state, requirement, folder)
    if not _WHEEL_TAG.search(wheel.name):
        raise ModelError(f"{wheel.name} is not a supported wheel on this platform.")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() not in wanted:
        raise ModelError(f"THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE: {wheel.name}")
    site = paths.join(release, "Lib", "site-packages")
    with zipfile.ZipFile(wheel) as archive:
        metadata = [
            name for name in archive.namelist() if name.endswith((".dist-info/METADATA", ".dist-info/entry_points.txt"))
        ]
        for name in metadata:
            state.write(paths.join(site, name), archive.read(name), parents=True)
        for script in _scripts(archive, metadata):
            state.write(paths.join(release, "Scripts", script + ".exe"), b"MZ console script", parents=True)


def _wheel(state: State, requirement: str, folder: str) -> Path:
    if requirement.startswith("./"):
        return state.path(paths.join(folder, requirement[2:]))
    name, _, version = requirement.partition("==")
    prefix = f"{re.sub(r'[-_.]+', '_', name)}-{version}-".lower()
    wheels = state.path(paths.join(folder, "wheels"))
    for candidate in sorted(wheels.iterdir()) if wheels.is_dir() else []:
        if re.sub(r"[-.]+(?=.*?-\d)", "_", candidate.name.lower()).startswith(
            prefix
        ) or candidate.name.lower().startswith(prefix):
            return candidate
    raise ModelError(f"Could not find a version that satisfies the requirement {requirement}")


def _scripts(archive: zipfile.ZipFile, metadata: list[str]) -> list[str]:
    found: list[str] = []
    for name in metadata:
        if name.endswith("entry_points.txt"):
            section = re.search(r"\[console_scripts\]([^\[]*)", archive.read(name).decode())
            found += re.findall(r"^\s*([\w.-]+)\s*=", section.group(1), re.MULTILINE) if section else []
    return found


@program("pixelstream.exe")
def pixelstream(call: Call) -> Finished:
    if call.words == ("--version",):
        return Finished(0, "pixelstream\r\n")
    return refuse(call)
