"""Viewers behind networks of their own: a namespace, a link that can be made bad or cut, a Chromium that lives there.

Needs root, ``ip`` and ``/dev/net/tun``. Addresses are of 198.18.0.0/15, which RFC 2544 keeps for such tests; nothing
is routed out of the machine. Everything made here is gone when the ``with`` ends.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Browser, Playwright

from .viewer import CHROMIUM_ARGUMENTS, ScenarioError, chromium_path

_EMULATOR = Path(__file__).resolve().parents[1] / "support" / "link_emulator.py"
_ANSWER_SECONDS = 10.0


def missing() -> str | None:
    """Why namespaces cannot be used here; None when they can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        return "ip or nsenter is not installed (apt install iproute2 util-linux)"
    if not os.path.exists("/dev/net/tun"):
        return "/dev/net/tun is not there"
    probe = f"psprobe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "network namespaces cannot be made here"
    subprocess.run(["ip", "netns", "delete", probe], capture_output=True, check=False)
    return None


def _free_number() -> int:
    """Of a network whose addresses nobody here uses: another run of these tests may be under way."""
    taken = _run("ip", "-o", "address", "show") + _run("ip", "netns", "list")
    for number in range(256):
        if f" 198.18.{number}." not in taken and f"psnet{number}" not in taken.split():
            return number
    raise ScenarioError("198.18.0.0/16 is in use")


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    if done.returncode:
        raise ScenarioError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """One namespace behind one link. ``host`` is this side's address, ``address`` the namespace's.

    Several may exist at once; a service that listens on one's ``host`` is reached from all, because each namespace
    sends everything over its link to this machine.
    """

    def __init__(self, directory: Path) -> None:
        """``directory`` takes the browser's wrapper script."""
        self._number = _free_number()
        self.name = f"psnet{self._number}"
        self._directory = directory
        self._outside, self._inside = f"{self.name}o", f"{self.name}i"
        self._emulator: subprocess.Popen[str] | None = None
        self._moves = 0

    @property
    def host(self) -> str:
        return f"198.18.{self._number}.1"

    @property
    def address(self) -> str:
        return f"198.18.{self._number}.{2 + self._moves}"

    def __enter__(self) -> Self:
        _run("ip", "netns", "add", self.name)
        try:
            self._emulator = subprocess.Popen(
                [sys.executable, str(_EMULATOR), self._outside, self._inside],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
            self._expect("ready")
            _run("ip", "link", "set", self._inside, "netns", self.name)
            _run("ip", "address", "add", f"{self.host}/24", "dev", self._outside)
            _run("ip", "link", "set", self._outside, "mtu", "1500", "up")
            self.run("ip", "link", "set", "lo", "up")
            self._bring_up()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        if self._emulator is not None:
            assert self._emulator.stdin is not None
            assert self._emulator.stdout is not None
            self._emulator.stdin.close()
            try:
                self._emulator.wait(_ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                self._emulator.kill()
                self._emulator.wait()
            self._emulator.stdout.close()
        _run("ip", "netns", "delete", self.name)

    def _expect(self, word: str) -> None:
        assert self._emulator is not None
        assert self._emulator.stdout is not None
        said = self._emulator.stdout.readline().strip()
        if said != word:
            raise ScenarioError(f"the link emulator said {said!r}, not {word!r}")

    def entering(self, command: list[str]) -> list[str]:
        """``command``, to be run inside."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *command]

    def run(self, *words: str) -> str:
        """Run a command inside; its output."""
        return _run(*self.entering(list(words)))

    def quality(self, *, round_trip_ms: float = 0.0, loss: float = 0.0, rate_bps: float = 0.0) -> None:
        """How the link is from now on. ``loss`` (0..1) and ``rate_bps`` (0: unlimited) hold in each direction."""
        assert self._emulator is not None
        assert self._emulator.stdin is not None
        settings: dict[str, Any] = {"delay_ms": round_trip_ms / 2, "loss": loss, "rate_bps": rate_bps}
        self._emulator.stdin.write(json.dumps(settings) + "\n")
        self._emulator.stdin.flush()
        self._expect("set")

    def cut(self) -> None:
        """The viewer's network goes away, as when a laptop leaves a wireless network; its system notices."""
        self.run("ip", "link", "set", self._inside, "down")

    def heal(self, *, moved: bool = False) -> None:
        """The network is back after :meth:`cut`; ``moved``: with another address."""
        self.run("ip", "address", "flush", "dev", self._inside)
        self._moves += moved
        self._bring_up()

    def _bring_up(self) -> None:
        self.run("ip", "address", "add", f"{self.address}/24", "dev", self._inside)
        self.run("ip", "link", "set", self._inside, "mtu", "1500", "up")
        self.run("ip", "route", "add", "default", "via", self.host)

    def launch(self, playwright: Playwright, *secure_origins: str) -> Browser:
        """A headless Chromium inside. ``secure_origins`` are treated as if they were served over TLS."""
        chromium = chromium_path()
        if chromium is None:
            raise ScenarioError("No Chromium is installed: as root, apt install chromium.")
        script = self._directory / f"chromium-{self.name}"
        script.write_text(f'#!/bin/sh\nexec {" ".join(self.entering([chromium]))} "$@"\n')
        script.chmod(0o755)
        secure = [f"--unsafely-treat-insecure-origin-as-secure={','.join(secure_origins)}"] if secure_origins else []
        return playwright.chromium.launch(
            executable_path=str(script),
            args=[*CHROMIUM_ARGUMENTS, "--autoplay-policy=no-user-gesture-required", *secure],
        )
