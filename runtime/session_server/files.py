"""Where one session's files lie, and which executables a title may name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runtime.chassis.log import scrub
from runtime.protocol.errors import ServiceError

from .process.names import own_interpreter

SAMPLE_TITLE = "pixelstream-streamer"
_KEPT_RELAY_STARTS = 5
_STEPS_BYTES = 1024 * 1024


@dataclass(frozen=True)
class RelayFiles:
    """One start of the relay."""

    directory: Path

    @property
    def config(self) -> Path:
        return self.directory / "config.json"

    @property
    def ready(self) -> Path:
        return self.directory / "ready.json"

    @property
    def ended(self) -> Path:
        """The relay's last status, left when it ends on its own decision."""
        return self.directory / "ready.json.ended"


class SessionDirectory:
    """``<data>/sessions/<id>``: readable by the service's user alone, because it holds secrets and people's logs."""

    def __init__(self, data_directory: Path, session_id: str) -> None:
        self.path = data_directory / "sessions" / session_id

    @property
    def title(self) -> Path:
        return self.path / "title"

    @property
    def steps(self) -> Path:
        return self.path / "steps.log"

    def relay(self, number: int) -> RelayFiles:
        return RelayFiles(self.path / f"relay-{number}")

    def relay_directories(self) -> list[Path]:
        """Of every start that is kept, oldest first."""
        return sorted(self.path.glob("relay-*"), key=lambda path: int(path.name.removeprefix("relay-")))

    def create(self) -> None:
        for path in (self.path, self.title):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create_relay(self, number: int, settings: dict[str, Any]) -> RelayFiles:
        """A fresh directory with the relay's configuration; drops those of long ago."""
        files = self.relay(number)
        shutil.rmtree(files.directory, ignore_errors=True)
        files.directory.mkdir(mode=0o700)
        handle = os.open(files.config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(settings, file)
        for old in self.relay_directories()[:-_KEPT_RELAY_STARTS]:
            shutil.rmtree(old, ignore_errors=True)
        return files

    def drop_secrets(self) -> None:
        for directory in self.relay_directories():
            RelayFiles(directory).config.unlink(missing_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def note(self, at_ms: int, text: str) -> None:
        """One line into the log of steps."""
        when = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            if self.steps.exists() and self.steps.stat().st_size > _STEPS_BYTES:
                self.steps.replace(self.steps.with_name("steps.log.1"))
            with self.steps.open("a", encoding="utf-8") as file:
                file.write(f"{when} {scrub(text)}\n")
        except OSError:
            # A full disk must not end a session that otherwise runs.
            return


def resolve_executable(name: str, title_roots: Sequence[str], sample_title: bool) -> tuple[str, ...]:
    """The words that run ``name``; raise ``ServiceError`` ``title_unavailable`` saying what is wrong with it."""
    if name == SAMPLE_TITLE:
        if not sample_title:
            raise ServiceError("title_unavailable", "The sample title is switched off on this host (sample_title).")
        return (own_interpreter(), "-m", "runtime", "streamer")
    path = Path(name)
    if not path.is_absolute():
        raise ServiceError("title_unavailable", f"The executable {name} is not an absolute path.")
    try:
        # Resolved, so that a link cannot lead out of the roots.
        found = path.resolve(strict=True)
        roots = [Path(root).resolve() for root in title_roots]
    except OSError:
        raise ServiceError("title_unavailable", f"The executable {name} does not exist on this host.") from None
    if not any(found.is_relative_to(root) for root in roots):
        raise ServiceError("title_unavailable", f"The executable {name} is outside this host's title_roots.")
    if not found.is_file() or not os.access(found, os.X_OK):
        raise ServiceError("title_unavailable", f"{name} is not a file that this host may execute.")
    return (str(found),)
