"""The example page of docs/embed.md on another site: what the player says comes out, what the page wants goes in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, FrameLocator, expect

from runtime.demo.stack import DemoOptions

from .example_site import example_site
from .stage import Stage
from .viewer import Viewer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The integrator's own site."""
    with example_site() as origin:
        yield origin


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, site: str) -> Iterator[Stage]:
    options = DemoOptions(directory=tmp_path_factory.mktemp("demo"), coordinator={"cors_origins": [site]})
    with Stage(options) as running:
        yield running


def inside(person: Viewer) -> FrameLocator:
    return person.page.frame_locator("pixel-stream iframe")


def events(person: Viewer, kind: str) -> list[str]:
    return person.page.locator(f"#log li[data-type={kind}]").all_inner_texts()


def test_the_example_page_works(browser: Browser, stage: Stage, site: str) -> None:
    person = Viewer(browser, site, "visitor")
    person.page.goto(f"{site}/?portal={stage.url}&lang=ru&theme=dark")
    frame = inside(person)
    frame.get_by_test_id("one-title").wait_for()
    expect(frame.get_by_test_id("start-button")).to_have_text("Запустить")
    # No header of ours inside of another site's page.
    expect(frame.locator("header")).to_have_count(0)
    frame.get_by_test_id("start-button").click()
    person.eventually(
        "playing", lambda: events(person, "state"), lambda lines: "playing" in " ".join(lines), seconds=60
    )
    assert any("first_frame" in line or "streamer_connected" in line for line in events(person, "progress"))
    person.eventually("control", lambda: events(person, "control"), lambda lines: '"inControl":true' in lines[-1])
    assert '"count":1' in events(person, "participants")[-1]

    person.page.get_by_text("Give up control").click()
    person.eventually("no control", lambda: events(person, "control"), lambda lines: '"inControl":false' in lines[-1])
    person.page.get_by_text("Ask for control").click()
    person.eventually("control again", lambda: events(person, "control"), lambda lines: '"inControl":true' in lines[-1])
    person.page.get_by_text("Send an interaction").click()
    person.eventually("the application's answer", lambda: events(person, "response"), lambda lines: len(lines) > 0)

    person.page.get_by_text("Leave", exact=True).click()
    frame.get_by_test_id("ended-left").wait_for()
    assert events(person, "ended")[-1] == 'ended {"reason":"left"}'
    assert not person.errors
    person.close()


def test_a_site_that_is_not_allowed_sees_nothing(browser: Browser, stage: Stage, site: str) -> None:
    # Another name of the same server is another origin.
    stranger = Viewer(browser, site.replace("localhost", "other.localhost"), "stranger")
    refused: list[str] = []
    stranger.page.on("console", lambda message: refused.append(message.text))
    stranger.page.goto(f"{stranger.base_url}/?portal={stage.url}")
    stranger.eventually("the refusal", lambda: refused, lambda lines: any("frame-ancestors" in line for line in lines))
    assert events(stranger, "ready") == []
    stranger.close()


def test_every_site_has_its_own_visitors(browser: Browser, stage: Stage, site: str) -> None:
    person = Viewer(browser, site, "visitor")
    person.page.goto(f"{site}/?portal={stage.url}")
    inside(person).get_by_test_id("one-title").wait_for()
    framed = [cookie for cookie in person.context.cookies(stage.url) if cookie["name"].endswith("-framed")]
    assert [(cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) for cookie in framed] == [(True, True, "None")]

    who = "async () => (await (await fetch('/api/v1/me')).json()).id"
    frame = next(frame for frame in person.page.frames if frame.url.startswith(stage.url))
    in_frame = frame.evaluate(who)
    person.page.reload()
    inside(person).get_by_test_id("one-title").wait_for()
    frame = next(frame for frame in person.page.frames if frame.url.startswith(stage.url))
    assert frame.evaluate(who) == in_frame, "the frame is known again"

    person.page.goto(stage.url)
    assert person.page.evaluate(who) != in_frame, "and the portal itself does not know it"
    assert not person.errors
    person.close()
