"""Ansible filter: quote one argument of a Windows command line."""

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


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pixelstream_windows_argument": windows_argument}
