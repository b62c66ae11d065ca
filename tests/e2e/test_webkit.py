"""The engine of Safari and of every browser on iPhones: the portal's pages in WebKitGTK, as Debian has it.

Debian builds it without WebRTC, so it shows no stream; what such a browser is told is looked at here, too. The player
itself has been seen in Chromium and Firefox only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.demo.stack import DemoOptions
from tests.security.people import Person

from .accessibility import AXE, GRAVE
from .stage import Stage
from .webkit import WebKit, missing, running_webkit

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(240),
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]

DESKTOP, PHONE = (1200, 820), (390, 844)
LOOKS = [(DESKTOP, "en", "light"), (DESKTOP, "ru", "dark"), (PHONE, "ru", "light")]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(DemoOptions(directory=tmp_path_factory.mktemp("demo"))) as running:
        yield running
    assert running.stack.leftovers() == ([], [])


@pytest.fixture(scope="module")
def webkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebKit]:
    with running_webkit(tmp_path_factory.mktemp("webkit")) as running:
        yield running


@pytest.fixture
def shot(webkit: WebKit, screens: Path, request: pytest.FixtureRequest) -> Any:
    """Leaves a picture for people to look at."""
    return lambda name: webkit.screenshot(screens / f"webkit-{name}.png")


def _is_good(webkit: WebKit, what: str) -> None:
    """Nothing serious for axe-core, and nothing wider than the window."""
    webkit.settle()
    found = webkit.run(
        f"{AXE.read_text(encoding='utf-8')}\nreturn axe.run(document, {{resultTypes: ['violations']}})"
        ".then(({violations}) => violations.map(({id, impact, nodes}) => [id, impact, nodes[0].target.join(' ')]))"
    )
    assert not [each for each in found if each[1] in GRAVE], what
    wide, window = webkit.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= window, what


@pytest.mark.parametrize(("size", "language", "theme"), LOOKS, ids=["desktop", "dark Russian", "phone"])
def test_every_page_without_a_session(
    stage: Stage, webkit: WebKit, shot: Any, size: tuple[int, int], language: str, theme: str
) -> None:
    webkit.resize(*size)
    look = f"lang={language}&theme={theme}"
    for path, testid in (
        (f"/?{look}", "titles"),
        (f"/schedule?title=sample&{look}", "schedule-page"),
        (f"/admin?{look}", "sign-in-page"),
        (f"/no/such/page?{look}", "not-found-page"),
        (f"/join/{'a' * 26}-{'b' * 43}?{look}", "error-invite_not_found"),
    ):
        webkit.goto(stage.url + path)
        webkit.wait(testid)
        assert webkit.run("return document.documentElement.lang") == language
        _is_good(webkit, path)
        shot(f"{testid}-{language}-{theme}-{size[0]}")


def test_search_language_and_appearance_stay(stage: Stage, webkit: WebKit) -> None:
    webkit.resize(*DESKTOP)
    webkit.goto(stage.url)
    webkit.write(webkit.wait("search"), "vp8")
    count = "return document.querySelectorAll('[data-testid^=title-card-]').length"
    webkit.eventually("one title", lambda: webkit.run(count) == 1)
    _speak(webkit, "ru")
    webkit.choose(webkit.wait("theme"), "dark")
    webkit.goto(stage.url)
    webkit.wait("titles")
    kept = webkit.run("const {lang, dataset} = document.documentElement; return [lang, dataset.theme]")
    assert kept == ["ru", "dark"]
    webkit.choose(webkit.wait("theme"), "auto")
    _speak(webkit, "en")


def _speak(webkit: WebKit, language: str) -> None:
    webkit.choose(webkit.wait("language"), language)
    webkit.eventually("the language", lambda: webkit.run("return document.documentElement.lang") == language)


def test_a_time_is_booked(stage: Stage, webkit: WebKit, shot: Any) -> None:
    webkit.goto(f"{stage.url}/schedule?title=sample")
    webkit.wait("schedule-page")
    webkit.click(webkit.wait("calendar-next"))
    free = "[data-testid^=hour-]:not([data-free='0']):not(:disabled)"
    webkit.eventually("a free hour", lambda: webkit.run("return !!document.querySelector(arguments[0])", free))
    webkit.click(free)
    day, time = (
        webkit.run("return document.querySelector(arguments[0]).value", f"[data-testid=booking-{part}]")
        for part in ("day", "time")
    )
    webkit.write(webkit.wait("booking-label"), "Review")
    webkit.click(webkit.wait("book"))
    webkit.wait("booking-made")
    shot("booked")
    assert (len(day), len(time)) == (10, 5)
    webkit.goto(f"{stage.url}/schedule")
    bookings = webkit.wait("my-bookings")
    assert "Review" in webkit.run("return document.querySelector(arguments[0]).innerText", bookings)


def test_what_a_browser_without_webrtc_is_told(stage: Stage, webkit: WebKit, shot: Any) -> None:
    if webkit.run("return 'RTCPeerConnection' in window"):
        pytest.skip("this WebKit has WebRTC")
    webkit.resize(*DESKTOP)
    webkit.goto(stage.url)
    webkit.click(f"{webkit.wait('title-card-sample')} [data-testid=start-button]")
    webkit.wait("error-no_streams")
    shot("no-streams")
    owner = Person(stage.url)
    session = owner.start("sample")
    webkit.goto(stage.url + owner.invite(session)["url"].removeprefix(stage.url))
    webkit.click(f"{webkit.wait('unsupported-page')} button")
    webkit.wait("toast")
    assert "Copied" in webkit.text()
    _is_good(webkit, "unsupported")
    shot("unsupported")
    assert owner.ask("DELETE", f"/api/v1/sessions/{session}").status == 202


def test_administration(stage: Stage, webkit: WebKit, shot: Any) -> None:
    webkit.resize(*DESKTOP)
    webkit.goto(f"{stage.url}/admin")
    webkit.write(webkit.wait("sign-in-name"), stage.stack.admin.user)
    webkit.write(webkit.wait("sign-in-password"), stage.stack.admin.password)
    webkit.click(webkit.wait("sign-in-submit"))
    webkit.wait("overview")
    for tab, shows in (
        ("sessions", "sessions"),
        ("titles", "admin-titles"),
        ("bookings", "admin-bookings"),
        ("accounts", "users"),
        ("audit", "audit"),
        ("hosts", "hosts"),
    ):
        webkit.click(webkit.wait(f"tab-{tab}"))
        webkit.wait(shows)
        _is_good(webkit, tab)
        shot(f"admin-{tab}")
    webkit.click(webkit.wait("open-demo"))
    webkit.click(webkit.wait("drain"))
    webkit.wait("drain-dialog")
    shot("dialog")
    # The dialog takes the keyboard, and gives it back.
    assert webkit.run("return document.querySelector('dialog[open]').contains(document.activeElement)")
    webkit.press("\ue00c")
    webkit.eventually("no dialog", lambda: webkit.run("return document.querySelector('dialog') === null"))
