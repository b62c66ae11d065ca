"""Who you are; health; documents."""

from __future__ import annotations

from runtime.coordinator.readiness import readiness

from .base import CoordinatorHandler, ViewerHandler


class MeHandler(ViewerHandler):
    public = True

    def get(self) -> None:
        principal, config = self.principal, self.service.config
        access = config.access
        sign_in = (
            "oidc" if access.mode == "oidc" else "password" if access.mode == "password" or access.users else "none"
        )
        self.write_json(
            {
                "id": principal.id,
                "name": principal.name,
                "kind": principal.kind,
                "roles": ["viewer", "admin"] if principal.admin else ["viewer"],
                "groups": sorted(principal.groups),
                "csrf_token": self.visitor.csrf_token,
                "features": {
                    "site_name": config.site_name,
                    "sign_in": sign_in,
                    "must_sign_in": not principal.entitled,
                    "queue": True,
                    "bookings": False,
                    "sessions_per_viewer": config.sessions.per_viewer,
                },
            }
        )


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
