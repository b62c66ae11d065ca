"""For administrators: users, API keys, the audit log."""

from __future__ import annotations

from typing import Any

import msgspec

from runtime.coordinator.render_admin import audit_json, key_json, user_json
from runtime.protocol.errors import ServiceError

from .admin import AdminHandler
from .paging import limit_of, page_of


class UserRequest(msgspec.Struct):
    password: str | None = None
    display_name: str = ""
    groups: tuple[str, ...] = ()
    admin: bool = False
    disabled: bool = False


class KeyRequest(msgspec.Struct):
    name: str
    scopes: tuple[str, ...]
    groups: tuple[str, ...] = ()
    expires_in_seconds: float | None = None


class UsersHandler(AdminHandler):
    def get(self) -> None:
        users, following = page_of(self, self.service.accounts.users, key=lambda user: user.name)
        self.write_json({"items": [user_json(user) for user in users], "next": following})


class UserHandler(AdminHandler):
    async def put(self, name: str) -> None:
        wanted = self.body_as(UserRequest)
        await self.note("user.put", name, admin=str(wanted.admin).lower(), disabled=str(wanted.disabled).lower())
        user = await self.service.accounts.put(
            name,
            password=wanted.password,
            display_name=wanted.display_name,
            groups=wanted.groups,
            admin=wanted.admin,
            disabled=wanted.disabled,
        )
        self.write_json(user_json(user))

    async def delete(self, name: str) -> None:
        await self.note("user.delete", name)
        if not await self.service.accounts.remove(name):
            raise ServiceError("not_found", "There is no such user in the database.")
        self.set_status(204)
        self.finish()


class KeysHandler(AdminHandler):
    def get(self) -> None:
        keys, following = page_of(self, self.service.accounts.keys, key=lambda key: f"{key.created_ms:013d}-{key.id}")
        self.write_json({"items": [key_json(key) for key in keys], "next": following})

    async def post(self) -> None:
        wanted = self.body_as(KeyRequest)
        await self.note("key.create", wanted.name, scopes=" ".join(wanted.scopes))
        key, text = await self.service.accounts.new_key(
            wanted.name,
            scopes=wanted.scopes,
            groups=wanted.groups,
            by=self.principal.id,
            valid_seconds=wanted.expires_in_seconds,
        )
        self.write_json(key_json(key, text), 201)


class KeyHandler(AdminHandler):
    async def delete(self, key_id: str) -> None:
        await self.note("key.revoke", key_id)
        self.write_json(key_json(await self.service.accounts.revoke_key(key_id)))


class AuditHandler(AdminHandler):
    """Newest first."""

    async def get(self) -> None:
        query: dict[str, Any] = {}
        for name in ("action", "by", "subject"):
            value = self.get_query_argument(name, "")
            if value:
                query[name] = value
        cursor, limit = self.get_query_argument("cursor", ""), limit_of(self)
        if cursor:
            query["_id"] = {"$lt": cursor}
        found = await self.service.store.audit.find(query, sort=(("_id", -1),), limit=limit + 1)
        page = found[:limit]
        following = page[-1].id if len(found) > limit else None
        self.write_json({"items": [audit_json(entry) for entry in page], "next": following})
