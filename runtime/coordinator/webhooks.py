"""Webhooks: events are read off the records, so that none is lost with the process that caused it; each is delivered at
least once, signed, tried again with growing pauses, and kept as a dead letter when nobody takes it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from runtime.chassis import codec
from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_participant_id
from runtime.chassis.lifecycle import Background
from runtime.protocol.errors import ServiceError

from .config import Webhook
from .domain.booking import Booking
from .domain.model import Session
from .domain.webhook import (
    EVENT_TYPES,
    Cursor,
    Delivery,
    DeliveryState,
    Event,
    Receiver,
    after_attempt,
    booking_events,
    replayed,
    session_events,
)
from .render import Json, booking_json, session_json
from .store.errors import DuplicateError, StoreUnavailableError
from .store.locks import Lease
from .store.store import Store

logger = logging.getLogger(__name__)
_DEADLINE_SECONDS = 10.0
_AT_ONCE = 32
_AT_ONCE_EACH = 8  # a receiver that does not answer must not keep the others waiting
_DUE = 50  # more than _AT_ONCE, so that a page is never made of what is being sent alone
_PAGES = _AT_ONCE // _AT_ONCE_EACH + 1  # so many in a round, each without the receivers that are full by then
_SEEN = 50_000
_CURSOR = "webhooks"
_OVERLAP_MS = 10_000
_MARK_EVERY_MS = 30_000
# Without a mark of an earlier run: what happened this long ago is still told.
_LOOK_BACK_MS = 900_000


class Webhooks:
    """``round`` runs in the instance with the timers' lease."""

    def __init__(
        self, store: Store, configured: dict[str, Webhook], clock: Clock, *, public_url: str, open_before_seconds: float
    ) -> None:
        self._store, self._clock, self._public_url = store, clock, public_url
        self._open_before_seconds = open_before_seconds
        self._configured = [
            Receiver(id=name, url=hook.url, secret=hook.secret, events=hook.events, ca_file=hook.ca_file)
            for name, hook in configured.items()
        ]
        self._http = SimpleAsyncHTTPClient(force_instance=True, max_clients=_AT_ONCE)
        self._background = Background()
        self._sending: dict[str, str] = {}  # delivery -> receiver
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._mark_ms: int | None = None
        self._marked_ms = 0

    async def close(self) -> None:
        await self._background.close()
        self._http.close()

    # --- receivers ---

    async def receivers(self) -> list[Receiver]:
        return [*self._configured, *await self._store.receivers.find()]

    async def add(self, url: str, events: tuple[str, ...], secret: str) -> Receiver:
        """Raise ``bad_request`` for events that do not exist."""
        unknown = sorted(set(events) - set(EVENT_TYPES))
        if unknown:
            raise ServiceError("bad_request", f"{unknown[0]} is no event. There are: {', '.join(EVENT_TYPES)}.")
        now = self._clock.now_ms()
        receiver = Receiver(id=new_participant_id(), url=url, secret=secret, events=events, created_ms=now)
        return await self._store.receivers.insert(receiver)

    async def remove(self, receiver_id: str) -> bool:
        return await self._store.receivers.delete(receiver_id)

    async def replay(self, delivery_id: str) -> Delivery:
        """Send it again from the beginning; raise ``not_found``."""
        now = self._clock.now_ms()
        found, _ = await self._store.deliveries.change(delivery_id, lambda d: replayed(d, now))
        if found is None:
            raise ServiceError("not_found")
        return found

    # --- noticing ---

    async def round(self, _: Lease) -> None:
        """Notice what is new, send what is due."""
        try:
            receivers = await self.receivers()
            if receivers:
                await self._notice(receivers)
                await self._send_due({receiver.id: receiver for receiver in receivers})
            else:
                # Whoever is added later is told of what happens from then on.
                self._mark_ms = self._clock.now_ms()
        except StoreUnavailableError as error:
            logger.warning("webhooks: %s", error)

    async def _notice(self, receivers: list[Receiver]) -> None:
        started = self._clock.now_ms()
        since = {"changed_ms": {"$gt": await self._mark() - _OVERLAP_MS}}
        for session in await self._store.sessions.find(since, sort=(("changed_ms", 1),)):
            await self._deliver(receivers, session_events(session), "session", self._session(session))
        for booking in await self._store.bookings.find(since, sort=(("changed_ms", 1),)):
            await self._deliver(receivers, booking_events(booking), "booking", self._booking(booking))
        self._mark_ms = started
        if started - self._marked_ms > _MARK_EVERY_MS:
            self._marked_ms = started
            await self._keep_mark(started)

    async def _mark(self) -> int:
        if self._mark_ms is None:
            kept = await self._store.cursors.get(_CURSOR)
            self._mark_ms = kept.at_ms if kept else self._clock.now_ms() - _LOOK_BACK_MS
        return self._mark_ms

    async def _keep_mark(self, at_ms: int) -> None:
        kept, _ = await self._store.cursors.change(_CURSOR, lambda old: replace(old, at_ms=at_ms))
        if kept is None:
            await self._store.cursors.insert(Cursor(id=_CURSOR, at_ms=at_ms))

    async def _deliver(self, receivers: list[Receiver], events: Iterable[Event], what: str, data: Json) -> None:
        for event in events:
            for receiver in receivers:
                delivery_id = f"{event.id}.{receiver.id}"
                if delivery_id in self._seen or not receiver.wants(event.type) or event.at_ms < receiver.created_ms:
                    continue
                body = {"id": event.id, "type": event.type, "at": event.at_ms, "data": {what: data}}
                now = self._clock.now_ms()
                delivery = Delivery(
                    id=delivery_id,
                    receiver=receiver.id,
                    event=event.id,
                    type=event.type,
                    body=codec.encode(body).decode(),
                    next_ms=now,
                    created_ms=now,
                )
                with suppress(DuplicateError):  # noticed before, by this instance or another
                    await self._store.deliveries.insert(delivery)
                self._remember(delivery_id)

    def _remember(self, delivery_id: str) -> None:
        self._seen[delivery_id] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)

    def _session(self, session: Session) -> Json:
        owner = session.owner
        shown = session_json(session, None, None)
        shown["owner"] = {"id": owner.id, "kind": owner.kind, "name": owner.name} if owner else None
        return shown

    def _booking(self, booking: Booking) -> Json:
        return booking_json(
            booking, {}, open_before_seconds=self._open_before_seconds, public_url=self._public_url, admin=True
        )

    # --- sending ---

    async def _send_due(self, receivers: dict[str, Receiver]) -> None:
        now = self._clock.now_ms()
        begun = set(self._sending)  # what a page was read of while it was being sent is not sent again
        for _ in range(_PAGES):
            query: dict[str, Any] = {"state": DeliveryState.PENDING, "next_ms": {"$lte": now}}
            if full := self._full():
                query["receiver"] = {"$nin": sorted(full)}
            due = await self._store.deliveries.find(query, sort=(("next_ms", 1), ("_id", 1)), limit=_DUE)
            for delivery in due:
                if len(self._sending) >= _AT_ONCE:
                    return
                if delivery.id in begun or delivery.receiver in self._full():
                    continue
                begun.add(delivery.id)
                self._sending[delivery.id] = delivery.receiver
                self._background.spawn(f"webhook {delivery.id}", self._send(delivery, receivers.get(delivery.receiver)))
            if len(due) < _DUE:
                return

    def _full(self) -> set[str]:
        """Receivers to which as much is being sent as may be."""
        return {receiver for receiver, count in Counter(self._sending.values()).items() if count >= _AT_ONCE_EACH}

    async def _send(self, delivery: Delivery, receiver: Receiver | None) -> None:
        try:
            delivered, answer = await self._attempt(delivery, receiver)
            now = self._clock.now_ms()
            after = after_attempt(delivery, delivered=delivered, answer=answer, now_ms=now)
            saved = await self._store.deliveries.save(delivery, after)
            if saved is not None and saved.state is DeliveryState.DEAD:
                logger.warning("webhook delivery %s is dead: %s", delivery.id, answer)
        except StoreUnavailableError as error:
            logger.warning("webhook delivery %s will come again: %s", delivery.id, error)
        finally:
            del self._sending[delivery.id]

    async def _attempt(self, delivery: Delivery, receiver: Receiver | None) -> tuple[bool, str]:
        """Whether it was delivered, and the answer; never raises, because an attempt that is not kept has no end."""
        if receiver is None:
            return False, "the receiver was removed"
        try:
            return await self._post(delivery, receiver)
        except (OSError, ValueError, HTTPClientError) as error:
            return False, f"no answer: {error}"
        except Exception as error:
            logger.warning("webhook delivery %s failed", delivery.id, exc_info=True)
            return False, f"not sent: {type(error).__name__}: {error}"

    async def _post(self, delivery: Delivery, receiver: Receiver) -> tuple[bool, str]:
        body = delivery.body.encode()
        sent = self._clock.now_ms() // 1000
        request = HTTPRequest(
            receiver.url,
            method="POST",
            body=body,
            headers={
                "Content-Type": "application/json",
                "User-Agent": "pixelstream",
                "X-Pixelstream-Event": delivery.type,
                "X-Pixelstream-Delivery": delivery.id,
                "X-Pixelstream-Signature": f"t={sent},v1={signature(receiver.secret, sent, body)}",
            },
            follow_redirects=False,
            connect_timeout=_DEADLINE_SECONDS / 2,
            request_timeout=_DEADLINE_SECONDS,
            ca_certs=receiver.ca_file,
        )
        response = await self._http.fetch(request, raise_error=False)
        if response.code == 599:
            return False, f"no answer: {response.reason}"
        return 200 <= response.code < 300, f"HTTP {response.code}"


def signature(secret: str, sent: int, body: bytes) -> str:
    """HMAC-SHA256 over ``<epoch seconds>.<body>``, hex; receivers refuse old times, which makes replays useless."""
    return hmac.new(secret.encode(), f"{sent}.".encode() + body, hashlib.sha256).hexdigest()
