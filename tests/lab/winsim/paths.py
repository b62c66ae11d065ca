"""Windows path and command line rules, as far as the models need them."""

from __future__ import annotations

import ntpath
import re
from pathlib import Path

from .errors import ModelError

_DRIVE_PATH = re.compile(r"([A-Za-z]):(?:\\(.*))?")
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
# Without the long path policy Windows refuses longer names in most programs (MAX_PATH, including the final NUL).
MAX_PATH = 259


def split_path(text: str) -> tuple[str, list[str]]:
    """Drive and components of an absolute path; the drive of a share such as ``\\\\server\\builds`` is ``unc``.

    Raises :class:`ModelError` for anything else.
    """
    normal = text.replace("/", "\\")
    if normal.startswith("\\\\"):
        return "unc", [part for part in normal.split("\\") if part]
    match = _DRIVE_PATH.fullmatch(normal)
    if match is None:
        raise ModelError(f"not an absolute Windows path: {text!r}")
    parts = [part for part in (match.group(2) or "").split("\\") if part not in ("", ".")]
    for part in parts:
        if part == ".." or _FORBIDDEN.search(part) or part != part.rstrip(" ."):
            raise ModelError(f"The given path's format is not supported: {text!r}")
    return match.group(1).lower(), parts


def locate(root: Path, text: str) -> Path:
    """Where the file of a Windows path lies below ``root``; names match in any case, as on NTFS."""
    drive, parts = split_path(text)
    current = root / drive
    for part in parts:
        following = current / part
        if not following.exists() and current.is_dir():
            following = next((child for child in current.iterdir() if child.name.lower() == part.lower()), following)
        current = following
    return current


def parent(text: str) -> str:
    return ntpath.dirname(text.replace("/", "\\").rstrip("\\"))


def name(text: str) -> str:
    return ntpath.basename(text.replace("/", "\\").rstrip("\\"))


def join(base: str, *parts: str) -> str:
    return "\\".join([base.replace("/", "\\").rstrip("\\"), *(part.replace("/", "\\").strip("\\") for part in parts)])


def split_command_line(text: str) -> list[str]:
    """Arguments of a command line by the rules of ``CommandLineToArgvW`` (Microsoft, Parsing C command-line
    arguments).
    """
    arguments: list[str] = []
    current, quoted, started, index = "", False, False, 0
    while index < len(text):
        char = text[index]
        if char == "\\":
            run = len(text) - len(text[index:].lstrip("\\")) - index
            index += run
            if index < len(text) and text[index] == '"':
                current += "\\" * (run // 2)
                if run % 2:
                    current += '"'
                    index += 1
            else:
                current += "\\" * run
            started = True
            continue
        if char == '"':
            if quoted and text[index + 1 : index + 2] == '"':
                current += '"'
                index += 1
            else:
                quoted = not quoted
            started = True
        elif char in " \t" and not quoted:
            if started:
                arguments.append(current)
            current, started = "", False
        else:
            current += char
            started = True
        index += 1
    if quoted:
        raise ModelError(f"unbalanced quotes in command line: {text!r}")
    if started:
        arguments.append(current)
    return arguments
