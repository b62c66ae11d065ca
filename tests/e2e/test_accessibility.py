"""Every page and panel, in both languages and appearances, is looked at by axe-core; and one flow by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from .accessibility import assert_accessible, assert_fits, findings
from .stage import Stage
from .viewer import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

LOOKS: list[dict[str, Any]] = [
    {"locale": "en-GB", "color_scheme": "light"},
    {"locale": "ru-RU", "color_scheme": "dark"},
    {
        "locale": "ru-RU",
        "color_scheme": "light",
        "viewport": {"width": 390, "height": 844},
        "is_mobile": True,
        "has_touch": True,
    },
]
NAMES = ["english-light", "russian-dark", "phone"]


@pytest.fixture(params=LOOKS, ids=NAMES)
def visitor(request: pytest.FixtureRequest, browser: Browser, stage: Stage) -> Iterator[Viewer]:
    person = Viewer(browser, stage.url, "visitor", **request.param)
    yield person
    person.close()


def assert_good(page: Page, what: str) -> None:
    assert_accessible(page, what)
    assert_fits(page, what)


def test_axe_does_find_what_is_wrong(browser: Browser, stage: Stage) -> None:
    with_fault = Viewer(browser, stage.url, "visitor")
    with_fault.open_catalogue()
    with_fault.page.evaluate(
        "() => document.querySelector('[data-testid=search]').closest('label').replaceWith("
        "Object.assign(document.createElement('input'), {type: 'text'}))"
    )
    assert [found["id"] for found in findings(with_fault.page)] == ["label"]
    with_fault.close()


def test_pages_without_a_session(visitor: Viewer) -> None:
    visitor.open_catalogue()
    assert_good(visitor.page, "catalogue")
    visitor.seen("search").fill("no such title")
    assert_good(visitor.page, "catalogue, nothing found")
    for path, testid in (
        ("/no/such/page", "not-found-page"),
        (f"/session/{'a' * 26}", "error-session_not_found"),
        (f"/join/{'a' * 26}-{'b' * 43}", "error-invite_not_found"),
    ):
        visitor.page.goto(visitor.base_url + path)
        visitor.seen(testid).wait_for()
        assert_good(visitor.page, path)


def test_pages_fit_320_pixels(browser: Browser, stage: Stage) -> None:
    """The narrowest phones, and a page enlarged to 400 % (WCAG 2.1, 1.4.10)."""
    person = Viewer(browser, stage.url, "visitor", locale="ru-RU", viewport={"width": 320, "height": 640})
    for path, testid in (("/", "titles"), ("/schedule", "schedule-page"), ("/admin", "sign-in-page")):
        person.page.goto(stage.url + path)
        person.seen(testid).wait_for()
        assert_fits(person.page, path)
    person.close()


def test_a_session_from_start_to_end(visitor: Viewer) -> None:
    is_phone = (visitor.page.viewport_size or {})["width"] < 500
    visitor.open_catalogue()
    visitor.start("sample")
    visitor.seen("start-page").wait_for()
    assert_good(visitor.page, "start")
    visitor.wait_for_picture()
    assert_good(visitor.page, "player")
    for panel in ("people", "chat", "voice", "invite", "quality"):
        if is_phone and panel not in ("people", "chat"):
            visitor.seen("more-button").click()
            assert_good(visitor.page, "player, more")
        visitor.seen(f"{panel}-button").click()
        visitor.seen(f"{panel}-panel").wait_for()
        if panel == "invite":
            visitor.seen("create-invite").click()
            visitor.seen("invite-link").wait_for()
            link = visitor.seen("invite-link").input_value()
        assert_good(visitor.page, f"player, {panel}")
    visitor.seen("close-panel").click()
    guest = visitor.context.new_page()
    guest.goto(link)
    guest.get_by_test_id("join-page").wait_for()
    assert_good(guest, "join")
    guest.close()
    visitor.seen("end-button").click()
    visitor.seen("confirm-end-dialog").wait_for()
    assert_good(visitor.page, "question before the end")
    visitor.seen("confirm-end").click()
    visitor.seen("ended-page").wait_for()
    assert_good(visitor.page, "ended")


def test_keyboard_alone_is_enough(browser: Browser, stage: Stage) -> None:
    person = Viewer(browser, stage.url, "keyboard")
    page, keys = person.page, person.page.keyboard
    person.open_catalogue()
    page.evaluate("() => document.activeElement.blur()")
    for _ in range(30):
        keys.press("Tab")
        if page.evaluate("() => document.activeElement?.dataset.testid === 'start-button'"):
            break
    expect(person.seen("title-card-sample").get_by_test_id("start-button")).to_be_focused()
    keys.press("Enter")
    person.wait_for_picture()
    # The picture takes every key while it has the focus, Tab too; one chord leads out of it.
    expect(person.seen("stage")).to_be_focused()
    before = person.wait_for_picture()["keys"]
    keys.press("Tab")
    person.eventually("Tab in the application", lambda: (person.marker() or {}).get("keys", 0), lambda n: n > before)
    expect(person.seen("stage")).to_be_focused()
    keys.press("Alt+Shift+KeyM")
    assert page.evaluate("() => document.activeElement.closest('.toolbar') !== null")
    while not page.evaluate("() => document.activeElement?.dataset.testid === 'chat-button'"):
        keys.press("Tab")
    keys.press("Enter")
    expect(person.seen("chat-input")).to_be_focused()
    # Tab, and of the chord Alt and Shift, which come before anybody can know that it is one.
    sent = person.eventually(
        "the keys so far", lambda: (person.marker() or {}).get("keys", 0), lambda n: n >= before + 3
    )
    keys.type("typed, not streamed")
    keys.press("Enter")
    person.eventually("the line in the chat", person.chat_log, lambda text: "typed, not streamed" in text)
    assert person.wait_for_picture()["keys"] == sent, "what is typed into the chat reached the application"
    keys.press("Escape")
    expect(person.seen("chat-button")).to_be_focused()
    while not page.evaluate("() => document.activeElement?.dataset.testid === 'end-button'"):
        keys.press("Tab")
    keys.press("Enter")
    person.seen("confirm-end-dialog").wait_for()
    while not page.evaluate("() => document.activeElement?.dataset.testid === 'confirm-end'"):
        keys.press("Tab")
    keys.press("Enter")
    person.seen("ended-page").wait_for()
    person.close()
