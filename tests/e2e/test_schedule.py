"""Booking a time: by the calendar, in one's own time zone, refused with the next free window, entered by a guest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from runtime.demo.stack import DemoOptions

from .accessibility import assert_accessible
from .stage import Stage
from .viewer import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One place, and windows that are opened a minute before they begin."""
    options = DemoOptions(
        directory=tmp_path_factory.mktemp("demo"), capacity=1, coordinator={"bookings": {"open_before_seconds": 60}}
    )
    with Stage(options) as running:
        yield running


def schedule(browser: Browser, stage: Stage, name: str, **context: Any) -> Viewer:
    person = Viewer(browser, stage.url, name, **context)
    person.open_catalogue()
    person.seen("title-card-sample").get_by_test_id("book-link").click()
    person.seen("schedule-page").wait_for()
    return person


def choose(person: Viewer, day: str, time: str) -> None:
    person.seen("booking-day").fill(day)
    person.seen("booking-time").fill(time)


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def bookings(person: Viewer) -> list[dict[str, Any]]:
    return list(person.api_get("/api/v1/bookings?mine=true")["items"])


def test_a_window_in_ones_own_time_zone_and_the_next_one_when_it_is_taken(browser: Browser, stage: Stage) -> None:
    ann = schedule(browser, stage, "ann", timezone_id="Asia/Tokyo")
    day = in_days(9)
    choose(ann, day, "10:00")
    ann.seen("booking-label").fill("Review")
    ann.seen("book").click()
    ann.seen("booking-made").wait_for()
    (booking,) = bookings(ann)
    assert booking["starts_at"] == datetime.fromisoformat(f"{day}T01:00:00+00:00").timestamp() * 1000
    assert booking["time_zone"] == "Asia/Tokyo"
    assert_accessible(ann.page, "booked")

    bob = schedule(browser, stage, "bob", timezone_id="America/New_York", locale="ru-RU")
    assert_accessible(bob.page, "schedule")
    # The same hour on New York's clocks, which may be the evening before.
    choose(bob, in_days(8), "20:00")
    offset = bob.page.evaluate("() => new Date(Date.now() + 8 * 86400000).getTimezoneOffset()")
    if offset == 240:
        choose(bob, in_days(8), "21:00")
    bob.seen("book").click()
    bob.seen("error-window_taken").wait_for()
    expect(bob.page.get_by_text("В это время все места заняты.")).to_be_visible()
    assert_accessible(bob.page, "window taken")
    bob.seen("take-next").click()
    bob.seen("booking-made").wait_for()
    (later,) = bookings(bob)
    assert later["starts_at"] >= booking["ends_at"]
    for person in (ann, bob):
        assert not person.errors
        person.close()


def test_the_calendar_shows_places_and_is_used_by_keyboard(browser: Browser, stage: Stage) -> None:
    person = schedule(browser, stage, "person", timezone_id="Europe/Berlin")
    day = in_days(20)
    choose(person, day, "12:00")
    cell = person.seen(f"hour-{day}-12")
    expect(cell).to_have_attribute("data-free", "1")
    expect(cell).to_have_attribute("aria-pressed", "true")
    cell.click()
    person.page.keyboard.press("ArrowDown")
    person.page.keyboard.press("ArrowDown")
    person.page.keyboard.press("Enter")
    expect(person.seen("booking-time")).to_have_value("14:00")
    person.seen("book").click()
    person.seen("booking-made").wait_for()
    expect(person.seen(f"hour-{day}-14")).to_have_attribute("data-free", "0")
    expect(person.seen(f"hour-{day}-14")).to_have_attribute("aria-label", re.compile("your booking"))
    person.close()


def test_a_series_is_booked_and_its_rest_cancelled(browser: Browser, stage: Stage) -> None:
    person = schedule(browser, stage, "person")
    choose(person, in_days(30), "08:00")
    person.seen("booking-repeat").select_option("weekly")
    person.seen("booking-times").fill("3")
    person.seen("book").click()
    person.seen("booking-made").wait_for()
    series = bookings(person)
    assert len(series) == 3
    assert len({booking["series"] for booking in series}) == 1
    person.seen(f"cancel-{series[1]['id']}").click()
    person.seen("cancel-following").click()

    def states() -> list[str]:
        return [booking["state"] for booking in bookings(person)]

    person.eventually("two cancelled", states, lambda seen: seen == ["planned", "cancelled", "cancelled"])
    with person.page.expect_download() as download:
        person.seen(f"booking-{series[0]['id']}").get_by_role("link").click()
    assert "BEGIN:VEVENT" in download.value.path().read_text(encoding="utf-8")
    person.close()


def test_a_guest_waits_at_the_door_and_gets_in_when_it_opens(browser: Browser, stage: Stage) -> None:
    owner = schedule(browser, stage, "owner", timezone_id="UTC")
    # Begins at once: its session is being opened a moment later.
    choose(owner, datetime.now(UTC).strftime("%Y-%m-%d"), datetime.now(UTC).strftime("%H:%M"))
    owner.seen("booking-length").select_option("30")
    owner.seen("add-guest").click()
    owner.seen("guest-0").locator("input").first.fill("Gina")
    owner.seen("book").click()
    owner.seen("booking-made").wait_for()
    link = owner.seen("guest-link").input_value()
    guest = Viewer(browser, stage.url, "guest")
    guest.page.goto(link)
    guest.seen("booked-window").wait_for()
    expect(guest.seen("join-button")).to_be_enabled(timeout=60_000)
    guest.seen("join-name").fill("Gina")
    guest.seen("join-button").click()
    owner.open_catalogue()
    owner.seen("upcoming").get_by_role("link").first.wait_for()
    owner.page.goto(f"{owner.base_url}/session/{guest.page.url.split('/session/')[1]}")
    for person in (guest, owner):
        person.wait_for_picture()
    owner.open_people()
    owner.eventually("two people", owner.participants, lambda n: n == 2)
    for person in (guest, owner):
        assert not person.errors
        person.close()
