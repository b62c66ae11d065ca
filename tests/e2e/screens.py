"""``python -m tests.e2e.screens --url URL --password TEXT --folder docs/screens``: pictures of every page to look at.

Against a running demo whose sessions end of inactivity after a minute or less.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from .viewer import Viewer, launch

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
DARK_RUSSIAN: dict[str, Any] = {"locale": "ru-RU", "color_scheme": "dark"}


class Photographer:
    def __init__(self, browser: Browser, url: str, folder: Path) -> None:
        self.browser, self.url, self.folder = browser, url, folder

    def visitor(self, name: str, **look: Any) -> Viewer:
        return Viewer(self.browser, self.url, name, **look)

    def shot(self, person: Viewer, name: str, *, settle_ms: int = 500) -> None:
        person.page.wait_for_timeout(settle_ms)
        self.folder.mkdir(parents=True, exist_ok=True)
        person.page.screenshot(path=str(self.folder / f"{name}.jpg"), type="jpeg", quality=82)

    def catalogue(self) -> None:
        for name, look in (("catalogue", {}), ("catalogue-dark-russian", DARK_RUSSIAN), ("catalogue-phone", PHONE)):
            person = self.visitor(name, **look)
            person.open_catalogue()
            self.shot(person, name)
            person.close()
        person = self.visitor("lost", **DARK_RUSSIAN)
        person.page.goto(self.url + "/no/such/page")
        person.seen("not-found-page").wait_for()
        self.shot(person, "not-found-dark-russian")
        person.page.goto(f"{self.url}/join/{'a' * 26}-{'b' * 43}")
        person.seen("error-invite_not_found").wait_for()
        self.shot(person, "invitation-refused-dark-russian")
        person.close()

    def session(self) -> None:
        # The shape of the picture, so that it fills the window.
        owner = self.visitor("Ann", viewport={"width": 1440, "height": 810})
        guest = self.visitor("Bob", **DARK_RUSSIAN)
        owner.open_catalogue()
        owner.start("sample")
        owner.seen("start-page").wait_for()
        self.shot(owner, "start", settle_ms=900)
        owner.wait_for_picture()
        owner.open_people()
        owner.seen("rename-input").fill("Ann")
        owner.seen("rename-input").press("Enter")
        owner.close_panel()
        self.paint(owner)
        owner.page.keyboard.type("hello")
        link = owner.invite_link("watcher")
        guest.page.goto(link)
        guest.seen("join-page").wait_for()
        self.shot(guest, "join-dark-russian")
        guest.enter("Bob")
        guest.wait_for_picture()
        owner.say("Welcome! I have drawn where the two orbits meet.")
        guest.say("I can see it well. May I turn the core?")
        guest.ask_for_control()
        owner.seen("grant-control").wait_for()
        owner.eventually("the notices to go", owner.seen("toast").count, lambda count: count == 0)
        owner.click_lands(0.42, 0.33)
        self.shot(owner, "player-two-people", settle_ms=300)
        owner.close_panel()
        owner.open_people()
        self.shot(owner, "player-people")
        owner.grant_control()
        guest.eventually("control", guest.has_control)
        guest.click_picture(0.6, 0.4)
        self.shot(guest, "player-in-control-russian")
        for panel in ("invite", "quality", "voice"):
            owner.close_panel()
            owner.press_tool(panel)
            if panel == "invite":
                owner.seen("create-invite").click()
                owner.seen("invite-link").wait_for()
            if panel == "voice":
                owner.seen("voice-join").click()
                owner.page.locator("[data-testid=voice-status][data-status=on]").wait_for()
                owner.press_tool("statistics")
            self.shot(owner, f"player-{panel}", settle_ms=1500)
        # Who speaks is active.
        owner.seen("voice-leave").click()
        guest.page.goto("about:blank")
        owner.close_panel()
        owner.press_tool("statistics")
        owner.page.mouse.move(5, 5)
        owner.seen("idle-countdown").wait_for(timeout=120_000)
        self.shot(owner, "idle-countdown")
        owner.seen("ended-reason").wait_for(timeout=120_000)
        self.shot(owner, "ended")
        guest.close()
        owner.close()

    def paint(self, person: Viewer) -> None:
        """A stroke in the picture, drawn with the mouse."""
        mouse, steps = person.page.mouse, 40
        mouse.move(*person.point(0.33, 0.62))
        mouse.down()
        for step in range(1, steps + 1):
            turn = step / steps * 2 * math.pi
            mouse.move(*person.point(0.33 + 0.05 * math.sin(turn), 0.66 - 0.04 * math.cos(turn)))
            person.page.wait_for_timeout(20)
        mouse.up()

    def phone(self) -> None:
        person = self.visitor("phone", **{**PHONE, "locale": "ru-RU"})
        person.open_catalogue()
        person.start("sample")
        person.wait_for_picture()
        self.shot(person, "player-phone")
        person.seen("chat-button").click()
        self.shot(person, "player-phone-chat")
        person.seen("close-panel").click()
        person.page.set_viewport_size({"width": 844, "height": 390})
        self.shot(person, "player-phone-landscape", settle_ms=1000)
        person.seen("end-button").click()
        person.seen("confirm-end").click()
        person.seen("ended-page").wait_for()
        person.close()

    def schedule(self) -> None:
        person = self.visitor("planner", timezone_id="Europe/Berlin")
        person.open_catalogue()
        person.seen("title-card-sample").get_by_test_id("book-link").click()
        person.seen("schedule-page").wait_for()
        person.seen("calendar-next").click()
        person.page.wait_for_timeout(800)
        person.page.locator("[data-testid^=hour-][data-free='3']:not(:disabled)").nth(59).click()
        person.seen("booking-label").fill("Review of the hall")
        person.seen("add-guest").click()
        person.seen("guest-0").locator("input").first.fill("Gina")
        self.shot(person, "schedule")
        person.seen("book").click()
        person.seen("booking-made").wait_for()
        person.page.evaluate("() => scrollTo(0, 0)")
        self.shot(person, "schedule-booked")
        person.close()

    def administration(self, user: str, password: str) -> None:
        worker = self.visitor("worker")
        worker.open_catalogue()
        worker.start("sample")
        worker.wait_for_picture()
        admin = self.visitor("admin", viewport={"width": 1400, "height": 860})
        admin.page.goto(self.url + "/admin")
        admin.seen("sign-in-page").wait_for()
        self.shot(admin, "sign-in")
        admin.seen("sign-in-name").fill(user)
        admin.seen("sign-in-password").fill(password)
        admin.seen("sign-in-submit").click()
        admin.seen("overview").wait_for()
        self.shot(admin, "admin-overview")
        admin.seen("tab-hosts").click()
        admin.seen("open-demo").click()
        self.shot(admin, "admin-hosts")
        admin.seen("tab-sessions").click()
        admin.page.locator("[data-testid^=open-]").first.click()
        admin.seen("logs-relay").click()
        admin.seen("log-text").wait_for()
        self.shot(admin, "admin-sessions")
        admin.seen("tab-titles").click()
        admin.seen("open-sample").click()
        self.shot(admin, "admin-titles")
        admin.seen("tab-audit").click()
        admin.seen("audit").wait_for()
        self.shot(admin, "admin-audit")
        admin.close()
        worker.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        photographer = Photographer(browser, arguments.url.rstrip("/"), arguments.folder)
        photographer.catalogue()
        photographer.session()
        photographer.phone()
        photographer.schedule()
        photographer.administration(arguments.user, arguments.password)
        browser.close()


if __name__ == "__main__":
    main()
