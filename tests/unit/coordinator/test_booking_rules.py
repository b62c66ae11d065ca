"""Recurrence in local time, and the rule that decides about a booking at any moment."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule as library

from runtime.coordinator.domain.booking import Booking, RecurrenceError, Step, enter, next_step, occurrences
from runtime.coordinator.domain.model import Owner, Session
from runtime.protocol.states import BookingState, EndReason, IllegalTransitionError, SessionState

MINUTE = 60_000
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


FAR = at("2027-12-31T00:00")


def test_nine_o_clock_stays_nine_o_clock_over_the_change_of_time() -> None:
    found = occurrences(at("2027-03-26T09:00"), "FREQ=DAILY;COUNT=4", "Europe/Berlin", not_after_ms=FAR, most=10)
    assert found == [at(f"2027-03-{day}T09:00") for day in (26, 27, 28, 29)]
    # The change itself is between the second and the third: 23 hours, not 24.
    assert [later - earlier for earlier, later in itertools.pairwise(found)] == [
        24 * 60 * MINUTE,
        23 * 60 * MINUTE,
        24 * 60 * MINUTE,
    ]


GOOD = [
    (None, ["2027-01-04"]),
    ("FREQ=WEEKLY;COUNT=3", ["2027-01-04", "2027-01-11", "2027-01-18"]),
    ("RRULE:FREQ=WEEKLY;BYDAY=MO,WE;COUNT=3", ["2027-01-04", "2027-01-06", "2027-01-11"]),
    ("FREQ=DAILY;INTERVAL=2;UNTIL=20270108", ["2027-01-04", "2027-01-06", "2027-01-08"]),
    ("FREQ=DAILY;UNTIL=20270105T080000Z", ["2027-01-04", "2027-01-05"]),
    ("FREQ=DAILY;UNTIL=20270105T085959", ["2027-01-04"]),
    ("FREQ=MONTHLY;BYDAY=1MO;COUNT=2", ["2027-01-04", "2027-02-01"]),
]


@pytest.mark.parametrize(("rrule", "days"), GOOD)
def test_recurrences_are_expanded(rrule: str | None, days: list[str]) -> None:
    found = occurrences(at("2027-01-04T09:00"), rrule, "Europe/Berlin", not_after_ms=FAR, most=10)
    assert found == [at(f"{day}T09:00") for day in days]


BAD = [
    ("FREQ=DAILY", "COUNT or UNTIL"),
    ("FREQ=SECONDLY;COUNT=2", "FREQ is one of"),
    ("COUNT=2", "FREQ is one of"),
    ("FREQ=DAILY;COUNT=11", "at most 10"),
    ("FREQ=DAILY;UNTIL=20270301", "at most 10"),
    ("FREQ=DAILY;COUNT=x", "cannot be understood"),
    ("FREQ=DAILY;COUNT=0", "no window"),
    ("FREQ=DAILY;COUNT=2;BYHOUR=3", "time of day"),
    ("FREQ=DAILY;COUNT=2;BYMONTH=2;BYMONTHDAY=30", "no window"),
    ("FREQ=DAILY;UNTIL=20261231", "no window"),
    ("FREQ=DAILY;COUNT=2;NONSENSE=1", "cannot be understood"),
    ("FREQ=DAILY;UNTIL=tomorrow", "cannot be understood"),
    ("FREQ=MONTHLY;COUNT=2;BYDAY=53MO", "cannot be understood"),
    # What would be left out is not left out silently.
    ("FREQ=MONTHLY;INTERVAL=2;COUNT=8", r"Of 8 windows, 6 can be booked by 2027-12-31\. Send COUNT=6"),
    ("FREQ=MONTHLY;INTERVAL=2;UNTIL=20280101", r"until 2027-12-31\. Send an UNTIL"),
    ("FREQ=DAILY;COUNT=2;INTERVAL=0;BYMONTH=2", "INTERVAL"),
    ("FREQ=MONTHLY;COUNT=2;INTERVAL=-1", "INTERVAL"),
    ("FREQ=DAILY;COUNT=2;WKST=MO\nDTSTART:20000101T000000", "one rule"),
]


@pytest.mark.parametrize(("rrule", "why"), BAD)
def test_recurrences_that_cannot_be_kept_are_refused_with_the_reason(rrule: str, why: str) -> None:
    with pytest.raises(RecurrenceError, match=why):
        occurrences(at("2027-01-04T09:00"), rrule, "Europe/Berlin", not_after_ms=FAR, most=10)


@pytest.mark.parametrize("frequency", ["DAILY", "WEEKLY", "MONTHLY", "YEARLY"])
def test_a_rule_that_never_matches_is_followed_for_a_few_years_only(
    frequency: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    years: set[int] = set()
    rebuild = library._iterinfo.rebuild  # type: ignore[attr-defined]

    def counted(self: object, year: int, month: int) -> None:
        years.add(year)
        rebuild(self, year, month)

    monkeypatch.setattr(library._iterinfo, "rebuild", counted)  # type: ignore[attr-defined]
    with pytest.raises(RecurrenceError, match="no window"):
        occurrences(
            at("2027-01-04T09:00"),
            f"FREQ={frequency};COUNT=2;BYMONTH=2;BYMONTHDAY=30",
            "Europe/Berlin",
            not_after_ms=FAR,
            most=10,
        )
    assert 0 < len(years) <= 30


@pytest.mark.parametrize("year", [2027, 2028, 2031, 2096, 2099, 2100, 2101])
@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;INTERVAL=3;BYDAY=MO,TH",
        "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SA,SU",
        "FREQ=MONTHLY;BYDAY=-1FR,2TU",
        "FREQ=MONTHLY;BYMONTHDAY=-1,29",
        "FREQ=YEARLY;BYWEEKNO=1,9,52,53",
        "FREQ=YEARLY;BYYEARDAY=1,60,-1,366",
    ],
)
def test_windows_lie_where_the_library_puts_them(rule: str, year: int) -> None:
    first, last = datetime(year, 9, 20, 9), datetime(year + 1, 4, 1)  # noqa: DTZ001 - local by definition
    expected = library.rrulestr(rule, dtstart=first).xafter(first, inc=True, count=60)
    found = occurrences(
        at(first.isoformat()),
        f"{rule};UNTIL={last:%Y%m%dT%H%M%S}",
        "Europe/Berlin",
        not_after_ms=at(f"{year + 1}-04-01"),
        most=99,
    )
    assert found == [at(moment.isoformat()) for moment in expected if moment <= last]


def test_a_series_may_begin_in_the_second_of_two_equal_hours() -> None:
    # 2027-10-31: 02:30 comes twice in Berlin, first as UTC 00:30, then as 01:30.
    start = at("2027-10-31T01:30", ZoneInfo("UTC")) + 250
    found = occurrences(start, "FREQ=DAILY;COUNT=3", "Europe/Berlin", not_after_ms=FAR, most=10)
    assert found == [start, start + 24 * 60 * MINUTE, start + 48 * 60 * MINUTE]
    # One that only comes by there takes the first of them.
    found = occurrences(at("2027-10-30T02:30"), "FREQ=DAILY;COUNT=2", "Europe/Berlin", not_after_ms=FAR, most=10)
    assert found[1] == at("2027-10-31T00:30", ZoneInfo("UTC"))


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "Europe"])
def test_unknown_time_zones_are_refused(name: str) -> None:
    with pytest.raises(RecurrenceError, match="time zone"):
        occurrences(0, None, name, not_after_ms=FAR, most=10)


BOOKING = Booking(
    id="b" * 26, title="a", owner=Owner(id="user:x", kind="user"), start_ms=100 * MINUTE, end_ms=160 * MINUTE
)
SESSION = Session(id="s" * 26, title="a", state=SessionState.READY, created_ms=0, booking=BOOKING.id)
OPEN = replace(BOOKING, state=BookingState.OPEN, session=SESSION.id, attempts=1)
FAILED = replace(SESSION, state=SessionState.FAILED, reason=EndReason.APP_CRASHED)
IDLE = replace(SESSION, state=SessionState.ENDED, reason=EndReason.IDLE)
STREAMED = replace(SESSION, state=SessionState.ENDED, times={SessionState.STREAMING: 1})

RULE: list[tuple[str, Booking, Session | None, int, Step]] = [
    ("too early", BOOKING, None, 97, Step.NOTHING),
    ("early enough to be warm", BOOKING, None, 98, Step.OPEN),
    ("late, after downtime", BOOKING, None, 158, Step.OPEN),
    ("too late to be of use", BOOKING, None, 160, Step.MISS),
    ("long over", BOOKING, None, 5000, Step.MISS),
    ("starting", OPEN, replace(SESSION, state=SessionState.STARTING), 99, Step.NOTHING),
    ("ready, nobody there yet", OPEN, SESSION, 120, Step.NOTHING),
    ("somebody came", OPEN, replace(SESSION, participants=1), 120, Step.USE),
    ("somebody came and it is over", OPEN, STREAMED, 120, Step.USE),
    ("broke, to be replaced", OPEN, FAILED, 120, Step.OPEN),
    ("broke too often", replace(OPEN, attempts=3), FAILED, 120, Step.MISS),
    ("broke at the end", OPEN, FAILED, 160, Step.MISS),
    ("nobody came", OPEN, IDLE, 120, Step.MISS),
    ("host was drained", OPEN, replace(IDLE, reason=EndReason.DRAINED), 120, Step.OPEN),
    ("its session was never written", OPEN, None, 120, Step.OPEN),
    ("its session is long forgotten", OPEN, None, 5000, Step.MISS),
    ("cancelled", replace(BOOKING, state=BookingState.CANCELLED), None, 120, Step.NOTHING),
    ("used", replace(BOOKING, state=BookingState.USED), STREAMED, 5000, Step.NOTHING),
]


@pytest.mark.parametrize(("name", "booking", "session", "minute", "step"), RULE, ids=[row[0] for row in RULE])
def test_one_rule_decides_at_any_moment(
    name: str, booking: Booking, session: Session | None, minute: int, step: Step
) -> None:
    assert next_step(booking, session, minute * MINUTE, open_before_seconds=120) is step


def test_a_used_booking_cannot_be_cancelled() -> None:
    used = enter(enter(BOOKING, BookingState.OPEN, 1), BookingState.USED, 2)
    with pytest.raises(IllegalTransitionError, match=r"used -> cancelled is not allowed \(history: open@1 -> used@2\)"):
        enter(used, BookingState.CANCELLED, 3)
