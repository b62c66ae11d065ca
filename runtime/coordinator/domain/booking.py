"""Sessions planned ahead: the record, its states, recurrence. Pure; times are epoch milliseconds."""

from __future__ import annotations

import calendar
import itertools
from dataclasses import dataclass, field, replace
from datetime import MAXYEAR, UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.rrule import rrule as rrule_type
from dateutil.rrule import rrulestr

from runtime.protocol.states import BOOKING_TRANSITIONS, BookingState, EndReason, SessionState

from .model import Invite, Owner, Session

_B = BookingState
# A window that is nearly over is not opened any more.
LEAST_USE_MS = 60_000
# Sessions that fail to start are tried again this often within the window.
MOST_ATTEMPTS = 3
_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")


class RecurrenceError(Exception):
    """The RRULE cannot be used; the text says why, for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Invitee:
    """Somebody expected; the invitation itself is in ``Booking.invites`` under the same id."""

    invite: str
    name: str = ""
    email: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Booking:
    """One planned window; the occurrences of a series are bookings of their own."""

    id: str
    title: str
    owner: Owner
    start_ms: int
    end_ms: int
    time_zone: str = "UTC"
    state: BookingState = _B.PLANNED
    label: str = ""
    series: str | None = None
    # The series' first window, which is written last: without it the others are left over. None: is it, or is alone.
    series_first: str | None = None
    rrule: str | None = None
    invites: dict[str, Invite] = field(default_factory=dict)
    invitees: tuple[Invitee, ...] = ()
    session: str | None = None
    attempts: int = 0
    created_ms: int = 0
    times: dict[BookingState, int] = field(default_factory=dict)
    version: int = 1
    changed_ms: int = 0

    @property
    def is_final(self) -> bool:
        return BOOKING_TRANSITIONS.is_final(self.state)


def enter(booking: Booking, state: BookingState, now_ms: int) -> Booking:
    """``booking`` in ``state``; raise ``IllegalTransitionError`` when the table forbids it."""
    history = tuple(f"{s}@{at}" for s, at in booking.times.items())
    BOOKING_TRANSITIONS.check(f"booking {booking.id}", booking.state, state, history)
    return replace(booking, state=state, times={**booking.times, state: now_ms})


class Step(StrEnum):
    """What has to happen to a booking now."""

    NOTHING = "nothing"
    OPEN = "open"  # start its session
    USE = "use"  # somebody came
    MISS = "miss"  # nobody came, or it could not be opened in time


def next_step(booking: Booking, session: Session | None, now_ms: int, *, open_before_seconds: float) -> Step:
    """The rule that decides about a booking, the same after an hour of downtime as in time.

    A window is opened, late if need be, as long as a minute of it is left; one that is over without having been used is
    missed. A session that broke is replaced a few times; one that ended because nobody came is not.
    """
    if booking.is_final or now_ms < booking.start_ms - int(open_before_seconds * 1000):
        return Step.NOTHING
    over = now_ms > booking.end_ms - LEAST_USE_MS
    if booking.state is _B.PLANNED:
        return Step.MISS if over else Step.OPEN
    if session is None:
        return Step.MISS if over or booking.attempts >= MOST_ATTEMPTS else Step.OPEN
    if SessionState.STREAMING in session.times or session.participants > 0:
        return Step.USE
    if not session.is_final:
        return Step.NOTHING
    came_in_vain = session.state is SessionState.FAILED or session.reason in (EndReason.DRAINED, EndReason.APP_EXITED)
    if came_in_vain and not over and booking.attempts < MOST_ATTEMPTS:
        return Step.OPEN
    return Step.MISS


def zone(name: str) -> ZoneInfo:
    """Raise :class:`RecurrenceError` for a name that is no IANA time zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RecurrenceError(f"{name} is not a time zone, such as Europe/Berlin.") from None


def occurrences(start_ms: int, rrule: str | None, time_zone: str, *, not_after_ms: int, most: int) -> list[int]:
    """Start times of a series (RFC 5545 RRULE) in its own local time, so that 9 o'clock stays 9 o'clock.

    Raise :class:`RecurrenceError` for rules that are wrong, endless, too frequent or too long.
    """
    local_zone = zone(time_zone)
    if not rrule:
        return [start_ms]
    words = _checked(rrule, most)
    first, bound = _local(start_ms, local_zone), _local(not_after_ms, local_zone)
    counted = "COUNT" in words
    try:
        # Both ends are applied here: what is left of the rule has none.
        count = int(words.pop("COUNT", most + 1))
        until = _local_until(words.pop("UNTIL", ""), local_zone) or bound
        found = _expanded(words, first, min(until, bound), min(count, most + 1))
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise RecurrenceError(f"The recurrence cannot be understood: {error}.") from None
    if not found:
        raise RecurrenceError("The recurrence has no window.")
    if len(found) > most:
        raise RecurrenceError(f"A series has at most {most} windows.")
    # What is left out must not look as if it had been booked.
    if until.date() > bound.date():
        raise RecurrenceError(f"Windows can be booked until {bound:%Y-%m-%d}. Send an UNTIL that is not later.")
    if counted and len(found) < count and until >= bound:
        raise RecurrenceError(
            f"Of {count} windows, {len(found)} can be booked by {bound:%Y-%m-%d}. Send COUNT={len(found)} or less."
        )
    return [_epoch_ms(moment, first, local_zone) + start_ms % 1000 for moment in found]


def _checked(rrule: str, most: int) -> dict[str, str]:
    """The rule's parts; raise :class:`RecurrenceError` for those that are not for windows."""
    text = rrule.upper().removeprefix("RRULE:")
    # Beside further lines the library would take another start from them.
    if ":" in text or any(map(str.isspace, text)):
        raise RecurrenceError("A recurrence is one rule.")
    words = dict(part.partition("=")[::2] for part in text.split(";") if part)
    if words.get("FREQ") not in _FREQUENCIES:
        raise RecurrenceError(f"FREQ is one of {', '.join(_FREQUENCIES)}.")
    if not ({"COUNT", "UNTIL"} & words.keys()):
        raise RecurrenceError("A recurrence needs COUNT or UNTIL.")
    if words.keys() & {"BYHOUR", "BYMINUTE", "BYSECOND", "BYEASTER"}:
        raise RecurrenceError("The time of day is that of the first window.")
    if words.get("COUNT", "1").isdecimal() and int(words.get("COUNT", "1")) > most:
        raise RecurrenceError(f"A series has at most {most} windows.")
    interval = words.get("INTERVAL", "1")
    if not interval.isdecimal() or int(interval) < 1:
        # The library would go on for ever, or backwards.
        raise RecurrenceError("INTERVAL is a number from 1 on.")
    return words


def _expanded(words: dict[str, str], first: datetime, until: datetime, most: int) -> list[datetime]:
    """The first ``most`` local times of a rule that has no end of its own, up to ``until``."""
    if until < first:
        return []
    # The library looks at ``until`` only when something matches, and gives up after the year 9999. So the rule is
    # followed where that is near.
    later = _late_twin(first.year, until.year) - first.year
    rule = rrulestr(
        ";".join(f"{key}={value}" for key, value in words.items()), dtstart=first.replace(year=first.year + later)
    )
    if not isinstance(rule, rrule_type):
        raise RecurrenceError("A recurrence is one rule.")
    found = itertools.islice(rule.replace(until=until.replace(year=until.year + later)), most)
    return [moment.replace(year=moment.year - later) for moment in found]


def _late_twin(year: int, last: int) -> int:
    """The latest year that begins a run of years with the same calendar as ``year`` to ``last`` and those beside them.

    There is one every 28 years, and after 400 years, a whole number of weeks, the calendar is the same in any case.
    """

    def kind(of: int) -> tuple[int, bool]:
        return calendar.weekday(of, 1, 1), calendar.isleap(of)

    wanted = [kind(each) for each in range(year - 1, last + 2)]
    latest = MAXYEAR - 1 - (last - year)
    return next(
        late
        for late in range(latest, year - 1, -1)
        if all(kind(late - 1 + place) == each for place, each in enumerate(wanted))
    )


def _local(at_ms: int, local_zone: ZoneInfo) -> datetime:
    """Naive, to the second."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(local_zone).replace(tzinfo=None)


def _epoch_ms(moment: datetime, first: datetime, local_zone: ZoneInfo) -> int:
    # Only the first window can be meant to be in the second of two equal hours, when clocks are put back.
    fold = first.fold if moment == first else 0
    return int(moment.replace(tzinfo=local_zone, fold=fold).timestamp() * 1000)


def _local_until(text: str, local_zone: ZoneInfo) -> datetime | None:
    """UNTIL as naive local time: a date means its whole day, a trailing Z means UTC (RFC 5545 section 3.3.10)."""
    if not text:
        return None
    if len(text) == 8:
        return datetime.strptime(text, "%Y%m%d") + timedelta(days=1, seconds=-1)  # noqa: DTZ007 - local by definition
    if text.endswith("Z"):
        moment = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return moment.astimezone(local_zone).replace(tzinfo=None)
    return datetime.strptime(text, "%Y%m%dT%H%M%S")  # noqa: DTZ007 - local by definition
