"""One Windows machine on disk: real files below ``fs/``, everything else in ``state.json``."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import paths
from .errors import ModelError

Section = dict[str, Any]
HOSTS_FILE = "C:\\Windows\\System32\\drivers\\etc\\hosts"

FRESH: dict[str, Any] = {
    "environment": {
        "machine": {
            "PATH": "C:\\Windows\\system32;C:\\Windows",
            "ProgramData": "C:\\ProgramData",
            "ProgramFiles": "C:\\Program Files",
            "SystemDrive": "C:",
            "SystemRoot": "C:\\Windows",
            "windir": "C:\\Windows",
            "TEMP": "C:\\Windows\\TEMP",
        },
        "user": {},
    },
    "services": {
        name.lower(): {
            "name": name,
            "display_name": name,
            "state": state,
            "start_mode": mode,
            "path": "C:\\Windows\\System32\\svchost.exe -k netsvcs",
            "username": "NT AUTHORITY\\SYSTEM",
            "dependencies": [],
        }
        for name, state, mode in (
            ("WinRM", "running", "auto"),
            ("Tcpip", "running", "auto"),
            ("Dnscache", "running", "auto"),
            ("W32Time", "stopped", "manual"),
            ("wuauserv", "stopped", "manual"),
        )
    },
    "groups": {"administrators": ["ansible"], "users": ["ansible"]},
    "users": {"ansible": {"name": "ansible"}, "administrator": {"name": "Administrator"}},
    "registry": {},
    "firewall": {
        "Windows Remote Management (HTTP-In)": {
            "group": "@FirewallAPI.dll,-30267",
            "direction": "in",
            "action": "allow",
            "protocol": "tcp",
            "localport": "5985",
            "remoteip": "LocalSubnet",
            "enabled": True,
        }
    },
    "packages": {},
    "tasks": {},
    "rights": {},
    "acl": {},
    "settings": {},
    "certificates": {},
    "processes": {},
    "boot": 1,
    "reboot_pending": False,
}
_FRESH_FOLDERS = (
    "C:\\Windows\\System32",
    "C:\\Windows\\TEMP",
    "C:\\ProgramData",
    "C:\\Program Files",
    "C:\\Users\\Public",
)


class State:
    """State of one machine. Under :meth:`check_mode` writes are dropped, and a model that goes round them is caught."""

    def __init__(self, root: Path, computer: str, user: str) -> None:
        self.root, self.computer, self.user = root, computer, user
        self.home = f"C:\\Users\\{user}"
        self.files = root / "fs"
        # Where it speaks from; empty: wherever this machine likes.
        self.address = ""
        self.lock = threading.RLock()
        self._file = root / "state.json"
        self._writing = True
        root.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            self.document: dict[str, Any] = json.loads(self._file.read_text())
        else:
            self.document = copy.deepcopy(FRESH)
            for folder in (*_FRESH_FOLDERS, self.home + "\\AppData\\Local\\Temp"):
                self.make_folder(folder)
            self.write(HOSTS_FILE, b"# Copyright (c) 1993-2009 Microsoft Corp.\r\n", parents=True)
            self.save()

    # -- document --------------------------------------------------------------------------------------------
    def section(self, name: str) -> Section:
        section = self.document.setdefault(name, {})
        if not isinstance(section, dict):
            raise TypeError(f"{name} is not a section")
        return section

    def merge(self, section: Section, key: str, wanted: Mapping[str, Any]) -> bool:
        """Set the keys of ``wanted`` that are not None in ``section[key]``; says whether that changes anything."""
        old = section.get(key)
        new = {**(old or {}), **{name: value for name, value in wanted.items() if value is not None}}
        if old == new:
            return False
        if self._writing:
            section[key] = new
        return True

    def put(self, section: Section, key: str, value: Any) -> bool:
        if key in section and section[key] == value:
            return False
        if self._writing:
            section[key] = value
        return True

    def drop(self, section: Section, key: str) -> bool:
        if key not in section:
            return False
        if self._writing:
            del section[key]
        return True

    def save(self) -> None:
        temporary = self._file.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.document, indent=1, sort_keys=True))
        temporary.replace(self._file)

    @property
    def writing(self) -> bool:
        return self._writing

    @contextmanager
    def check_mode(self) -> Iterator[None]:
        """Drop every write inside; raises :class:`ModelError` when a model changed the document all the same."""
        before = json.dumps(self.document, sort_keys=True)
        self._writing = False
        try:
            yield
        finally:
            self._writing = True
        if json.dumps(self.document, sort_keys=True) != before:
            self.document = json.loads(before)
            raise ModelError("winsim: the model wrote in check mode")

    # -- files -----------------------------------------------------------------------------------------------
    def expand(self, text: str) -> str:
        """Replace ``%NAME%`` of the machine's and the connection user's environment."""
        known = {**self.document["environment"]["machine"], **self.document["environment"]["user"]}
        known |= {"USERPROFILE": self.home, "USERNAME": self.user, "COMPUTERNAME": self.computer}
        known["TEMP"] = self.home + "\\AppData\\Local\\Temp"
        lower = {name.lower(): str(value) for name, value in known.items()}
        return re.sub(r"%([^%]+)%", lambda match: lower.get(match.group(1).lower(), match.group(0)), text)

    def long_paths(self) -> bool:
        key = self.document["registry"].get("hklm\\system\\currentcontrolset\\control\\filesystem", {})
        return bool(key.get("longpathsenabled", {}).get("data") == 1)

    def path(self, text: str) -> Path:
        """The real file behind a Windows path; refuses names Windows would refuse."""
        expanded = self.expand(text)
        if len(expanded) > paths.MAX_PATH and not self.long_paths():
            raise ModelError(
                f"The specified path, file name, or both are too long: {expanded!r} (long paths are not enabled)"
            )
        return paths.locate(self.files, expanded)

    def windows_path(self, file: Path) -> str:
        """The Windows path of a file below ``fs/``."""
        drive, *parts = file.relative_to(self.files).parts
        return f"{drive.upper()}:\\" + "\\".join(parts)

    def make_folder(self, text: str) -> bool:
        target = self.path(text)
        if target.is_dir():
            return False
        if target.exists():
            raise ModelError(f"path {text} is not a directory")
        if self._writing:
            target.mkdir(parents=True)
        return True

    def write(self, text: str, data: bytes, *, parents: bool = False) -> bool:
        """Write a file; its folder must exist unless ``parents``. Says whether the content is new."""
        target = self.path(text)
        if parents:
            self.make_folder(paths.parent(text))
        elif not target.parent.is_dir():
            raise ModelError(f"Could not find a part of the path '{text}'.")
        if target.is_dir():
            raise ModelError(f"object at path '{text}' is already a directory")
        if target.is_file() and target.read_bytes() == data:
            return False
        if self._writing:
            self._refuse_locked(text)
            target.write_bytes(data)
        return True

    def remove(self, text: str) -> bool:
        """Remove a file, a whole folder, or a junction (never what it points to)."""
        target = self.path(text)
        if not target.exists() and not target.is_symlink():
            return False
        if self._writing:
            self._refuse_locked(text)
            if target.is_symlink() or target.is_file():
                target.unlink()
            else:
                shutil.rmtree(target)
        return True

    def make_junction(self, link: str, target: str) -> None:
        """A directory junction; Windows refuses one whose name is taken."""
        place, aim = self.path(link), self.path(target)
        if place.exists() or place.is_symlink():
            raise ModelError("Cannot create a file when that file already exists.")
        if not place.parent.is_dir():
            raise ModelError("The system cannot find the path specified.")
        if self._writing:
            place.symlink_to(os.path.relpath(aim, place.parent), target_is_directory=True)

    def _refuse_locked(self, text: str) -> None:
        """Windows lets nobody replace or remove the file of a running program, nor a folder that holds one.

        ``locks.json`` beside the state lists such paths; tests write it, as does the model of a running service.
        """
        locks = self.root / "locks.json"
        if not locks.exists():
            return
        wanted = self.path(text).resolve()
        for locked in json.loads(locks.read_text()):
            if self.path(locked).resolve().is_relative_to(wanted):
                raise ModelError(
                    f"The process cannot access the file '{locked}' because it is being used by another process."
                )
