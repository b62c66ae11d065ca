"""For administrators: hosts, titles, what a session left behind. Every action is noted first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from runtime.chassis.client import PeerUnreachableError
from runtime.coordinator.domain.model import Host, Session, Title
from runtime.coordinator.render_admin import host_json, overview_json, title_admin_json
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason

from .base import ViewerHandler
from .paging import page_of


class DrainRequest(msgspec.Struct):
    end_sessions: bool = False


class LimitsPatch(msgspec.Struct):
    max_sessions: int | msgspec.UnsetType | None = msgspec.UNSET
    max_length_seconds: float | msgspec.UnsetType | None = msgspec.UNSET
    idle_seconds: float | msgspec.UnsetType | None = msgspec.UNSET
    max_players: int | msgspec.UnsetType = msgspec.UNSET


class TitlePatch(msgspec.Struct):
    warm: int | None = None
    retired: bool | None = None
    bookable: bool | None = None
    limits: LimitsPatch | None = None


class AdminHandler(ViewerHandler):
    def prepare(self) -> Any:
        result = super().prepare()
        if self.request.method != "OPTIONS":
            self.require_admin()
        return result

    def host(self, name: str) -> Host:
        host = self.service.fleet.hosts.get(name)
        if host is None:
            raise ServiceError("host_unknown")
        return host


class OverviewHandler(AdminHandler):
    def get(self) -> None:
        self.warn_if_stale()
        self.write_json(overview_json(self.service.fleet, self.service.clock.now_ms()))


class HostBase(AdminHandler):
    def show(self, host: Host) -> Any:
        return host_json(host, self.service.fleet, self.service.clock.now_ms())

    async def wish(self, name: str, state: str) -> Host:
        """Write the desired state; the host hears of it with its next heartbeat."""
        host, _ = await self.service.store.hosts.change(
            self.host(name).name, lambda old: None if old.desired_state == state else replace(old, desired_state=state)
        )
        if host is None:
            raise ServiceError("host_unknown")
        self.service.fleet.put_host(host)
        return self.host(name)


class HostsHandler(HostBase):
    def get(self) -> None:
        self.warn_if_stale()
        hosts, following = page_of(self, sorted(self.service.fleet.hosts.values(), key=_name), key=_name)
        self.write_json({"items": [self.show(host) for host in hosts], "next": following})


class HostHandler(HostBase):
    def get(self, name: str) -> None:
        self.warn_if_stale()
        self.write_json(self.show(self.host(name)))


class DrainHandler(HostBase):
    async def post(self, name: str) -> None:
        wanted = self.body_as(DrainRequest) if self.request.body else DrainRequest()
        await self.note("host.drain", name, end_sessions=str(wanted.end_sessions).lower())
        host = await self.wish(name, "draining")
        if wanted.end_sessions:
            for session in self.service.fleet.on_host(name):
                await self.service.lifecycle.end(session.id, EndReason.DRAINED)
        self.write_json(self.show(host), 202)


class ResumeHandler(HostBase):
    async def post(self, name: str) -> None:
        await self.note("host.resume", name)
        self.write_json(self.show(await self.wish(name, "serving")), 202)


class EvidenceHandler(AdminHandler):
    """What a session left on its host."""

    async def placed(self, session_id: str) -> tuple[Session, Host]:
        session = await self.service.rooms.session(session_id)
        if session.host is None:
            raise ServiceError("not_found", "This session never had a host.")
        return session, self.host(session.host)


class StatisticsHandler(EvidenceHandler):
    """Looked at every few seconds and without anybody's words in it: not noted."""

    async def get(self, session_id: str) -> None:
        session, host = await self.placed(session_id)
        if session.is_final:
            raise ServiceError("session_ended")
        try:
            self.write_json(await self.service.hosts.statistics(host, session.id))
        except PeerUnreachableError:
            raise ServiceError("host_unreachable") from None


class LogsHandler(EvidenceHandler):
    async def get(self, session_id: str) -> None:
        session, host = await self.placed(session_id)
        source = self.get_query_argument("source", "title")
        lines = int(self.get_query_argument("lines", "200"))
        await self.note("session.logs", session.id, source=source)
        try:
            reply = await self.service.hosts.logs(host, session.id, source, lines)
        except PeerUnreachableError:
            raise ServiceError("host_unreachable") from None
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(reply.body)


class BundleHandler(EvidenceHandler):
    async def get(self, session_id: str) -> None:
        session, host = await self.placed(session_id)
        await self.note("session.bundle", session.id)
        try:
            reply = await self.service.hosts.bundle(host, session.id)
        except PeerUnreachableError:
            raise ServiceError("host_unreachable") from None
        self.set_header("Content-Type", "application/zip")
        self.set_header("Content-Disposition", f'attachment; filename="session-{session.id}.zip"')
        self.finish(reply.body)


class TitleBase(AdminHandler):
    def show(self, title: Title) -> Any:
        return title_admin_json(title, self.service.fleet, self.service.clock.now_ms())


class TitlesAdminHandler(TitleBase):
    def get(self) -> None:
        self.warn_if_stale()
        titles, following = page_of(self, sorted(self.service.fleet.titles.values(), key=_name), key=_name)
        self.write_json({"items": [self.show(title) for title in titles], "next": following})


class TitleAdminHandler(TitleBase):
    def get(self, name: str) -> None:
        title = self.title(name)
        self.warn_if_stale()
        if not self.not_changed(_etag(title)):
            self.write_json(self.show(title))

    def title(self, name: str) -> Title:
        title = self.service.fleet.titles.get(name)
        if title is None:
            raise ServiceError("title_not_found")
        return title

    async def patch(self, name: str) -> None:
        """Change what the registry file holds otherwise; the next ``registry apply`` takes its own values again."""
        wanted = self.body_as(TitlePatch)
        given = self.request.headers.get("If-Match")

        def decide(old: Title) -> Title | None:
            if given is not None and given != "*" and _etag(old) != given:
                raise ServiceError("precondition_failed")
            new = _patched(old, wanted)
            return None if new == old else new

        self.title(name)
        await self.note("title.patch", name, **{key: str(value) for key, value in _said(wanted).items()})
        title, _ = await self.service.store.titles.change(name, decide)
        if title is None:
            raise ServiceError("title_not_found")
        self.service.fleet.put_title(title)
        self.set_header("ETag", _etag(title))
        self.write_json(self.show(title))


def _patched(title: Title, wanted: TitlePatch) -> Title:
    limits = title.limits
    if wanted.limits is not None:
        changes: dict[str, Any] = {
            key: value
            for key in LimitsPatch.__struct_fields__
            if (value := getattr(wanted.limits, key)) is not msgspec.UNSET
        }
        limits = replace(limits, **changes)
    return replace(
        title,
        warm=title.warm if wanted.warm is None else wanted.warm,
        retired=title.retired if wanted.retired is None else wanted.retired,
        bookable=title.bookable if wanted.bookable is None else wanted.bookable,
        limits=limits,
    )


def _said(wanted: TitlePatch) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.to_builtins(wanted)
    limits = said.pop("limits", None) or {}
    return {key: value for key, value in {**said, **limits}.items() if value is not None}


def _etag(title: Title) -> str:
    return f'"{title.version}"'


def _name(entry: Host | Title) -> str:
    return entry.name
