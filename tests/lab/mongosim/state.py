"""What a server remembers besides its data: users, the set's configuration, who is primary. One file in dbPath."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FILE = "mongosim.json"


class State:
    """Read at start, written whole after each change, so that a killed server finds what it had acknowledged."""

    def __init__(self, data: Path) -> None:
        self._file = data / FILE
        document = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.users: dict[str, dict[str, Any]] = document.get("users", {})
        # As replSetGetConfig tells it; None before replSetInitiate.
        self.config: dict[str, Any] | None = document.get("config")
        self.primary: str | None = document.get("primary")
        self.term: int = document.get("term", 0)

    def save(self) -> None:
        document = {"users": self.users, "config": self.config, "primary": self.primary, "term": self.term}
        new = self._file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(document))
        os.replace(new, self._file)

    def for_members(self) -> dict[str, Any]:
        """Return what the primary tells the others."""
        return {"users": self.users, "config": self.config, "primary": self.primary, "term": self.term}

    def take(self, told: dict[str, Any]) -> None:
        """Become what the primary told. The users' mapping stays the same object, as callers hold it."""
        self.users.clear()
        self.users.update(told["users"])
        self.config, self.primary, self.term = told["config"], told["primary"], told["term"]
        self.save()
