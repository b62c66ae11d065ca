"""Who you are; health; documents."""

from __future__ import annotations

from runtime.coordinator.docs_page import STYLE, docs_page
from runtime.coordinator.identity import Visitor
from runtime.coordinator.readiness import readiness
from runtime.coordinator.render import Json
from runtime.coordinator.service import Service

from .base import CoordinatorHandler, ViewerHandler


def me_json(service: Service, visitor: Visitor) -> Json:
    """Who a visitor is, and what this installation offers."""
    principal, config = visitor.principal, service.config
    return {
        "id": principal.id,
        "name": principal.name,
        "kind": principal.kind,
        "roles": ["viewer", "admin"] if principal.admin else ["viewer"],
        "groups": sorted(principal.groups),
        "csrf_token": visitor.csrf_token,
        "features": {
            "site_name": config.site_name,
            "sign_in": _sign_in(service),
            "must_sign_in": not principal.entitled,
            "queue": True,
            "bookings": config.bookings.enabled,
            "sessions_per_viewer": config.sessions.per_viewer,
        },
    }


def _sign_in(service: Service) -> str:
    if service.oidc is not None:
        return "oidc"
    return "password" if service.accounts.any_users or service.config.access.mode == "password" else "none"


class MeHandler(ViewerHandler):
    public = True

    def get(self) -> None:
        self.write_json(me_json(self.service, self.visitor))


class HealthHandler(CoordinatorHandler):
    def get(self) -> None:
        self.write_json({"status": "ok"})


class ReadyHandler(CoordinatorHandler):
    async def get(self) -> None:
        checks = await readiness(self.service)
        ok = all(check["ok"] for check in checks.values())
        self.write_json({"status": "ok" if ok else "unavailable", "checks": checks}, 200 if ok else 503)


class OpenApiHandler(CoordinatorHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Access-Control-Allow-Origin", "*")
        self.finish(self.service.document.json)


class DocsHandler(CoordinatorHandler):
    """The same for people."""

    def get(self, what: str) -> None:
        self.set_header("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'")
        self.set_header("Cache-Control", "no-cache")
        if what:
            self.set_header("Content-Type", "text/css; charset=utf-8")
            self.finish(STYLE)
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(docs_page(self.service.document.content))
