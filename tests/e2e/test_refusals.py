"""A small house: one place, one viewer a session, a title that cannot start and one that may not run long."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from runtime.demo.stack import DemoOptions

from .accessibility import assert_accessible
from .conftest import Enter
from .stage import Stage
from .viewer import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def small_house(content: dict[str, Any]) -> None:
    sample = content["titles"][0]
    sample["limits"] = {"max_players": 1}
    broken = {**copy.deepcopy(sample), "name": "broken", "display_name": {"en": "Broken", "ru": "Сломанное"}}
    broken["launch"]["arguments"] = ["--no-such-option"]
    brief = {**copy.deepcopy(sample), "name": "brief", "display_name": {"en": "Brief", "ru": "Короткое"}}
    brief["limits"] = {"max_length_seconds": 20, "length_warning_seconds": 18}
    content["titles"] += [broken, brief]
    builds = content["session_servers"][0]["titles"]
    builds["broken"] = builds["brief"] = builds["sample"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    options = DemoOptions(directory=tmp_path_factory.mktemp("demo"), capacity=1, registry=small_house)
    with Stage(options) as running:
        yield running


def position(person: Viewer) -> str:
    return str(person.seen("queue-position").inner_text())


def test_who_comes_late_waits_in_the_queue_and_gets_the_place(enter: Enter) -> None:
    ann = enter("ann")
    bob = enter("bob", locale="ru-RU", color_scheme="dark")
    carl = enter("carl", viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    ann.open_catalogue()
    ann.start("sample")
    ann.wait_for_picture()
    bob.open_catalogue()
    card = bob.seen("title-card-sample")
    expect(card.get_by_test_id("availability")).to_have_attribute("data-state", "busy")
    expect(card.get_by_test_id("start-button")).to_have_text("Встать в очередь")
    bob.start("sample")
    bob.seen("queue").wait_for()
    expect(bob.seen("queue")).to_contain_text("Вы следующий.")
    carl.open_catalogue()
    carl.start("sample")
    carl.seen("queue").wait_for()
    assert (position(bob), position(carl)) == ("1", "2")
    for person in (bob, carl):
        assert_accessible(person.page, f"{person.name} in the queue")

    ann.seen("end-button").click()
    ann.seen("confirm-end").click()
    ann.seen("ended-page").wait_for()
    bob.wait_for_picture()
    carl.eventually("the first place", lambda: position(carl), lambda place: place == "1")
    carl.seen("cancel-start").click()
    carl.seen("ended-reason").wait_for()
    expect(carl.seen("ended-reason")).to_have_attribute("data-reason", "queue_left")


def test_a_full_session_says_so(enter: Enter) -> None:
    owner, guest = enter("owner"), enter("guest", locale="ru-RU")
    owner.open_catalogue()
    owner.start("sample")
    owner.wait_for_picture()
    link = owner.invite_link("watcher")
    guest.page.goto(link)
    guest.enter("Анна")
    guest.seen("error-session_full").wait_for()
    expect(guest.page.get_by_role("heading", level=1)).to_have_text("Сеанс заполнен.")
    assert_accessible(guest.page, "a full session")


def test_a_title_that_does_not_start_gives_its_reason_and_a_way_on(enter: Enter) -> None:
    person = enter("person", locale="ru-RU", color_scheme="dark")
    person.open_catalogue()
    person.start("broken")
    reason = person.seen("ended-reason")
    reason.wait_for(timeout=60_000)
    assert reason.get_attribute("data-reason") in ("app_crashed", "app_exited", "start_failed")
    expect(person.seen("ended-page").get_by_role("heading", level=1)).to_have_text("Не получилось")
    expect(person.seen("start-again")).to_be_enabled()
    assert_accessible(person.page, "a failed start")


def test_the_longest_time_is_counted_down_made_longer_and_kept(enter: Enter) -> None:
    person = enter("person")
    person.open_catalogue()
    session = person.start("brief")
    person.wait_for_picture()

    def end() -> int:
        return int(person.api_get(f"/api/v1/sessions/{session}")["ends_at"])

    before = end()
    person.page.mouse.move(640, 12)
    expect(person.seen("time-left")).to_contain_text("0:")
    person.seen("time-left").click()
    person.eventually("a later end", end, lambda at: at > before)
    expect(person.seen("toasts")).to_contain_text("reaches its longest time", timeout=30_000)
    reason = person.seen("ended-reason")
    reason.wait_for(timeout=60_000)
    expect(reason).to_have_attribute("data-reason", "max_length")


def test_an_expired_invitation_says_so(enter: Enter) -> None:
    """The shortest validity is a minute: the service's answer is given in its place."""
    person = enter("person", locale="ru-RU")
    error = {"code": "invite_expired", "message": "This invitation has expired.", "fix": "Ask for a new link."}
    person.page.route("**/api/v1/invites/*", lambda route: route.fulfill(status=410, json={"error": error}))
    person.page.goto(f"{person.base_url}/join/{'a' * 26}-{'b' * 43}")
    person.seen("error-invite_expired").wait_for()
    expect(person.page.get_by_text("Срок приглашения истёк.")).to_be_visible()
