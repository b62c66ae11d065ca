"""For administrators: receivers of events, and what became of each event."""

from __future__ import annotations

from typing import Any

import msgspec

from runtime.chassis.entropy import new_secret
from runtime.coordinator.render_admin import delivery_json, receiver_json
from runtime.protocol.errors import ServiceError

from .admin import AdminHandler
from .paging import limit_of, page_of


class ReceiverRequest(msgspec.Struct):
    url: str
    events: tuple[str, ...] = ()


class ReceiversHandler(AdminHandler):
    async def get(self) -> None:
        receivers = sorted(await self.service.webhooks.receivers(), key=lambda receiver: receiver.id)
        page, following = page_of(self, receivers, key=lambda receiver: receiver.id)
        self.write_json({"items": [receiver_json(receiver) for receiver in page], "next": following})

    async def post(self) -> None:
        wanted = self.body_as(ReceiverRequest)
        await self.note("webhook.create", wanted.url)
        receiver = await self.service.webhooks.add(wanted.url, wanted.events, new_secret())
        self.write_json(receiver_json(receiver, receiver.secret), 201)


class ReceiverHandler(AdminHandler):
    async def delete(self, receiver_id: str) -> None:
        await self.note("webhook.delete", receiver_id)
        if not await self.service.webhooks.remove(receiver_id):
            raise ServiceError("not_found", "There is no such receiver in the database.")
        self.set_status(204)
        self.finish()


class DeliveriesHandler(AdminHandler):
    """Newest first."""

    async def get(self) -> None:
        query: dict[str, Any] = {}
        for name in ("state", "receiver", "type"):
            value = self.get_query_argument(name, "")
            if value:
                query[name] = value
        cursor, limit = self.get_query_argument("cursor", ""), limit_of(self)
        if cursor:
            created, _, last = cursor.partition(":")
            if not created.isdecimal():
                raise ServiceError("bad_request", "The cursor is not one of ours.")
            query["$or"] = [
                {"created_ms": {"$lt": int(created)}},
                {"created_ms": int(created), "_id": {"$lt": last}},
            ]
        found = await self.service.store.deliveries.find(query, sort=(("created_ms", -1), ("_id", -1)), limit=limit + 1)
        page = found[:limit]
        following = f"{page[-1].created_ms}:{page[-1].id}" if len(found) > limit else None
        self.write_json({"items": [delivery_json(delivery) for delivery in page], "next": following})


class ReplayHandler(AdminHandler):
    async def post(self, delivery_id: str) -> None:
        await self.note("webhook.replay", delivery_id)
        self.write_json(delivery_json(await self.service.webhooks.replay(delivery_id)), 202)
