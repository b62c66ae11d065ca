"""``pixelstream registry``: bring titles and hosts in the database in line with a registry file, or write one out.

Prints one JSON line. Exit codes: 0 done (or nothing to do), 1 the database refused, 2 bad arguments or files.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from runtime.chassis import config as configuration
from runtime.chassis import log
from runtime.chassis.clock import SystemClock

from . import registry_file
from .config import CoordinatorConfig
from .domain.model import Host, Title
from .registry_file import RegistryFile
from .store.errors import StoreError
from .store.store import Store

_PICTURE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".svg": "image/svg+xml",
}
_PICTURE_BYTES = 2 * 1024 * 1024


@dataclass
class Changes:
    """Names by what happened to them. ``retired``: not in the file, but sessions still need it."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)

    @property
    def any(self) -> bool:
        return bool(self.added or self.updated or self.removed or self.retired)


@dataclass
class Outcome:
    titles: Changes = field(default_factory=Changes)
    hosts: Changes = field(default_factory=Changes)

    def as_json(self) -> str:
        whole = {"changed": self.titles.any or self.hosts.any, "titles": vars(self.titles), "hosts": vars(self.hosts)}
        return json.dumps(whole)


class Registry:
    """Applies one registry file. With ``check`` nothing is written."""

    def __init__(self, store: Store, base: Path, *, prune: bool, check: bool) -> None:
        self._store, self._base, self._prune, self._check = store, base, prune, check
        self.outcome = Outcome()

    async def apply(self, wanted: RegistryFile) -> Outcome:
        live = await self._store.sessions.find({"live": 1})
        titles = {title.name: title for title in await self._store.titles.find()}
        for entry in wanted.titles:
            await self._title(entry, titles.pop(entry.name, None))
        hosts = {host.name: host for host in await self._store.hosts.find()}
        for server in wanted.session_servers:
            await self._host(server, hosts.pop(server.name, None))
        if self._prune:
            running = {session.title for session in live}
            for title in titles.values():
                await self._remove_title(title, title.name in running)
            holding = {session.host for session in live if session.host}
            for host in hosts.values():
                await self._remove_host(host, host.name in holding)
        return self.outcome

    async def _title(self, entry: registry_file.Title, present: Title | None) -> None:
        values = {**msgspec.to_builtins(entry), "picture": await self._picture(entry)}
        wanted = msgspec.convert(values, Title)
        if present is None:
            self.outcome.titles.added.append(entry.name)
            if not self._check:
                await self._store.titles.insert(replace(wanted, version=self._first_version))
        elif _same(present, wanted) is False:
            self.outcome.titles.updated.append(entry.name)
            if not self._check:
                await self._store.titles.change(
                    entry.name, lambda old: replace(wanted, version=old.version), known=present
                )

    @property
    def _first_version(self) -> int:
        """Of a new record: above that of one of the same name which was removed and which others still remember."""
        return self._store.connection.clock.now_ms()

    async def _host(self, server: registry_file.SessionServer, present: Host | None) -> None:
        values = msgspec.to_builtins(server)
        values["title"] = values.pop("titles")
        values["desired_state"] = server.desired_state or (present.desired_state if present else "serving")
        wanted = msgspec.convert(values, Host)
        if present is None:
            self.outcome.hosts.added.append(server.name)
            if not self._check:
                await self._store.hosts.insert(replace(wanted, version=self._first_version))
        elif _same(present, replace(wanted, heartbeat=present.heartbeat)) is False:
            self.outcome.hosts.updated.append(server.name)
            if not self._check:
                # The heartbeat is the host's own, and newer by now than what was read above.
                await self._store.hosts.change(
                    server.name, lambda old: replace(wanted, heartbeat=old.heartbeat, version=old.version)
                )

    async def _remove_title(self, title: Title, running: bool) -> None:
        if running:
            if title.retired:
                return
            self.outcome.titles.retired.append(title.name)
            if not self._check:
                await self._store.titles.change(title.name, lambda old: replace(old, retired=True))
            return
        self.outcome.titles.removed.append(title.name)
        if not self._check:
            # First a change, which running coordinators hear of at once; that something is gone they notice later.
            await self._store.titles.change(title.name, lambda old: None if old.retired else replace(old, retired=True))
            await self._store.titles.delete(title.name)

    async def _remove_host(self, host: Host, holding: bool) -> None:
        if holding:
            if host.desired_state == "draining":
                return
            self.outcome.hosts.retired.append(host.name)
            if not self._check:
                await self._store.hosts.change(host.name, lambda old: replace(old, desired_state="draining"))
            return
        self.outcome.hosts.removed.append(host.name)
        if not self._check:
            await self._store.hosts.change(host.name, lambda old: replace(old, desired_state="draining"))
            await self._store.hosts.delete(host.name)

    async def _picture(self, entry: registry_file.Title) -> str | None:
        if entry.picture is None or entry.picture.startswith("/static/"):
            return entry.picture
        path = self._base / entry.picture
        content_type = _PICTURE_TYPES.get(path.suffix.lower())
        if content_type is None:
            raise configuration.ConfigError(f"{path}: not a picture. Use {', '.join(_PICTURE_TYPES)}.")
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise configuration.ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
        if len(content) > _PICTURE_BYTES:
            raise configuration.ConfigError(f"{path}: larger than {_PICTURE_BYTES // 1024 // 1024} MB.")
        if self._check:
            return hashlib.sha256(content).hexdigest()
        return await self._store.put_picture(content_type, content)


def _same(present: Title | Host, wanted: Title | Host) -> bool:
    return replace(present, version=0, changed_ms=0) == replace(wanted, version=0, changed_ms=0)


async def _export(store: Store) -> dict[str, Any]:
    """The registry as a file would hold it. Pictures stay in the database and are left out."""
    titles = []
    for title in await store.titles.find():
        if title.retired:
            continue
        values = msgspec.to_builtins(title)
        picture = title.picture if title.picture and title.picture.startswith("/static/") else None
        values["picture"] = picture
        titles.append({key: values[key] for key in registry_file.Title.__struct_fields__})
    servers = []
    for host in await store.hosts.find():
        values = msgspec.to_builtins(host)
        values["titles"] = values.pop("title")
        servers.append({key: values[key] for key in registry_file.SessionServer.__struct_fields__})
    return {"titles": titles, "session_servers": servers}


async def _run(arguments: argparse.Namespace, settings: CoordinatorConfig) -> str:
    wanted = registry_file.load_registry(arguments.file) if arguments.action == "apply" else None
    store = Store(
        settings.mongodb_uri,
        settings.database,
        writer=f"registry:{os.getpid()}",
        clock=SystemClock(),
        deadline_seconds=settings.database_deadline_seconds,
    )
    try:
        await store.open(patience_seconds=arguments.patience)
        if wanted is None:
            found = json.dumps(await _export(store), ensure_ascii=False, indent=2)
            if arguments.file == "-":
                return found
            await asyncio.to_thread(Path(arguments.file).write_text, found + "\n", encoding="utf-8")
            return json.dumps({"changed": False, "file": arguments.file})
        outcome = await Registry(
            store, Path(arguments.file).parent, prune=arguments.prune, check=arguments.check
        ).apply(wanted)
        return outcome.as_json()
    finally:
        await store.close()


def main(argv: Sequence[str]) -> int:
    """Run the command; see the module's first lines for exit codes."""
    parser = argparse.ArgumentParser(prog="pixelstream registry", description=__doc__)
    parser.add_argument("action", choices=("apply", "export"))
    parser.add_argument("--config", required=True, help="the coordinator's configuration file")
    parser.add_argument("--file", required=True, help="the registry file; '-' prints an export")
    parser.add_argument("--prune", action="store_true", help="remove what is not in the file (retire what still runs)")
    parser.add_argument("--check", action="store_true", help="say what would change, change nothing")
    parser.add_argument("--patience", type=float, default=20.0, help="seconds to wait for the database")
    arguments = parser.parse_args(argv)
    log.configure("warning")
    try:
        settings = configuration.load(arguments.config, CoordinatorConfig)
        print(asyncio.run(_run(arguments, settings)))
    except configuration.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except StoreError as error:
        print(f"database: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
