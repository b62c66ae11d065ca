"""What an administrator does on the pages, against real services; and the tables with a thousand rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from .accessibility import assert_accessible, assert_fits
from .stage import Stage
from .viewer import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def administrator(browser: Browser, stage: Stage, **look: Any) -> Viewer:
    person = Viewer(browser, stage.url, "admin", **look)
    person.page.goto(f"{stage.url}/admin")
    person.seen("sign-in-page").wait_for()
    person.seen("sign-in-name").fill(stage.stack.admin.user)
    person.seen("sign-in-password").fill(stage.stack.admin.password)
    person.seen("sign-in-submit").click()
    person.seen("overview").wait_for()
    return person


@pytest.fixture
def admin(browser: Browser, stage: Stage) -> Iterator[Viewer]:
    person = administrator(browser, stage, viewport={"width": 1400, "height": 900})
    yield person
    assert not person.errors
    person.close()


def test_a_wrong_password_has_its_sentence_and_nobody_else_gets_in(browser: Browser, stage: Stage) -> None:
    person = Viewer(browser, stage.url, "person")
    person.page.goto(f"{stage.url}/admin/hosts")
    person.seen("sign-in-name").fill("admin")
    person.seen("sign-in-password").fill("not the password")
    person.seen("sign-in-submit").click()
    person.seen("error-sign_in_failed").wait_for()
    assert_accessible(person.page, "sign in")
    expect(person.seen("admin-page")).to_have_count(0)
    person.close()


def test_hosts_are_drained_and_resumed(admin: Viewer) -> None:
    assert_accessible(admin.page, "overview")
    admin.seen("tab-hosts").click()
    admin.seen("open-demo").click()
    admin.seen("drain").click()
    admin.seen("confirm-drain").click()
    admin.seen("resume").wait_for()
    admin.eventually(
        "the host to be drained",
        lambda: admin.seen("row-demo").inner_text(),
        lambda text: "drained" in text,
        seconds=30,
    )
    admin.seen("tab-overview").click()
    admin.seen("tab-hosts").click()
    admin.seen("open-demo").click()
    admin.seen("resume").click()
    admin.eventually(
        "the host to serve again",
        lambda: admin.seen("row-demo").inner_text(),
        lambda text: "serving" in text,
        seconds=30,
    )
    assert_accessible(admin.page, "hosts")


def test_a_session_is_watched_and_ended(admin: Viewer, browser: Browser, stage: Stage) -> None:
    owner = Viewer(browser, stage.url, "owner")
    owner.open_catalogue()
    session = owner.start("sample")
    owner.wait_for_picture()
    admin.seen("tab-sessions").click()
    admin.seen(f"open-{session}").click()
    statistics = admin.seen("session-statistics")
    expect(statistics).to_contain_text("H264")
    watching = statistics.locator("tbody tr")
    expect(watching).to_have_count(1)
    admin.eventually(
        "pictures that reach the viewer",
        watching.locator("td").first.inner_text,
        lambda text: float(text) > 1,
    )
    admin.seen("logs-relay").click()
    expect(admin.seen("log-text")).to_contain_text("stream live")
    assert_accessible(admin.page, "sessions")
    with admin.page.expect_download() as download:
        admin.seen("bundle").click()
    assert download.value.path().read_bytes()[:2] == b"PK"
    admin.seen("end-session").click()
    admin.seen("confirm-end-session").click()
    owner.seen("ended-reason").wait_for()
    expect(owner.seen("ended-reason")).to_have_attribute("data-reason", "admin_ended")
    admin.seen("sessions-filter").select_option("all")
    admin.eventually(
        "the end in the table", lambda: admin.seen(f"row-{session}").inner_text(), lambda text: "ended" in text
    )
    admin.seen("tab-audit").click()
    for action in ("session.logs", "session.bundle"):
        admin.seen("audit").get_by_text(action).first.wait_for()
    assert_accessible(admin.page, "audit")
    owner.close()


def test_a_title_is_changed(admin: Viewer) -> None:
    admin.seen("tab-titles").click()
    admin.seen("open-sample-vp8").click()
    admin.seen("title-players").fill("7")
    admin.seen("save-title").click()
    admin.eventually(
        "the new limit",
        lambda: admin.api_get("/api/v1/admin/titles/sample-vp8")["limits"]["max_players"],
        lambda n: n == 7,
    )
    assert_accessible(admin.page, "titles")


def test_people_and_keys(admin: Viewer, browser: Browser, stage: Stage) -> None:
    admin.seen("tab-accounts").click()
    admin.seen("add-user").click()
    admin.seen("user-name").fill("gina")
    admin.seen("user-displayName").fill("Gina")
    admin.seen("user-password").fill("a long password 17")
    admin.seen("save-user").click()
    admin.seen("row-gina").wait_for()
    admin.seen("new-key").click()
    admin.seen("key-name").fill("robot")
    admin.seen("make-key").click()
    admin.seen("made-key").wait_for()
    key = admin.seen("key-text").input_value()
    admin.page.keyboard.press("Escape")
    admin.seen("keys").get_by_text("robot").wait_for()
    assert_accessible(admin.page, "people and keys")
    headers = {"Authorization": f"Bearer {key}"}
    robot = browser.new_context()
    assert robot.request.get(f"{stage.url}/api/v1/titles", headers=headers).ok
    admin.page.locator("[data-testid^=revoke-key-]").first.click()
    admin.seen("keys").get_by_text("revoked").wait_for()
    assert robot.request.get(f"{stage.url}/api/v1/titles", headers=headers).status == 401
    robot.close()

    gina = Viewer(browser, stage.url, "gina")
    gina.open_catalogue()
    gina.seen("sign-in").click()
    gina.seen("sign-in-name").fill("gina")
    gina.seen("sign-in-password").fill("a long password 17")
    gina.seen("sign-in-submit").click()
    gina.seen("sign-out").wait_for()
    gina.page.goto(f"{stage.url}/admin")
    gina.seen("admin-only").wait_for()
    gina.seen("sign-out").click()
    gina.seen("sign-in-page").wait_for()
    gina.close()


def test_every_table_fits_a_phone_in_russian_and_in_the_dark(browser: Browser, stage: Stage) -> None:
    person = administrator(
        browser, stage, locale="ru-RU", color_scheme="dark",
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True,
    )  # fmt: skip
    for tab, row in (
        ("overview", None),
        ("hosts", "open-demo"),
        ("sessions", None),
        ("titles", "open-sample"),
        ("bookings", None),
        ("accounts", None),
        ("audit", None),
    ):
        person.seen(f"tab-{tab}").click()
        expect(person.seen(f"tab-{tab}")).to_be_in_viewport(ratio=0.9)
        if row is not None:
            person.seen(row).click()
            person.page.locator(".details").wait_for()
        assert_accessible(person.page, f"{tab} on a phone")
        assert_fits(person.page, f"{tab} on a phone")
    assert not person.errors
    person.close()


def test_a_thousand_sessions_are_searched_sorted_and_scrolled(admin: Viewer) -> None:
    """The service's own answer, a thousand times: what is tried here is the table."""
    sample = {
        "title": "sample", "state": "streaming", "reason": None, "reason_text": None, "steps": [], "queue": None,
        "role": None, "ready_at": None, "ends_at": None, "ended_at": None, "host": "demo",
        "owner": {"id": "user:x", "kind": "user", "name": "X"},
    }  # fmt: skip
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    rows = [
        {
            **sample,
            "id": (letters[n // 32] + letters[n % 32]).rjust(26, "a"),
            "created_at": 1_700_000_000_000 + n,
            "participants": n,
        }
        for n in range(1000)
    ]

    def answer(route: Route) -> None:
        found = re.search(r"cursor=(\d+)", route.request.url)
        start = int(found.group(1)) if found else 0
        following = str(start + 200) if start + 200 < len(rows) else None
        route.fulfill(
            content_type="application/json", body=json.dumps({"items": rows[start : start + 200], "next": following})
        )

    admin.page.route("**/api/v1/sessions?*", answer)
    admin.seen("tab-sessions").click()
    expect(admin.seen("sessions-count")).to_have_text("1000 rows")
    drawn = admin.seen("sessions").locator("tbody tr[data-testid]").count()
    assert drawn < 100, f"{drawn} rows are drawn at once"
    admin.seen("sort-people").click()
    first = admin.seen("sessions").locator("tbody tr[data-testid]").first
    expect(first).to_contain_text("999")
    admin.page.locator(".table-scroll").evaluate("(box) => { box.scrollTop = box.scrollHeight; }")
    last = admin.seen("sessions").locator("tbody tr[data-testid]").last
    expect(last).to_have_attribute("aria-rowindex", "1001")
    admin.seen("sessions-search").fill(rows[517]["id"])
    expect(admin.seen("sessions-count")).to_have_text("1 of 1000 rows")
    assert_accessible(admin.page, "a thousand sessions")
