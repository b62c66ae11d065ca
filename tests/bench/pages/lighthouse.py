"""Google's Lighthouse from npm, at the version of the lock file beside this module."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.viewer import chromium_path

ROOT = Path(__file__).resolve().parents[3]
_HERE = Path(__file__).parent
_HOME = ROOT / ".build" / "lighthouse"
_FILES = ("package.json", "package-lock.json", ".npmrc")
_CATEGORIES = ("performance", "accessibility", "best-practices")
# A phone on a slow network (the default, and the strict one), and a computer.
FORM_FACTORS: dict[str, tuple[str, ...]] = {"mobile": (), "desktop": ("--preset=desktop",)}
_DEADLINE_SECONDS = 180
# What no answer of a page can change here: the demo speaks plain http on loopback.
_NOT_OURS = {"is-on-https", "redirects-http"}


@dataclass(frozen=True, kw_only=True)
class Report:
    scores: dict[str, int]  # by category, 0..100
    # Lighthouse's own measure of the processor at that moment: without it a score on a busy machine says little.
    machine_index: float
    findings: tuple[str, ...]  # audits of these categories that are not passed, "category: audit"


class Lighthouse:
    """Installs itself below ``.build`` when it is first asked for."""

    def __init__(self) -> None:
        # make setup puts a Node there when the machine has none.
        shims = ROOT / ".build" / "node" / "shims"
        self._environment = {
            **os.environ,
            "PATH": f"{os.environ.get('PATH', '')}{os.pathsep}{shims}",
            "CHROME_PATH": chromium_path() or "",
        }
        self._install()
        package = json.loads((_HOME / "node_modules" / "lighthouse" / "package.json").read_text(encoding="utf-8"))
        self.version = str(package["version"])

    def _install(self) -> None:
        stamp = _HOME / ".stamp"
        wanted = hashlib.sha256(b"".join((_HERE / name).read_bytes() for name in _FILES)).hexdigest()
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        _HOME.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            shutil.copy(_HERE / name, _HOME)
        npm = shutil.which("npm", path=self._environment["PATH"])
        if npm is None:
            raise SystemExit(
                "Lighthouse needs Node 20 or newer with npm; run make clean, which makes the next make fetch one."
            )
        subprocess.run(
            [npm, "ci", "--prefix", str(_HOME)], check=True, env=self._environment, stdout=subprocess.DEVNULL
        )
        stamp.write_text(wanted)

    def run(self, url: str, form_factor: str) -> Report:
        """One visit with an empty cache."""
        command = [
            str(_HOME / "node_modules" / ".bin" / "lighthouse"),
            url,
            *("--quiet", "--output=json", "--output-path=stdout", f"--only-categories={','.join(_CATEGORIES)}"),
            *("--chrome-flags=--headless=new --no-sandbox --disable-gpu", *FORM_FACTORS[form_factor]),
        ]
        done = subprocess.run(
            command, check=True, env=self._environment, capture_output=True, text=True, timeout=_DEADLINE_SECONDS
        )
        told: dict[str, Any] = json.loads(done.stdout)
        return Report(
            scores={name: round(told["categories"][name]["score"] * 100) for name in _CATEGORIES},
            machine_index=float(told["environment"]["benchmarkIndex"]),
            findings=tuple(_findings(told)),
        )


def _findings(told: dict[str, Any]) -> list[str]:
    """Audits that count and are not passed."""
    return [
        f"{category}: {entry['id']}"
        for category in _CATEGORIES
        for entry in told["categories"][category]["auditRefs"]
        if entry["weight"] > 0 and entry["id"] not in _NOT_OURS
        for score in [told["audits"][entry["id"]]["score"]]
        if score is not None and score < 0.9
    ]
