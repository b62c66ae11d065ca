"""What browsers cannot do, refuse to do or do by themselves: no WebRTC, no codec, no autoplay, paused pictures."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .conftest import Enter
from .test_portal import running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def test_a_browser_that_cannot_show_streams_is_told_so(enter: Enter) -> None:
    owner, person = enter("owner"), enter("person")
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    person.page.add_init_script("delete globalThis.RTCPeerConnection;")
    person.open_catalogue()
    person.seen("title-card-sample").get_by_test_id("start-button").click()
    expect(person.seen("error-no_streams")).to_contain_text("Open this page in a current Chrome")
    # No place was taken for somebody who would see nothing.
    assert person.api_get("/api/v1/sessions?mine=true")["items"] == []
    running(owner)
    link = owner.invite_link("watcher")
    person.page.goto(link)
    person.seen("unsupported-page").wait_for()
    person.page.get_by_role("button", name="Copy the link").click()
    assert person.page.evaluate("() => navigator.clipboard.readText()") == link
    owner.page.add_init_script("delete globalThis.RTCPeerConnection;")
    owner.page.reload()
    owner.seen("unsupported-page").wait_for()


def test_a_browser_that_is_too_old_is_told_so(enter: Enter) -> None:
    person = enter("person", locale="ru-RU")
    person.page.add_init_script("delete AbortSignal.any;")
    person.page.goto(person.base_url)
    person.seen("old-browser-page").wait_for()
    expect(person.page.get_by_text("Откройте ссылку в новом Chrome")).to_be_visible()


def test_a_browser_without_the_codec_is_told_which(enter: Enter) -> None:
    person = enter("person")
    person.page.add_init_script(
        """const all = RTCRtpReceiver.getCapabilities.bind(RTCRtpReceiver);
           RTCRtpReceiver.getCapabilities = (kind) => {
             const found = all(kind);
             return { ...found, codecs: found.codecs.filter((codec) => !codec.mimeType.endsWith("H264")) };
           };"""
    )
    person.open_catalogue()
    person.start("sample")
    expect(person.seen("stream-overlay")).to_contain_text("cannot decode H264", timeout=60_000)


@pytest.mark.parametrize(("allowed", "button"), [("muted", "tap-for-sound"), ("nothing", "tap-to-play")])
def test_what_the_browser_refuses_to_play_takes_one_tap(enter: Enter, allowed: str, button: str) -> None:
    person = enter("person")
    session = running(person)
    person.page.add_init_script(
        f"""const play = HTMLMediaElement.prototype.play, allowed = "{allowed}";
            let isTapped = false;
            addEventListener("click", () => {{ isTapped = true; }}, {{ capture: true }});
            HTMLMediaElement.prototype.play = function () {{
              if (isTapped || (allowed === "muted" && this.muted)) return play.call(this);
              return Promise.reject(new DOMException("", "NotAllowedError"));
            }};"""
    )
    person.page.goto(f"{person.base_url}/session/{session}")
    person.seen(button).click()
    expect(person.seen(button)).to_have_count(0)
    person.wait_for_picture()
    person.eventually("sound", lambda: not person.page.evaluate("() => pixelstreamProbe.video().muted"))


def test_a_picture_that_the_system_pauses_goes_on(enter: Enter) -> None:
    """Phones pause videos for a call, for pulled headphones, and for as long as the screen is locked."""
    person = enter("person")
    running(person)
    pause = "() => pixelstreamProbe.video().pause()"
    person.page.evaluate(pause)
    person.seen("tap-to-play").click()
    expect(person.seen("tap-to-play")).to_have_count(0)
    frame = person.wait_for_picture()["frame"]
    person.eventually("a moving picture", lambda: (person.marker() or {}).get("frame", 0), lambda n: n > frame)

    person.page.evaluate(
        """() => {
          globalThis.shown = "hidden";
          Object.defineProperty(document, "visibilityState", { get: () => globalThis.shown });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    person.page.evaluate(pause)
    assert person.page.evaluate("() => pixelstreamProbe.video().paused")
    person.page.evaluate("() => { shown = 'visible'; document.dispatchEvent(new Event('visibilitychange')); }")
    person.eventually("play", lambda: not person.page.evaluate("() => pixelstreamProbe.video().paused"))
    expect(person.seen("tap-to-play")).to_have_count(0)


def test_the_screen_stays_on_while_there_is_a_picture(enter: Enter) -> None:
    person = enter("person")
    person.page.add_init_script(
        """const request = WakeLock.prototype.request;
           WakeLock.prototype.request = async function (...wanted) {
             const sentinel = await request.apply(this, wanted);
             (globalThis.locks ??= []).push(sentinel);
             return sentinel;
           };"""
    )
    running(person)
    held = "() => (globalThis.locks ?? []).map((each) => [each.type, each.released])"
    person.eventually("a wake lock", lambda: person.page.evaluate(held), lambda seen: seen == [["screen", False]])
    person.seen("end-button").click()
    person.seen("confirm-end").click()
    person.seen("ended-page").wait_for()
    assert person.page.evaluate(held) == [["screen", True]]
