"""Bookings at work: made beside each other, opened in time, missed by rule, cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_secret, new_session_id
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import BookingState, EndReason, Role

from .admission import Admission, Wish
from .config import Bookings
from .domain import booking as rules
from .domain.access import Principal
from .domain.booking import Booking, Invitee, RecurrenceError, Step
from .domain.model import Invite, Session, Title
from .domain.windows import Demand, Segment, fits, next_window, segments, with_demand
from .fleet import Fleet
from .invitations import new_invite
from .lifecycle import Lifecycle
from .store.errors import StoreError, StoreUnavailableError
from .store.locks import Lease
from .store.store import Store
from .windows import Windows

logger = logging.getLogger(__name__)
_LOCK = "bookings"
_LOCK_SECONDS = 10.0
_SPARE_SECONDS = 2.0  # nothing is written in the last moments of the lock
_EXPAND_SECONDS = 5.0
# Windows of a series without its first one for this long belong to a process that could not finish: far longer than
# the lock is held.
_UNFINISHED_MS = 60_000
_RETRY_MS = 5_000  # an opening that found no room
_MOST_FREE = 50
# Told of every change of a booking made by this process: (before or None, after).
Observer = Callable[[Booking | None, Booking], None]


@dataclass(frozen=True, kw_only=True)
class Guest:
    """Somebody to invite."""

    role: Role
    name: str = ""
    email: str = ""


@dataclass(frozen=True, kw_only=True)
class BookingWish:
    title: Title
    start_ms: int
    end_ms: int
    time_zone: str
    rrule: str | None
    label: str
    guests: tuple[Guest, ...]


class BookingService:
    """``round`` runs in the instance with the timers' lease, everything else in any."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        windows: Windows,
        admission: Admission,
        lifecycle: Lifecycle,
        clock: Clock,
        settings: Bookings,
        public_url: str,
    ) -> None:
        self._store, self._fleet, self._windows = store, fleet, windows
        self._admission, self._lifecycle, self._clock = admission, lifecycle, clock
        self._settings, self._public_url = settings, public_url
        self._mutex = asyncio.Lock()
        self._not_before: dict[str, int] = {}
        # Beside the loop, because an ill-meant rule takes half a second; one at a time, because that is still too much.
        self._expanding = ThreadPoolExecutor(1, "recurrence")
        self._whole: set[str] = set()  # first windows that were seen to be there
        self.observers: list[Observer] = []

    # --- making ---

    async def make(
        self, wish: BookingWish, principal: Principal, first_id: str | None = None
    ) -> tuple[list[Booking], dict[str, str]]:
        """Book every window of the wish or none: the bookings, and the links of the guests by invitation id.

        ``first_id`` is the id of the first one, for a request that may be repeated.
        Raise ``bad_request`` for windows that make no sense, ``window_taken`` with the next free one.
        """
        starts = await self._starts(wish)
        length = wish.end_ms - wish.start_ms
        series = new_session_id() if len(starts) > 1 else None
        bookings: list[Booking] = []
        links: dict[str, str] = {}
        for start in starts:
            booking_id = new_session_id() if bookings or first_id is None else first_id
            booking, its_links = self._planned(wish, principal, booking_id, start, start + length)
            first = bookings[0].id if bookings else None
            bookings.append(replace(booking, series=series, series_first=first, rrule=wish.rrule if series else None))
            links |= its_links
        async with self._alone():
            await self._refresh()
            # Nobody else is writing now.
            await self._drop_unfinished(self._clock.now_ms())
            self._check_room(wish, bookings)
            made = await self._insert(bookings)
            for booking in made:
                self._fleet.put_booking(booking)
                self._observe(None, booking)
        return made, links

    async def _starts(self, wish: BookingWish) -> list[int]:
        now, settings = self._clock.now_ms(), self._settings
        seconds = (wish.end_ms - wish.start_ms) / 1000
        if not settings.least_length_seconds <= seconds <= settings.max_length_seconds:
            least, most = settings.least_length_seconds / 60, settings.max_length_seconds / 60
            raise ServiceError("bad_request", f"A window lasts {least:g} to {most:g} minutes.")
        if wish.end_ms <= now or wish.start_ms < now - 60_000:
            raise ServiceError("bad_request", "The window is in the past.")
        horizon = now + int(settings.horizon_seconds * 1000)
        if wish.start_ms > horizon:
            days = settings.horizon_seconds / 86400
            raise ServiceError("bad_request", f"Windows can be booked {days:g} days ahead.")
        most = settings.max_occurrences
        expand = partial(rules.occurrences, wish.start_ms, wish.rrule, wish.time_zone, not_after_ms=horizon, most=most)
        try:
            if not wish.rrule:
                return expand()
            async with asyncio.timeout(_EXPAND_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._expanding, expand)
        except RecurrenceError as error:
            raise ServiceError("bad_request", str(error)) from None
        except TimeoutError:
            raise ServiceError(
                "rate_limited", "Too many series are being booked.", retry_after_seconds=_EXPAND_SECONDS
            ) from None

    def _planned(
        self, wish: BookingWish, principal: Principal, booking_id: str, start_ms: int, end_ms: int
    ) -> tuple[Booking, dict[str, str]]:
        now = self._clock.now_ms()
        invites: dict[str, Invite] = {}
        invitees: list[Invitee] = []
        links: dict[str, str] = {}
        for guest in wish.guests:
            secret = new_secret()
            # An invitation to a window holds until its end.
            invite_id, invite = new_invite(secret, guest.role, now, end_ms, guest.name or guest.email)
            invites[invite_id] = invite
            invitees.append(Invitee(invite=invite_id, name=guest.name, email=guest.email))
            links[invite_id] = f"{self._public_url}/join/{booking_id}-{secret}"
        booking = Booking(
            id=booking_id,
            title=wish.title.name,
            owner=principal.owner(),
            start_ms=start_ms,
            end_ms=end_ms,
            time_zone=wish.time_zone,
            label=wish.label,
            invites=invites,
            invitees=tuple(invitees),
            created_ms=now,
            times={BookingState.PLANNED: now},
        )
        return booking, links

    def _check_room(self, wish: BookingWish, bookings: list[Booking]) -> None:
        """Raise ``window_taken`` unless all of them fit beside what is there and beside each other."""
        owned = sum(b.owner.id == bookings[0].owner.id for b in self._fleet.bookings.values())
        if owned + len(bookings) > self._settings.per_viewer:
            raise ServiceError("booking_limit", details={"most": self._settings.per_viewer, "booked": owned})
        plan = self._windows.plan()
        taken: list[Demand] = []
        for booking in bookings:
            demand = self._windows.demand(wish.title.name, booking.start_ms, booking.end_ms)
            if fits(plan, demand):
                plan = with_demand(plan, demand)
            else:
                taken.append(demand)
        if not taken:
            return
        horizon = self._clock.now_ms() + int(self._settings.horizon_seconds * 1000)
        free = next_window(plan, taken[0], horizon)
        ahead = int(self._settings.open_before_seconds * 1000)
        raise ServiceError(
            "window_taken",
            details={
                "taken": [{"starts_at": d.start_ms + ahead, "ends_at": d.end_ms} for d in taken],
                "next": {"starts_at": free.start_ms + ahead, "ends_at": free.end_ms} if free else None,
            },
        )

    async def _insert(self, bookings: list[Booking]) -> list[Booking]:
        """Write all of them or none: the first one, last, says that the others are there too."""
        first, *others = bookings
        try:
            made = [await self._store.bookings.insert(booking) for booking in (*others, first)]
        except StoreError:
            # Now if the database can be reached; else by _drop_unfinished. The first one may have arrived unanswered.
            with suppress(StoreError):
                for booking in bookings:
                    await self._store.bookings.delete(booking.id)
            raise
        return [made[-1], *made[:-1]]

    async def _drop_unfinished(self, before_ms: int) -> None:
        """Delete windows that were written before then and whose series has no first one: nobody was told of them."""
        members = [
            (booking.id, booking.series_first)
            for booking in self._fleet.bookings.values()
            if booking.series_first and booking.state is BookingState.PLANNED and booking.created_ms <= before_ms
        ]
        firsts = {first for _, first in members}
        self._whole &= firsts
        unknown = firsts - self._whole
        if not unknown:
            return
        there = {booking.id for booking in await self._store.bookings.find({"_id": {"$in": sorted(unknown)}})}
        self._whole |= there
        for booking_id, first in members:
            if first in unknown - there:
                logger.warning("booking %s was left by a series that could not be written; deleted", booking_id)
                await self._store.bookings.delete(booking_id, live=1)
                self._fleet.drop_booking(booking_id)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One at a time, over all instances: what fits is decided and written before the next one looks."""
        async with self._mutex:
            loop = asyncio.get_running_loop()
            for _ in range(100):
                asked = loop.time()
                if await self._store.locks.acquire(_LOCK, _LOCK_SECONDS) is not None:
                    break
                await asyncio.sleep(0.05)
            else:
                raise ServiceError("conflict", retry_after_seconds=1)
            try:
                async with asyncio.timeout_at(asked + _LOCK_SECONDS - _SPARE_SECONDS):
                    yield
            except TimeoutError:
                raise StoreUnavailableError("bookings could not be written while the lock was held") from None
            finally:
                # What was done is done; the lock runs out by itself.
                with suppress(StoreError):
                    await self._store.locks.release(_LOCK)

    async def _refresh(self) -> None:
        """Bookings that another instance wrote a moment ago count too."""
        for booking in await self._store.bookings.find({"live": 1}):
            self._fleet.put_booking(booking)

    # --- looking ---

    async def get(self, booking_id: str) -> Booking:
        """Raise ``booking_not_found``."""
        booking = self._fleet.bookings.get(booking_id) or await self._store.bookings.get(booking_id)
        if booking is None:
            raise ServiceError("booking_not_found")
        return booking

    async def series(self, first_id: str) -> list[Booking]:
        """A booking with those of its series from it on; raise ``booking_not_found``."""
        first = await self.get(first_id)
        if not first.series:
            return [first]
        whole = await self._store.bookings.find({"series": first.series}, sort=(("start_ms", 1), ("_id", 1)))
        return [booking for booking in whole if booking.start_ms >= first.start_ms]

    def schedule(self, title: Title, start_ms: int, end_ms: int) -> list[Segment]:
        """Free places of a title over time."""
        return segments(self._windows.plan(), title.name, start_ms, end_ms, _MOST_FREE)

    # --- cancelling ---

    async def cancel(self, booking: Booking, *, following: bool) -> list[Booking]:
        """Cancel a booking, or it and those of its series after it; its capacity is free at once."""
        wanted = [booking]
        if following and booking.series:
            others = await self._store.bookings.find({"series": booking.series, "live": 1})
            wanted += [other for other in others if other.start_ms > booking.start_ms]
        return [await self._cancel(each) for each in wanted]

    async def _cancel(self, booking: Booking) -> Booking:
        now = self._clock.now_ms()
        cancelled = await self._change(
            booking.id, lambda b: None if b.is_final else rules.enter(b, BookingState.CANCELLED, now)
        )
        if cancelled.session is not None and cancelled.state is BookingState.CANCELLED:
            session = self._fleet.sessions.get(cancelled.session)
            if session is not None and not session.is_final:
                await self._lifecycle.end(session.id, EndReason.OWNER_ENDED)
        return cancelled

    # --- time ---

    async def round(self, _: Lease) -> None:
        """Do what is due with every booking."""
        try:
            await self._drop_unfinished(self._clock.now_ms() - _UNFINISHED_MS)
            for booking in sorted(self._fleet.bookings.values(), key=lambda b: b.start_ms):
                await self._step(booking)
        except StoreUnavailableError as error:
            logger.warning("bookings: %s", error)

    async def _step(self, booking: Booking) -> None:
        now = self._clock.now_ms()
        session = await self._session(booking)
        step = rules.next_step(booking, session, now, open_before_seconds=self._settings.open_before_seconds)
        if step is Step.OPEN:
            if now >= self._not_before.get(booking.id, 0):
                await self._open(booking)
        elif step is Step.USE:
            await self._change(booking.id, lambda b: None if b.is_final else rules.enter(b, BookingState.USED, now))
        elif step is Step.MISS:
            logger.info("booking %s was missed", booking.id)
            await self._change(booking.id, lambda b: None if b.is_final else rules.enter(b, BookingState.MISSED, now))
            if session is not None and not session.is_final:
                await self._lifecycle.end(session.id, EndReason.BOOKING_OVER)

    async def _session(self, booking: Booking) -> Session | None:
        if booking.session is None:
            return None
        return self._fleet.sessions.get(booking.session) or await self._store.sessions.get(booking.session)

    async def _open(self, booking: Booking) -> None:
        title = self._fleet.titles.get(booking.title)
        if title is None or title.retired:
            await self._cancel(booking)
            return
        wish = Wish(title=title, owner=booking.owner, booking=booking.id, ends_ms=booking.end_ms)
        # One that was made for it by an instance that died before it could write so.
        orphan = next((s for s in self._fleet.live() if s.booking == booking.id), None)
        try:
            session = orphan or await self._admission.create(wish)
        except ServiceError as error:
            self._not_before[booking.id] = self._clock.now_ms() + _RETRY_MS
            logger.warning("booking %s cannot be opened yet: %s", booking.id, error.message)
            return
        await self._lifecycle.change(session.id, lambda s: replace(s, invites={**s.invites, **booking.invites}))
        now = self._clock.now_ms()

        def decide(current: Booking) -> Booking | None:
            if current.is_final or current.session != booking.session:
                return None
            opened = current if current.state is BookingState.OPEN else rules.enter(current, BookingState.OPEN, now)
            return replace(opened, session=session.id, attempts=current.attempts + 1)

        changed = await self._change(booking.id, decide)
        if changed.session != session.id:
            # Cancelled, or opened by another instance, while this session was being made.
            await self._lifecycle.end(session.id, EndReason.OWNER_ENDED)

    async def _change(self, booking_id: str, decide: Callable[[Booking], Booking | None]) -> Booking:
        before, after, changed = await self._store.bookings.change_from(
            booking_id, decide, known=self._fleet.bookings.get(booking_id)
        )
        if after is None:
            raise ServiceError("booking_not_found")
        self._fleet.put_booking(after)
        if after.is_final:
            self._not_before.pop(after.id, None)
        if changed:
            self._observe(before, after)
        return after

    def _observe(self, before: Booking | None, after: Booking) -> None:
        if before is None or before.state is not after.state:
            logger.info("booking %s is %s", after.id, after.state)
        for observer in self.observers:
            observer(before, after)
