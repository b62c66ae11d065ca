"""``pip install`` without an index: every wheel must be there, fit, and have the digest that the listing names."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

from tests.lab.winsim import paths
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .call import Call, Finished, refuse

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_FLAGS = {
    "--require-hashes",
    "--no-index",
    "--no-deps",
    "--quiet",
    "--no-cache-dir",
    "--disable-pip-version-check",
    "--no-warn-script-location",
}
_DEMANDED = {"--require-hashes", "--no-index"}
# Wheel tags (PEP 425) that CPython 3.12 on 64-bit Windows takes.
_PLATFORM = re.compile(r"(win_amd64|any)\.whl")


def install(call: Call, words: list[str]) -> Finished:
    """Unpack what the roles look at (metadata and console scripts) of each wheel in the listing."""
    values = dict(word.split("=", 1) for word in words if "=" in word)
    flags = {word for word in words if "=" not in word}
    if flags - _FLAGS or set(values) - {"--requirement", "--find-links"} or "--requirement" not in values:
        return refuse(call)
    if not flags >= _DEMANDED:
        return Finished(1, "", "winsim: this machine has no internet: pip needs --no-index and --require-hashes\r\n")
    listing = call.absolute(values["--requirement"])
    links = call.absolute(values.get("--find-links", "."))
    release = paths.parent(paths.parent(call.path))
    if not call.state.path(paths.join(release, "pyvenv.cfg")).is_file():
        return Finished(1, "", "winsim: this pip would install into Python itself, not into a virtual environment\r\n")
    try:
        for line in call.state.path(listing).read_text().splitlines():
            if line.strip():
                _install(call.state, line.strip(), links, paths.parent(listing), release)
    except ModelError as error:
        return Finished(1, "", f"ERROR: {error.message}\r\n")
    return Finished(0, "Successfully installed\r\n")


def _install(state: State, line: str, links: str, folder: str, release: str) -> None:
    requirement, wanted = line.split()[0], set(_HASH.findall(line))
    wheel = _wheel(state, requirement, links, folder)
    if not fits(wheel.name):
        raise ModelError(f"{wheel.name} is not a supported wheel on this platform.")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() not in wanted:
        raise ModelError(f"THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE: {wheel.name}")
    site = paths.join(release, "Lib", "site-packages")
    with zipfile.ZipFile(wheel) as archive:
        kept = (".dist-info/METADATA", ".dist-info/entry_points.txt")
        metadata = [name for name in archive.namelist() if name.endswith(kept)]
        for name in metadata:
            state.write(paths.join(site, name), archive.read(name), parents=True)
        for script in _scripts(archive, metadata):
            state.write(paths.join(release, "Scripts", script + ".exe"), b"MZ console script", parents=True)


def fits(wheel: str) -> bool:
    """Whether CPython 3.12 on 64-bit Windows takes a wheel of this name (PEP 425, 427)."""
    python, abi, platform = wheel.rsplit("-", 3)[1:]
    if _PLATFORM.fullmatch(platform) is None:
        return False
    stable = any(re.fullmatch(r"cp3\d+", tag) and int(tag[3:]) <= 12 for tag in python.split("."))
    return "cp312" in abi or ("abi3" in abi and stable) or ("none" in abi and ("py3" in python or "cp312" in python))


def _wheel(state: State, requirement: str, links: str, folder: str) -> Path:
    if requirement.startswith("./"):
        named = state.path(paths.join(folder, requirement[2:]))
        if named.is_file():
            return named
        raise ModelError(f"{requirement} does not exist")
    name, _, version = requirement.partition("==")
    wanted = (_normal(name.partition("[")[0]), version)
    folder_of_wheels = state.path(links)
    for candidate in sorted(folder_of_wheels.glob("*.whl")):
        distribution, candidate_version = candidate.name.split("-")[:2]
        if (_normal(distribution), candidate_version) == wanted:
            return candidate
    raise ModelError(f"Could not find a version that satisfies the requirement {requirement}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _scripts(archive: zipfile.ZipFile, metadata: list[str]) -> list[str]:
    found: list[str] = []
    for name in metadata:
        if name.endswith("entry_points.txt"):
            section = re.search(r"\[console_scripts\]([^\[]*)", archive.read(name).decode())
            found += re.findall(r"^\s*([\w.-]+)\s*=", section.group(1), re.MULTILINE) if section else []
    return found
