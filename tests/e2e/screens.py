"""``python -m tests.e2e.screens --folder docs/screens [--only catalogue phone]``: pictures of every page to look at.

Starts demos of its own: one place, so that somebody waits in the queue; inactivity ends a session soon.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from runtime.demo.stack import DemoOptions

from .example_site import example_site
from .stage import Stage
from .test_refusals import small_house
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
        person.page.route("**/api/v1/**", lambda route: route.abort("internetdisconnected"))
        person.page.goto(self.url)
        person.seen("offline-page").wait_for()
        self.shot(person, "offline-dark-russian")
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
        owner.say("Welcome! I have drawn a ring where I mean.")
        guest.say("I can see it well. May I turn the core?")
        owner.eventually("the notices to go", owner.seen("toast").count, lambda count: count == 0)
        owner.click_lands(0.42, 0.33)
        self.shot(owner, "player-two-people", settle_ms=300)
        guest.ask_for_control()
        owner.seen("grant-control").wait_for()
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
        person.page.set_viewport_size(PHONE["viewport"])
        person.seen("more-button").click()
        self.shot(person, "player-phone-more")
        person.seen("keyboard-button").click()
        person.seen("text-input").wait_for()
        self.shot(person, "player-phone-keyboard")
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
        person.page.locator("[data-testid^=hour-]:not([data-free='0']):not(:disabled)").nth(59).click()
        person.seen("booking-label").fill("Review of the hall")
        person.seen("add-guest").click()
        person.seen("guest-0").locator("input").first.fill("Gina")
        self.shot(person, "schedule")
        person.seen("book").click()
        person.seen("booking-made").wait_for()
        person.page.evaluate("() => scrollTo(0, 0)")
        self.shot(person, "schedule-booked")
        person.close()

    def waiting(self) -> None:
        """The only place is taken."""
        first, second = self.visitor("first"), self.visitor("second")
        phone = self.visitor("third", **{**PHONE, **DARK_RUSSIAN})
        first.open_catalogue()
        first.start("sample")
        first.wait_for_picture()
        for person, name in ((second, "queue"), (phone, "queue-phone-dark-russian")):
            person.open_catalogue()
            if person is second:
                self.shot(person, "catalogue-busy")
            person.start("sample")
            person.seen("queue").wait_for()
            self.shot(person, name)
        for person in (phone, second):
            person.seen("cancel-start").click()
            person.seen("ended-page").wait_for()
            person.close()
        self.end(first)

    def refusals(self) -> None:
        """In the small house: a title that does not start, a session that is full."""
        person, guest = self.visitor("person"), self.visitor("guest", **DARK_RUSSIAN)
        person.open_catalogue()
        person.start("broken")
        person.seen("ended-reason").wait_for(timeout=60_000)
        self.shot(person, "start-failed")
        person.open_catalogue()
        person.start("sample")
        person.wait_for_picture()
        guest.page.goto(person.invite_link("watcher"))
        guest.enter("Анна")
        guest.seen("error-session_full").wait_for()
        self.shot(guest, "session-full-dark-russian")
        guest.close()
        self.end(person)

    def embedded(self, site: str) -> None:
        person = Viewer(self.browser, site, "visitor")
        person.page.goto(f"{site}/?portal={self.url}")
        frame = person.page.frame_locator("pixel-stream iframe")
        frame.get_by_test_id("start-button").click()
        person.page.locator("#log li[data-type=state]").filter(has_text="playing").first.wait_for(timeout=60_000)
        self.shot(person, "embedded", settle_ms=1500)
        person.page.get_by_text("Leave", exact=True).click()
        frame.get_by_test_id("ended-left").wait_for()
        person.close()

    def end(self, owner: Viewer) -> None:
        owner.press_tool("end")
        owner.seen("confirm-end").click()
        owner.seen("ended-page").wait_for()
        owner.close()

    def sign_in(self, stage: Stage, **look: Any) -> Viewer:
        admin = self.visitor("admin", **look)
        admin.page.goto(self.url + "/admin")
        admin.seen("sign-in-page").wait_for()
        if not look.get("is_mobile"):
            self.shot(admin, "sign-in")
        admin.seen("sign-in-name").fill(stage.stack.admin.user)
        admin.seen("sign-in-password").fill(stage.stack.admin.password)
        admin.seen("sign-in-submit").click()
        admin.seen("overview").wait_for()
        return admin

    def administration(self, stage: Stage) -> None:
        worker = self.visitor("worker")
        worker.open_catalogue()
        worker.start("sample")
        worker.wait_for_picture()
        admin = self.sign_in(stage, viewport={"width": 1400, "height": 860})
        self.shot(admin, "admin-overview")
        admin.seen("tab-hosts").click()
        admin.seen("open-demo").click()
        self.shot(admin, "admin-hosts")
        admin.seen("tab-sessions").click()
        admin.page.locator("[data-testid^=open-]").first.click()
        admin.seen("session-statistics").locator("tbody tr").wait_for()
        admin.seen("logs-relay").click()
        admin.seen("log-text").wait_for()
        # The second reading has rates.
        self.shot(admin, "admin-sessions", settle_ms=4_000)
        admin.seen("tab-titles").click()
        admin.seen("open-sample").click()
        self.shot(admin, "admin-titles")
        for tab, shows in (("bookings", "admin-bookings"), ("accounts", "users"), ("audit", "audit")):
            admin.seen(f"tab-{tab}").click()
            admin.seen(shows).wait_for()
            self.shot(admin, f"admin-{tab}")
        admin.close()
        phone = self.sign_in(stage, **{**PHONE, **DARK_RUSSIAN})
        phone.seen("tab-sessions").click()
        phone.seen("sessions").wait_for()
        self.shot(phone, "admin-sessions-phone-dark-russian")
        phone.close()
        self.end(worker)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", nargs="*", metavar="PART", help="some of the parts below instead of all")
    arguments = parser.parse_args()

    def wanted(part: str) -> bool:
        return not arguments.only or part in arguments.only

    with sync_playwright() as playwright, example_site() as site, tempfile.TemporaryDirectory() as place:
        browser = launch(playwright)
        options = DemoOptions(
            directory=Path(place, "demo"), capacity=1, idle_seconds=45, idle_warning_seconds=30,
            coordinator={"cors_origins": [site]},
        )  # fmt: skip
        with Stage(options) as stage:
            photographer = Photographer(browser, stage.url, arguments.folder)
            parts = {
                "catalogue": photographer.catalogue,
                "session": photographer.session,
                "phone": photographer.phone,
                "waiting": photographer.waiting,
                "schedule": photographer.schedule,
                "embedded": lambda: photographer.embedded(site),
                "administration": lambda: photographer.administration(stage),
            }
            for name, part in parts.items():
                if wanted(name):
                    part()
        if wanted("refusals"):
            with Stage(DemoOptions(directory=Path(place, "small"), capacity=1, registry=small_house)) as stage:
                Photographer(browser, stage.url, arguments.folder).refusals()
        browser.close()


if __name__ == "__main__":
    main()
