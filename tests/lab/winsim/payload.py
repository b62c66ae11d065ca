"""Decode what ansible-core 2.19 sends to a Windows shell.

The command line is always the same bootstrap script; what it is to do arrives on standard input: a JSON object for
the wrapper, a line of four NUL bytes, the manifest with its actions, and for file transfer another such line and the
data.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any

SEPARATOR = b"\n\0\0\0\0\n"
_BOOTSTRAP_MARK = "ConvertFrom-Json -InputObject $codeJson"
_ENCODED = re.compile(r"-EncodedCommand (\S+)")
_MODULE = re.compile(r"ansible_collections\.(\w+\.\w+)\.plugins\.modules\.(\w+)\.ps1")


@dataclass(frozen=True)
class Action:
    """One step of a manifest, by the name of its PowerShell wrapper."""

    name: str
    parameters: dict[str, Any]

    @property
    def module(self) -> str | None:
        """Full name of the module that the step runs, or None for anything else."""
        match = _MODULE.fullmatch(self.parameters.get("Script", ""))
        return f"{match.group(1)}.{match.group(2)}" if match else None


@dataclass(frozen=True)
class Payload:
    """One PowerShell invocation: a manifest of actions, or a bare script when ``actions`` is empty."""

    script: str
    actions: tuple[Action, ...] = ()
    scripts: dict[str, Any] = field(default_factory=dict)
    data: bytes = b""

    @property
    def subject(self) -> str:
        """What fault rules match against: the module's name, the action, or the script."""
        if not self.actions:
            return self.script
        last = self.actions[-1]
        return last.module or last.parameters.get("Script") or last.name


def decode(command_line: str, standard_input: bytes) -> Payload:
    """Parse one invocation; raises ValueError when it is not in the form of ansible-core 2.19."""
    match = _ENCODED.search(command_line)
    script = base64.b64decode(match.group(1)).decode("utf-16-le") if match else command_line
    if _BOOTSTRAP_MARK not in script:
        return Payload(script)
    parts = standard_input.split(SEPARATOR, 2)
    if len(parts) < 2:
        raise ValueError("the bootstrap script came without a manifest")
    manifest = json.loads(parts[1])
    actions = tuple(Action(item["name"], item["params"]) for item in manifest["actions"])
    return Payload(script, actions, manifest["scripts"], parts[2] if len(parts) > 2 else b"")
