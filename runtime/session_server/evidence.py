"""What is left of a session for people: the ends of its logs, and a support bundle (zip) without secrets."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.chassis import codec
from runtime.chassis.log import scrub

from .files import SAMPLE_TITLE, SessionDirectory
from .policy.crash_places import crash_patterns
from .process.base import EXIT_FILE, OUTPUT_FILE
from .record import SessionRecord

SOURCES = ("relay", "title", "steps")
MAX_LINES = 10_000
_TAIL_BYTES = 4 * 1024 * 1024
_SLACK_SECONDS = 5.0
_TEXT_SUFFIXES = {".log", ".txt", ".xml", ".runtime-xml", ".json", ".ini"}


def _log_files(directory: SessionDirectory, source: str) -> list[Path]:
    """Oldest first."""
    if source == "steps":
        return [path for path in (directory.path / "steps.log.1", directory.steps) if path.is_file()]
    places = directory.relay_directories() if source == "relay" else [directory.title]
    found: list[Path] = []
    for place in places:
        rotated = sorted(place.glob(f"{OUTPUT_FILE}.*"), key=lambda path: int(path.suffix[1:]), reverse=True)
        found += [*rotated, *(path for path in (place / OUTPUT_FILE,) if path.is_file())]
    return found


def tail(directory: SessionDirectory, source: str, lines: int, secrets: tuple[str, ...]) -> str:
    """The last ``lines`` of one of :data:`SOURCES`, scrubbed. Blocks."""
    data = b""
    for path in reversed(_log_files(directory, source)):
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                data = file.read() + data
        except OSError:
            continue  # rotated away while we looked
        if data.count(b"\n") > lines or len(data) > _TAIL_BYTES:
            break
    text = data.decode("utf-8", "replace")
    return _clean("\n".join(text.splitlines()[-lines:]) + "\n" if text else "", secrets)


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[scrubbed]")
    return scrub(text)


def _tell(record: SessionRecord) -> dict[str, Any]:
    """The record without secrets. Environment values stay out too: titles keep keys in them."""
    launch = record.start.launch
    return {
        "report": codec.to_builtins(record.report()),
        "launch": {
            "executable": launch.executable,
            "arguments": list(launch.arguments),
            "engine": launch.engine,
            "build": launch.build,
            "environment_names": sorted(launch.environment),
        },
        "policy": codec.to_builtins(record.start.policy),
        "timeouts": codec.to_builtins(record.start.timeouts),
        "gpu": record.gpu,
        "relay_starts": record.relay_starts,
        "children": [codec.to_builtins(child) for child in (record.relay, record.program) if child is not None],
    }


def _crash_files(record: SessionRecord, environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Files that the title left since its start, newest first: Unreal's crash folders and logs."""
    launch = record.start.launch
    if launch.executable == SAMPLE_TITLE:
        return
    since = record.started_ms / 1000 - _SLACK_SECONDS
    found: dict[Path, float] = {}
    for root, pattern in crash_patterns(launch.executable, environment):
        for path in Path(root).glob(pattern):
            try:
                if path.is_file() and (changed := path.stat().st_mtime) >= since:
                    found[path] = changed
            except OSError:
                continue
    for path in sorted(found, key=lambda path: found[path], reverse=True):
        yield "/".join(path.parts[-4:]), path


def write_bundle(
    target: Path,
    directory: SessionDirectory,
    record: SessionRecord,
    host: Mapping[str, Any],
    environment: Mapping[str, str],
    crash_bytes: int,
) -> None:
    """Write the zip. Blocks for as long as compressing takes: call it in a thread."""
    secrets = (record.streamer_secret, record.private_secret)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as bundle:
        bundle.writestr("session.json", json.dumps(_tell(record), indent=2))
        bundle.writestr("host.json", json.dumps(dict(host), indent=2))
        for source in SOURCES:
            for path in _log_files(directory, source):
                name = f"logs/{path.relative_to(directory.path).as_posix()}"
                bundle.writestr(name, _clean(path.read_text("utf-8", "replace"), secrets))
        for path in (*(d / EXIT_FILE for d in directory.relay_directories()), directory.title / EXIT_FILE):
            if path.is_file():
                bundle.write(path, path.relative_to(directory.path).as_posix())
        left_bytes = crash_bytes
        skipped = []
        for name, path in _crash_files(record, environment):
            size = path.stat().st_size
            if size > left_bytes:
                skipped.append(f"{path} ({size} bytes)")
                continue
            left_bytes -= size
            if path.suffix.lower() in _TEXT_SUFFIXES:
                # Unreal logs its command line, and with it the streamer secret.
                bundle.writestr(f"crash/{name}", _clean(path.read_text("utf-8", "replace"), secrets))
            else:
                bundle.write(path, f"crash/{name}")
        if skipped:
            bundle.writestr("crash/skipped.txt", "\n".join(skipped) + "\n")
