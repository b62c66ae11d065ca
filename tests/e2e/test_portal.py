"""What people do with the pages besides the one scenario: coming back, being refused, two tabs, phones, voice."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .conftest import Enter
from .viewer import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def running(person: Viewer) -> str:
    person.open_catalogue()
    session = person.start("sample")
    person.wait_for_picture()
    return session


def join(guest: Viewer, link: str, name: str = "Anna") -> None:
    guest.page.goto(link)
    guest.enter(name)
    guest.wait_for_picture()


def test_a_reload_keeps_session_role_and_picture(enter: Enter) -> None:
    owner = enter("owner")
    session = running(owner)
    before = owner.state()
    owner.page.reload()
    owner.wait_for_picture()
    owner.eventually("the role", lambda: owner.state().get("role"), lambda role: role == "owner")
    after = owner.state()
    assert (after["participant"], after["controlHolder"]) == (before["participant"], before["participant"])
    owner.open_catalogue()
    card = owner.seen(f"resume-{session}")
    card.get_by_role("link").click()
    owner.wait_for_picture()


def test_a_second_tab_takes_over_and_the_first_one_says_so(enter: Enter) -> None:
    owner = enter("owner")
    session = running(owner)
    before = owner.state()
    second = owner.context.new_page()
    second.goto(f"{owner.base_url}/session/{session}")
    second.get_by_test_id("control-state").wait_for()
    owner.seen("ended-superseded").wait_for()
    second.close()
    owner.page.get_by_role("button", name="Come back").click()
    owner.wait_for_picture()
    owner.eventually("control", owner.has_control)
    after = owner.state()
    assert (after["participant"], after["role"]) == (before["participant"], "owner")


def test_an_invitation_can_be_withdrawn_and_a_wrong_one_says_so(enter: Enter) -> None:
    owner, guest = enter("owner"), enter("guest", locale="ru-RU")
    running(owner)
    link = owner.invite_link("watcher")
    assert "/join/" in link
    owner.press_tool("invite")
    owner.seen("invite-list").get_by_role("button").first.click()
    expect(owner.seen("invite-list")).to_have_count(0)
    guest.page.goto(link)
    guest.seen("error-invite_revoked").wait_for()
    expect(guest.page.get_by_text("Приглашение отозвано.")).to_be_visible()


def test_the_owner_locks_mutes_and_removes(enter: Enter) -> None:
    owner, guest, late = enter("owner"), enter("guest"), enter("late")
    running(owner)
    link = owner.invite_link("watcher")
    join(guest, link, "Maximiliane von Hohenzollern-Sigmaringen")
    owner.close_panel()
    owner.open_people()
    # A panel and a long name leave room for the answer.
    guest.ask_for_control()
    owner.grant_control()
    guest.eventually("control", guest.has_control)
    owner.seen("lock-switch").check(force=True)
    owner.eventually("the lock", lambda: owner.seen("lock-switch").is_checked())
    late.page.goto(link)
    late.seen("join-button").click()
    late.seen("error-session_locked").wait_for(timeout=30_000)

    guest_id = guest.state()["participant"]
    owner.seen(f"menu-{guest_id}").click()
    owner.seen(f"mute-{guest_id}").click()
    guest.page.get_by_text("The owner has muted you").first.wait_for()
    owner.seen(f"kick-{guest_id}").click()
    guest.seen("ended-kicked").wait_for()
    owner.eventually("one person", owner.participants, lambda n: n == 1)


def test_two_people_talk(enter: Enter) -> None:
    owner, guest = enter("owner"), enter("guest")
    running(owner)
    join(guest, owner.invite_link("watcher"))
    for person in (owner, guest):
        person.close_panel()
        person.press_tool("voice")
        person.seen("voice-join").click()
        person.page.locator("[data-testid=voice-status][data-status=on]").wait_for()
    # Chromium's stand-in microphone beeps once a second.
    for person in (owner, guest):
        person.page.locator(".voice-people .speaking").first.wait_for()
    guest.seen("voice-mute").click()
    expect(guest.seen("voice-mute")).to_have_attribute("aria-pressed", "true")
    guest.seen("voice-leave").click()
    expect(owner.page.locator(".voice-people li")).to_have_count(1, timeout=15_000)


def test_touch_paints_and_types_on_a_phone(enter: Enter) -> None:
    phone = enter("phone", viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    running(phone)
    expect(phone.page.locator("body")).to_have_js_property("scrollWidth", 390)
    x, y = phone.point(0.4, 0.5)
    phone.page.touchscreen.tap(x, y)
    phone.eventually("a touch", lambda: (phone.marker() or {}).get("inputs", 0), lambda n: n > 0)
    keys = phone.wait_for_picture()["keys"]
    phone.seen("more-button").click()
    phone.page.touchscreen.tap(*phone.point(0.2, 0.5))
    expect(phone.seen("keyboard-button")).to_have_count(0)
    phone.seen("more-button").click()
    phone.seen("keyboard-button").click()
    expect(phone.seen("text-input").locator("input")).to_be_focused()
    phone.seen("text-input").locator("input").press_sequentially("ok")
    phone.eventually("two characters", lambda: (phone.marker() or {}).get("keys", 0), lambda n: n >= keys + 2)
    phone.seen("text-input").locator("input").press("Backspace")
    phone.page.set_viewport_size({"width": 844, "height": 390})
    expect(phone.seen("end-button")).to_be_in_viewport(ratio=1)


def test_languages_appearance_and_search(enter: Enter) -> None:
    person = enter("person")
    person.open_catalogue()
    expect(person.page.locator("html")).to_have_attribute("lang", "en")
    person.seen("language").select_option("ru")
    expect(person.page.get_by_role("heading", level=1)).to_have_text("Что вы хотите открыть?")
    person.seen("theme").select_option("dark")
    person.page.reload()
    person.seen("titles").wait_for()
    expect(person.page.locator("html")).to_have_attribute("lang", "ru")
    expect(person.page.locator("html")).to_have_attribute("data-theme", "dark")
    person.seen("search").fill("vp8")
    expect(person.page.locator("[data-testid^=title-card-]")).to_have_count(1)
    person.seen("search").fill("ничего такого")
    person.page.get_by_role("button", name="Показать все").click()
    person.seen("title-card-sample").wait_for()


def test_without_a_network_the_page_says_so_and_comes_back(enter: Enter) -> None:
    person = enter("person")
    person.page.route("**/api/v1/**", lambda route: route.abort("internetdisconnected"))
    person.page.goto(person.base_url)
    person.seen("offline-page").wait_for()
    person.page.unroute_all()
    person.page.evaluate("() => window.dispatchEvent(new Event('online'))")
    person.seen("titles").wait_for()
    expect(person.seen("offline-page")).to_have_count(0)


def test_a_refused_microphone_has_its_sentence(enter: Enter) -> None:
    person = enter("person")
    running(person)
    person.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError')); }"
    )
    person.press_tool("voice")
    person.seen("voice-join").click()
    expect(person.seen("voice-problem")).to_contain_text("does not allow the microphone")


def test_the_statistics_say_what_the_browser_measures(enter: Enter) -> None:
    person = enter("person")
    running(person)
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    person.press_tool("statistics")
    overlay = person.seen("statistics")
    expect(overlay).to_contain_text("1280 × 720")
    expect(overlay).to_contain_text("H264")
    stats = person.eventually("a rate", lambda: person.state()["stats"], lambda s: s["videoBps"] > 50_000)
    assert stats["framesPerSecond"] > 0
    assert stats["audioBps"] > 10_000
    person.seen("copy-statistics").click()
    copied = person.page.evaluate("() => navigator.clipboard.readText()").splitlines()
    shown = dict(line.split(": ", 1) for line in copied)
    assert shown["Picture"] == "1280 × 720"
    assert {"Frames per second", "Video data rate", "Packets lost", "Round trip", "Decoding per frame"} <= set(shown)


def test_scripts_before_the_player_stay_below_100_kilobytes(enter: Enter) -> None:
    person = enter("person")
    loaded: dict[str, int] = {}
    person.page.on(
        "response",
        lambda answer: loaded.update({answer.url: len(answer.body())}) if answer.url.endswith(".js") else None,
    )
    person.open_catalogue()
    person.page.wait_for_load_state("networkidle")
    assert loaded
    assert sum(loaded.values()) < 100_000, loaded


def test_every_page_works_under_its_policy(enter: Enter) -> None:
    person = enter("person")
    person.page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => {"
        "  (window.broken ??= []).push(`${location.pathname} ${event.violatedDirective} ${event.blockedURI}`); });"
    )
    broken: list[str] = []
    for path, testid in (
        ("/", "titles"),
        ("/schedule", "schedule-page"),
        ("/admin", "sign-in-page"),
        ("/no/such/page", "not-found-page"),
        (f"/join/{'a' * 26}-{'b' * 43}", "error-invite_not_found"),
    ):
        person.page.goto(person.base_url + path)
        person.seen(testid).wait_for()
        broken += person.page.evaluate("() => window.broken ?? []")
    running(person)
    person.press_tool("invite")
    person.seen("create-invite").click()
    person.seen("invite-link").wait_for()
    expect(person.seen("invite-panel").get_by_role("img")).to_be_visible()
    broken += person.page.evaluate("() => window.broken ?? []")
    assert broken == []


def test_the_frame_of_a_page_is_painted_before_any_of_its_files_has_come(enter: Enter) -> None:
    person = enter("person")
    person.page.route("**/assets/**", lambda route: None)
    person.page.goto(person.base_url, wait_until="commit")
    logo = person.page.locator(".logo")
    person.eventually(
        "the first paint",
        lambda: person.page.evaluate("() => performance.getEntriesByName('first-contentful-paint').length"),
    )
    before = logo.bounding_box() or {}
    person.page.unroute_all()
    person.page.goto(person.base_url)
    person.seen("titles").wait_for()
    # Nothing jumps when the style sheet and the real header arrive.
    assert logo.bounding_box() == pytest.approx(before, abs=0.5)


def test_nothing_moves_for_people_who_want_no_motion(enter: Enter) -> None:
    moving = """() => document.getAnimations().filter(({ effect }) => effect.getComputedTiming().activeDuration > 1)
                    .map(({ animationName, transitionProperty }) => animationName ?? transitionProperty)"""
    for motion, expected in (("no-preference", True), ("reduce", False)):
        person = enter(motion, reduced_motion=motion)
        # The catalogue stays away: placeholders shimmer.
        for path in ("titles", "events"):
            person.page.route(f"**/api/v1/{path}", lambda route: None)
        person.page.goto(person.base_url)
        person.page.locator(".skeleton").first.wait_for()
        assert bool(person.page.evaluate(moving)) is expected, motion
        person.page.unroute_all()


def test_a_gamepad_reaches_the_application(enter: Enter) -> None:
    person = enter("person")
    person.page.add_init_script(
        """const pad = { id: "stand-in", index: 0, connected: true, mapping: "standard", timestamp: 0,
             axes: [0, 0, 0, 0], buttons: Array.from({ length: 17 }, () => ({ pressed: false, value: 0 })) };
           globalThis.pad = pad;
           navigator.getGamepads = () => [globalThis.isPlugged ? pad : null, null, null, null];"""
    )
    running(person)
    person.page.evaluate(
        """() => {
          globalThis.isPlugged = true;
          dispatchEvent(Object.assign(new Event("gamepadconnected"), { gamepad: globalThis.pad }));
        }"""
    )
    before = person.wait_for_picture()["inputs"]
    person.page.evaluate("() => { pad.axes[0] = 0.8; pad.buttons[0] = { pressed: true, value: 1 }; }")
    assert person.eventually("the gamepad", lambda: (person.marker() or {}).get("inputs", 0), lambda n: n > before)


def test_the_picture_takes_the_size_of_the_controllers_window(enter: Enter) -> None:
    person = enter("person", viewport={"width": 1000, "height": 700})
    running(person)
    person.press_tool("quality")
    person.seen("match-window").check(force=True)
    person.eventually(
        "a picture of the window's size",
        lambda: (person.state()["stats"]["width"], person.state()["stats"]["height"]),
        lambda size: size == (1000, 700),
    )


def test_the_tools_of_the_bar_do_their_work(enter: Enter) -> None:
    person = enter("person")
    running(person)
    person.press_tool("full-screen")
    person.eventually("full screen", lambda: person.page.evaluate("() => document.fullscreenElement !== null"))
    person.press_tool("full-screen")
    person.eventually("a window again", lambda: person.page.evaluate("() => document.fullscreenElement === null"))
    muted = "() => pixelstreamProbe.video().muted"
    person.unmute()
    person.press_tool("sound")
    person.eventually("silence", lambda: person.page.evaluate(muted))
    person.press_tool("sound")
    person.eventually("sound", lambda: not person.page.evaluate(muted))
    person.press_tool("pointer-lock")
    expect(person.seen("pointer-lock-button")).to_have_attribute("aria-pressed", "true")
    person.click_picture(0.5, 0.5)
    person.eventually("the caught mouse", lambda: person.page.evaluate("() => document.pointerLockElement !== null"))
    person.page.evaluate("() => document.exitPointerLock()")
    person.press_tool("end")
    person.seen("keep-going").click()
    expect(person.seen("confirm-end-dialog")).to_have_count(0)
