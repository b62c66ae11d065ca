"""Ansible filters for Windows: quoting of command lines, and the slashes of programs that come from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


def windows_argument(argument: str) -> str:
    """Return ``argument`` as ``CommandLineToArgvW`` reads it back (Microsoft: Parsing C command-line arguments)."""
    if argument and not re.search(r'[\s"]', argument):
        return argument
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', argument)
    return '"' + re.sub(r"(\\+)$", r"\1\1", escaped) + '"'


def forward_slashes(path: str) -> str:
    """Return a Windows path as nginx and other programs of Unix descent want it in their configuration."""
    return path.replace("\\", "/")


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "pixelstream_windows_argument": windows_argument,
            "pixelstream_forward_slashes": forward_slashes,
        }
