"""Bookings and calendars."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec

from runtime.coordinator.booking_service import BookingService, BookingWish, Guest
from runtime.coordinator.calendar import CONTENT_TYPE, calendar_file
from runtime.coordinator.domain.access import may_start
from runtime.coordinator.domain.booking import Booking
from runtime.coordinator.render import Json, booking_json
from runtime.coordinator.selection import BookingSelection, cursor_of, states_of
from runtime.coordinator.store.errors import StoreUnavailableError
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import Role

from .base import ViewerHandler
from .paging import limit_of

_FEED_PAST_MS = 31 * 86_400_000
_FEED_MOST = 500
_SCHEDULE_MOST_MS = 92 * 86_400_000


class InviteeRequest(msgspec.Struct):
    role: Role
    name: str = ""
    email: str = ""


class BookingRequest(msgspec.Struct):
    title: str
    starts_at: int
    ends_at: int
    time_zone: str = "UTC"
    rrule: str | None = None
    label: str = ""
    invitees: tuple[InviteeRequest, ...] = ()


class BookingsBase(ViewerHandler):
    @property
    def bookings(self) -> BookingService:
        """Raise ``not_found`` where nothing can be booked."""
        if not self.service.config.bookings.enabled:
            raise ServiceError("not_found", "Nothing can be booked here.")
        return self.service.bookings

    def show(self, booking: Booking, links: dict[str, str] | None = None) -> Json:
        config = self.service.config
        return booking_json(
            booking,
            links or {},
            open_before_seconds=config.bookings.open_before_seconds,
            public_url=config.public_url,
            admin=self.principal.admin,
        )

    async def owned(self, booking_id: str) -> Booking:
        """Raise ``booking_not_found``, also for those of others."""
        booking = await self.bookings.get(booking_id)
        if not self.principal.admin and booking.owner.id != self.principal.id:
            raise ServiceError("booking_not_found")
        return booking

    def send_calendar(self, bookings: list[Booking], name: str) -> None:
        config = self.service.config
        content = calendar_file(
            bookings, self.service.fleet.titles, public_url=config.public_url, site_name=config.site_name
        )
        self.set_header("Content-Type", CONTENT_TYPE)
        self.set_header("Content-Disposition", f'attachment; filename="{name}.ics"')
        self.finish(content)


class BookingsHandler(BookingsBase):
    async def get(self) -> None:
        self.require("bookings:read")
        _ = self.bookings
        limit = limit_of(self)
        found = await self._find(self._selection(), limit + 1)
        self.warn_if_stale()
        page = found[:limit]
        following = f"{page[-1].start_ms}-{page[-1].id}" if len(found) > limit else None
        feed = feed_name(self.service.config.cookie_secret, self.principal.id)
        self.write_json(
            {
                "items": [self.show(booking) for booking in page],
                "next": following,
                "calendar_url": f"{self.service.config.public_url}/api/v1/calendar/{feed}",
            }
        )

    async def _find(self, selection: BookingSelection, limit: int) -> list[Booking]:
        try:
            return await self.service.store.bookings.find(
                selection.query(), sort=(("start_ms", 1), ("_id", 1)), limit=limit
            )
        except StoreUnavailableError:
            known = [booking for booking in self.service.fleet.bookings.values() if selection.matches(booking)]
            return sorted(known, key=lambda booking: (booking.start_ms, booking.id))[:limit]

    def _selection(self) -> BookingSelection:
        mine = self.get_query_argument("mine", "false") in ("true", "1") or not self.principal.admin
        begin, end = self.get_query_argument("from", ""), self.get_query_argument("to", "")
        return BookingSelection(
            owner=self.principal.id if mine else "",
            title=self.get_query_argument("title", ""),
            states=states_of(self.get_query_argument("state", "")),
            ends_after=int(begin) if begin else None,
            starts_before=int(end) if end else None,
            after=cursor_of(self.get_query_argument("cursor", "")),
        )

    async def post(self) -> None:
        self.require("bookings:write")
        wanted = self.body_as(BookingRequest)
        title = self.service.fleet.titles.get(wanted.title)
        if title is None or title.retired:
            raise ServiceError("title_not_found")
        if not may_start(self.principal, title) or not title.bookable:
            raise ServiceError("forbidden", "You cannot book this title.")
        wish = BookingWish(
            title=title,
            start_ms=wanted.starts_at,
            end_ms=wanted.ends_at,
            time_zone=wanted.time_zone,
            rrule=wanted.rrule,
            label=wanted.label,
            guests=tuple(Guest(role=g.role, name=g.name, email=g.email) for g in wanted.invitees),
        )
        bookings, links = await self._make(wish)
        self.write_json({"items": [self.show(booking, links) for booking in bookings], "next": None}, 201)

    async def _make(self, wish: BookingWish) -> tuple[list[Booking], dict[str, str]]:
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            self.count_create()
            return await self.bookings.make(wish, self.principal)
        idempotency = self.service.idempotency
        first_id, claim = await idempotency.claim(
            self.principal.id, key, self.request.body, self.service.store.bookings.get
        )
        if claim is None:
            return await self.bookings.series(first_id), {}
        try:
            self.count_create()
            return await self.bookings.make(wish, self.principal, first_id)
        except ServiceError:
            await idempotency.release(claim)
            raise


class BookingHandler(BookingsBase):
    async def get(self, booking_id: str) -> None:
        self.require("bookings:read")
        self.write_json(self.show(await self.owned(booking_id)))

    async def delete(self, booking_id: str) -> None:
        self.require("bookings:write")
        booking = await self.owned(booking_id)
        following = self.get_query_argument("series", "this") == "following"
        if booking.owner.id != self.principal.id:
            await self.note("booking.cancel", booking.id, series=str(following).lower())
        cancelled = await self.bookings.cancel(booking, following=following)
        self.write_json({"items": [self.show(each) for each in cancelled], "next": None})


class BookingCalendarHandler(BookingsBase):
    async def get(self, booking_id: str) -> None:
        self.require("bookings:read")
        booking = await self.owned(booking_id)
        self.send_calendar([booking], f"booking-{booking.id}")


class CalendarFeedHandler(BookingsBase):
    """For calendar programs, which bring no cookie: the address itself is the secret."""

    public = True

    async def get(self, feed: str) -> None:
        owner = feed_owner(self.service.config.cookie_secret, feed)
        since = self.service.clock.now_ms() - _FEED_PAST_MS
        bookings = await self.service.store.bookings.find(
            {"owner_id": owner, "start_ms": {"$gt": since}}, sort=(("start_ms", 1),), limit=_FEED_MOST
        )
        _ = self.bookings
        self.send_calendar(bookings, "bookings")


class ScheduleHandler(BookingsBase):
    def get(self, name: str) -> None:
        self.require("titles:read")
        title = self.service.fleet.titles.get(name)
        if title is None or not may_start(self.principal, title):
            raise ServiceError("title_not_found")
        begin, end = int(self.get_query_argument("from")), int(self.get_query_argument("to"))
        if not begin < end <= begin + _SCHEDULE_MOST_MS:
            raise ServiceError("bad_request", "A schedule covers up to 92 days.")
        found = self.bookings.schedule(title, begin, end)
        self.write_json({"items": [{"starts_at": s.start_ms, "ends_at": s.end_ms, "free": s.free} for s in found]})


def feed_name(secret: str, principal_id: str) -> str:
    """The last part of the address of somebody's feed."""
    name = base64.urlsafe_b64encode(principal_id.encode()).rstrip(b"=").decode("ascii")
    return f"{name}.{_feed_seal(secret, principal_id)}.ics"


def feed_owner(secret: str, feed: str) -> str:
    """Whose feed it is; raise ``not_found``."""
    name, _, rest = feed.partition(".")
    try:
        owner = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ServiceError("not_found") from None
    if not hmac.compare_digest(_feed_seal(secret, owner), rest.removesuffix(".ics")):
        raise ServiceError("not_found")
    return owner


def _feed_seal(secret: str, principal_id: str) -> str:
    digest = hmac.new(secret.encode(), f"feed:{principal_id}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:24]).decode("ascii")
