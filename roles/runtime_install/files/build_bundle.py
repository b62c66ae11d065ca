"""Make one file from which a machine without internet can install a release. Runs on the controller.

    build_bundle.py --source CHECKOUT --cache DIR --python 3.11 --platform linux-x86_64 --requirements FILE...

Prints JSON: ``release`` (name of the release directory), ``version``, ``bundle`` (path), ``sha256`` of the bundle.
The bundle holds ``wheels/`` and a ``requirements.txt`` with hashes; a tar file for Linux, a zip file for Windows.

Everything is kept in the cache under names made of its content: an unchanged source and lock file build and download
nothing.
Lock files are universal (one for all systems), so environment markers are evaluated here for the *target's* Python.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # a controller is always POSIX; tests import this module anywhere
    fcntl = None  # type: ignore[assignment]

# platform -> (pip platform tags, marker environment)
PLATFORMS: dict[str, tuple[list[str], dict[str, str]]] = {
    f"linux-{machine}": (
        [f"manylinux_2_{minor}_{machine}" for minor in range(36, 4, -1)]
        + [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}"],
        {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": machine},
    )
    for machine in ("x86_64", "aarch64")
}
PLATFORMS["windows-x86_64"] = (
    ["win_amd64"],
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
)
BUILD_INPUTS = ("pyproject.toml", "README.md", "LICENSE", "runtime")
NOT_IN_WHEEL = {"web", "__pycache__", "node_modules"}


class BundleError(Exception):
    """The bundle cannot be made; the text names the fix."""


def requirement_blocks(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (requirement, marker, hash options) of each entry of a lock file."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        line = line.split(" #", 1)[0].strip()
        if not line or line.startswith(("#", "-")):
            continue
        words = line.split(" --hash=")
        requirement, _, marker = words[0].partition(";")
        yield requirement.strip(), marker.strip(), [f"--hash={word.strip()}" for word in words[1:]]


def requirements_for(texts: list[str], python: str, platform: str) -> list[str]:
    """Return the lock lines that apply to ``python`` on ``platform``, without markers, sorted, each once."""
    from packaging.markers import Marker, default_environment

    environment = {**default_environment(), **PLATFORMS[platform][1]}
    environment |= {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    lines: dict[str, str] = {}
    for text in texts:
        for requirement, marker, hashes in requirement_blocks(text):
            if marker and not Marker(marker).evaluate(environment):
                continue
            if not hashes:
                raise BundleError(f"{requirement} has no hash in the lock file. Make the lock anew: make lock.")
            name = requirement.split("==")[0].lower()
            line = " ".join([requirement, *sorted(hashes)])
            if lines.setdefault(name, line).split(" ")[0] != requirement:
                raise BundleError(f"the lock files disagree about {name}. Make them anew together: make lock.")
    return sorted(lines.values())


def source_digest(source: Path) -> str:
    """Return a digest of everything that can end up in the wheel."""
    digest = hashlib.sha256()
    for name in BUILD_INPUTS:
        top = source / name
        files = sorted(top.rglob("*")) if top.is_dir() else [top]
        for path in files:
            relative = path.relative_to(source)
            if not path.is_file() or path.suffix == ".pyc" or NOT_IN_WHEEL & set(relative.parts):
                continue
            digest.update(f"{relative}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def run_pip(arguments: list[str], fix: str) -> None:
    """Run this interpreter's pip; raise with its last lines and ``fix`` when it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if result.returncode:
        reason = "\n".join((result.stderr or result.stdout).strip().splitlines()[-6:])
        raise BundleError(f"pip {arguments[0]} failed: {reason}\nFix: {fix}")


@contextlib.contextmanager
def fresh_directory(final: Path) -> Iterator[Path]:
    """Give a directory to fill; it gets its final name only if filling succeeds."""
    final.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f"{final.name}.", dir=final.parent))
    try:
        yield building
        building.chmod(0o755)
        building.replace(final)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def built_wheel(source: Path, cache: Path) -> Path:
    """Return the wheel of ``source``, building it if this content was not built before."""
    static = source / "runtime/coordinator/static/index.html"
    if not static.is_file():
        raise BundleError(f"{static.parent} has no pages. Build them first: make web (or set runtime_install_wheel).")
    final = cache / "built" / source_digest(source)[:24]
    if not final.is_dir():
        with fresh_directory(final) as building:
            run_pip(
                ["wheel", "--no-deps", "--wheel-dir", str(building), str(source)],
                "give the controller access to its package index, or set runtime_install_wheel to a wheel.",
            )
    return next(final.glob("*.whl"))


def downloaded_wheels(lines: list[str], python: str, platform: str, cache: Path) -> Path:
    """Return a directory with exactly the wheels of ``lines``."""
    text = "\n".join(lines) + "\n"
    key = hashlib.sha256(f"{python} {platform}\n{text}".encode()).hexdigest()[:24]
    final = cache / "wheels" / key
    if final.is_dir():
        return final
    with fresh_directory(final) as building:
        listing = building / "requirements.txt"
        listing.write_text(text)
        tag = "cp" + python.replace(".", "")
        minor = int(python.split(".")[1])
        abis = [tag, "abi3", "none"]
        platforms = [option for name in [*PLATFORMS[platform][0], "any"] for option in ("--platform", name)]
        run_pip(
            ["download", "--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(building)]
            + ["--implementation", "cp", "--python-version", f"3.{minor}"]
            + [option for abi in abis for option in ("--abi", abi)]
            + [*platforms, "--requirement", str(listing)],
            "check that the controller reaches its package index, and that every package has a wheel for "
            f"Python {python} on {platform}.",
        )
        listing.unlink()
    return final


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def packed(release: str, files: dict[str, Path], listing: str, platform: str, cache: Path) -> Path:
    """Return the bundle with ``files`` (name -> path) and the listing: the same bytes for the same content."""
    windows = platform.startswith("windows")
    final = cache / "bundles" / f"{release}-{platform}" / ("bundle.zip" if windows else "bundle.tar")
    if final.is_file():
        return final
    with fresh_directory(final.parent) as building:
        (building / "requirements.txt").write_text(listing)
        members = {**files, "requirements.txt": building / "requirements.txt"}
        if windows:
            with zipfile.ZipFile(building / final.name, "w", zipfile.ZIP_STORED) as archive:
                for name, path in sorted(members.items()):
                    information = zipfile.ZipInfo(name)  # the fixed date of 1980
                    archive.writestr(information, path.read_bytes())
        else:
            with tarfile.open(building / final.name, "w", format=tarfile.PAX_FORMAT) as tar:
                for name, path in sorted(members.items()):
                    member = tarfile.TarInfo(name)
                    member.size, member.mode = path.stat().st_size, 0o644
                    with path.open("rb") as stream:
                        tar.addfile(member, stream)
        (building / "requirements.txt").unlink()
    return final


def make_bundle(options: argparse.Namespace) -> dict[str, str]:
    """Make (or find) the bundle and describe it."""
    source, cache = Path(options.source), Path(options.cache)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several hosts ask at once
        wheel = Path(options.wheel) if options.wheel else built_wheel(source, cache)
        if not wheel.is_file():
            raise BundleError(f"{wheel} does not exist. Correct runtime_install_wheel.")
        texts = [(source / name).read_text() for name in options.requirements]
        lines = requirements_for(texts, options.python, options.platform)
        wheels = downloaded_wheels(lines, options.python, options.platform, cache)
        version = wheel.name.split("-")[1]
        listing = "\n".join([*lines, f"./wheels/{wheel.name} --hash=sha256:{file_sha256(wheel)}"]) + "\n"
        digest = hashlib.sha256(f"{options.python}\n{listing}".encode()).hexdigest()
        release = f"{version}-{digest[:8]}"
        files = {f"wheels/{path.name}": path for path in wheels.iterdir()} | {f"wheels/{wheel.name}": wheel}
        bundle = packed(release, files, listing, options.platform, cache)
    return {
        "release": release,
        "version": version,
        "bundle": str(bundle),
        "sha256": file_sha256(bundle),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--python", required=True, help="such as 3.11")
    parser.add_argument("--platform", required=True, choices=sorted(PLATFORMS))
    parser.add_argument("--requirements", action="append", required=True, help="relative to the source; may repeat")
    parser.add_argument("--wheel", default="")
    options = parser.parse_args()
    os.umask(0o022)
    try:
        print(json.dumps(make_bundle(options)))
    except (BundleError, OSError) as error:
        print(json.dumps({"failed": True, "msg": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
