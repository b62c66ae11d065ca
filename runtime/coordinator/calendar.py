"""Bookings as an iCalendar file or feed (RFC 5545)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event, vCalAddress, vText

from runtime.protocol.states import BookingState

from .domain.booking import Booking
from .domain.model import Title, text_in

CONTENT_TYPE = "text/calendar; charset=utf-8"
_REFRESH = "PT1H"


def calendar_file(
    bookings: Iterable[Booking], titles: Mapping[str, Title], *, public_url: str, site_name: str
) -> bytes:
    """The file's bytes; every event links to the schedule's page, which leads into the session when it is open."""
    calendar = Calendar()
    calendar.add("prodid", f"-//{site_name}//Pixelstream//EN")
    calendar.add("version", "2.0")
    calendar.add("calscale", "GREGORIAN")
    calendar.add("method", "PUBLISH")
    calendar.add("x-wr-calname", site_name)
    calendar.add("refresh-interval", _REFRESH, parameters={"VALUE": "DURATION"}, encode=False)
    host = urlsplit(public_url).hostname or "pixelstream"
    for booking in bookings:
        calendar.add_component(_event(booking, titles.get(booking.title), host, f"{public_url}/schedule"))
    calendar.add_missing_timezones()
    return bytes(calendar.to_ical())


def _event(booking: Booking, title: Title | None, host: str, link: str) -> Event:
    name = text_in(title.display_name, "en", booking.title) if title else booking.title
    local = ZoneInfo(booking.time_zone)
    event = Event()
    event.add("uid", f"{booking.id}@{host}")
    event.add("dtstamp", _utc(booking.changed_ms or booking.created_ms))
    event.add("created", _utc(booking.created_ms))
    event.add("last-modified", _utc(booking.changed_ms or booking.created_ms))
    event.add("dtstart", _utc(booking.start_ms).astimezone(local))
    event.add("dtend", _utc(booking.end_ms).astimezone(local))
    event.add("summary", f"{name}: {booking.label}" if booking.label else name)
    event.add("description", link)
    event.add("location", link)
    event.add("url", link)
    event.add("sequence", booking.version)
    event.add("status", "CANCELLED" if booking.state is BookingState.CANCELLED else "CONFIRMED")
    for invitee in booking.invitees:
        if invitee.email:
            attendee = vCalAddress(f"mailto:{invitee.email}")
            attendee.params["cn"] = vText(invitee.name or invitee.email)
            event.add("attendee", attendee, encode=False)
    return event


def _utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).replace(microsecond=0)
