"""Chromium as streamer and as player: pictures are decoded, sound is heard, and both survive what happens to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.support.lossy_link import LossyLink
from tests.support.media_session import Session, SessionMaker
from tests.support.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
PAGE = (Path(__file__).parents[2] / "support" / "media_page.js").read_text(encoding="utf-8")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        await browser.close()


async def page_of(browser: Browser) -> Page:
    page = await browser.new_page()
    await page.goto("about:blank")
    await page.evaluate(PAGE)
    return page


async def publish(
    session: Session, browser: Browser, codec: str, layers: list[tuple[str, int]] | None = None, scalability: str = ""
) -> Page:
    page = await page_of(browser)
    offer = await page.evaluate(
        "([c, layers, scalability]) => publish(c, layers, scalability)", [codec, layers, scalability]
    )
    await page.evaluate("sdp => accept(sdp)", await session.hub.answer_streamer(offer))
    return page


async def join(session: Session, browser: Browser, player_id: str, without: str = "") -> Page:
    page = await page_of(browser)
    offer = await session.hub.offer_player(player_id)
    offer = "".join(line for line in offer.splitlines(keepends=True) if not without or without not in line)
    answer = await page.evaluate("sdp => join(sdp)", offer)
    await session.hub.accept_player_answer(player_id, answer)
    return page


async def sample(page: Page) -> dict[str, Any]:
    return dict(await page.evaluate("() => sample()"))


async def wait_for(page: Page, expression: str, seconds: float = 15.0) -> dict[str, Any]:
    """Until ``expression`` over the sample ``s`` is true; returns the sample."""
    async with asyncio.timeout(seconds):
        while True:
            found = await sample(page)
            if await page.evaluate(f"s => Boolean({expression})", found):
                return found
            await asyncio.sleep(0.1)


PICTURES_AFTER_A_CHANGE = 130


@pytest.mark.parametrize("codec", ["VP8", "H264", "VP9", "AV1"])
async def test_picture_and_sound_of_every_codec(session: Session, browser: Browser, codec: str) -> None:
    publisher = await publish(session, browser, codec)
    player = await join(session, browser, "p1")
    first = await wait_for(player, "s.frames > 5 && s.samples > 0 && s.energy > 0")
    assert str(first["mime"]).startswith(f"video/{codec}")
    later = await wait_for(player, f"s.frames > {first['frames'] + 40}")
    assert later["lost"] == 0
    stats = session.hub.stats()
    assert stats.streamer is not None
    assert stats.streamer.streams[0].codec == codec
    assert stats.streamer.streams[0].keyframes >= 1, "keyframes of this codec are not recognised"
    assert stats.players[0].estimate_bps, "the player reports no bandwidth estimate"
    await publisher.close()
    await player.close()


async def test_a_browser_without_an_estimate_of_its_own_tells_arrival_times(session: Session, browser: Browser) -> None:
    publisher = await publish(session, browser, "VP8")
    player = await join(session, browser, "p1", without="goog-remb")
    await wait_for(player, "s.frames > 20")
    egress = session.hub._players["p1"].egress
    assert egress is not None
    assert egress._estimate is not None
    await until(lambda: session.hub.stats().players[0].estimate_bps, seconds=10)
    later = await wait_for(player, "s.frames > 60")
    assert later["lost"] == 0
    await publisher.close()
    await player.close()


async def test_data_passes_between_pages(session: Session, browser: Browser) -> None:
    publisher = await publish(session, browser, "VP8")
    player = await join(session, browser, "p1")
    await until(lambda: session.events.named("player_open") and session.events.named("streamer_open"), seconds=10)
    await player.evaluate("() => channel.send(new Uint8Array([60, 65, 0]))")
    await until(lambda: ("player_data", "p1", b"\x3c\x41\x00") in session.events.events)
    assert session.hub.send_to_player("p1", bytes(200_000))
    assert session.hub.send_to_streamer(bytes(262_143))
    await player.wait_for_function("() => received.at(-1) === 200000")
    await publisher.wait_for_function("() => received.at(-1) === 262143")
    await publisher.close()
    await player.close()


@pytest.mark.parametrize("codec", ["VP8", "H264", "VP9", "AV1"])
async def test_a_player_keeps_its_connection_when_the_streamer_comes_back(
    session: Session, browser: Browser, codec: str
) -> None:
    publisher = await publish(session, browser, codec)
    player = await join(session, browser, "p1")
    before = await wait_for(player, "s.frames > 20")
    await publisher.evaluate("() => leave()")
    await until(lambda: session.events.named("streamer_closed"), seconds=10)
    again = await publish(session, browser, codec)
    after = await wait_for(player, f"s.frames > {before['frames'] + 40}")
    assert after["connection"] == "connected"
    assert not session.events.named("reoffer")
    assert len(session.events.named("player_media")) == 1
    for page in (publisher, again, player):
        await page.close()


async def test_lost_packets_are_repaired_by_rtx(session: Session, browser: Browser) -> None:
    publisher = await publish(session, browser, "VP8")
    player = await join(session, browser, "p1")
    started = await wait_for(player, "s.frames > 10")
    bound = session.hub._port.sockets[0]
    send_batch, calls = bound.send_batch, 0

    def lossy(data: memoryview, stride: int, count: int, address: tuple[Any, ...]) -> int:
        nonlocal calls
        calls += 1
        return count if calls % 25 == 0 else send_batch(data, stride, count, address)

    bound.send_batch = lossy  # type: ignore[method-assign]
    repaired = await wait_for(player, f"s.frames > {started['frames'] + 150} && s.rtx > 5", 30)
    assert session.hub.stats().players[0].resent >= repaired["rtx"]
    await publisher.close()
    await player.close()


@pytest.mark.parametrize("loss", [0.02, 0.10])
async def test_a_bad_link_still_shows_a_picture(make_session: SessionMaker, browser: Browser, loss: float) -> None:
    """50 ms there and back, behind a NAT: joining, picture, sound and data all work, and the others do not notice."""
    link = LossyLink(loss=loss, delay_seconds=0.025)
    await link.open()
    session = await make_session(announced_addresses=("127.0.0.1",), announced_port=link.port)
    link.connect(("127.0.0.1", session.hub.port))
    publisher = await publish(session, browser, "VP8")
    player = await join(session, browser, "p1")
    started = await wait_for(player, "s.frames > 10 && s.samples > 0", 30)
    await until(lambda: session.events.named("player_open"), seconds=10)
    for i in range(20):
        assert session.hub.send_to_player("p1", bytes(1000 + i))
    later = await wait_for(player, f"s.frames > {started['frames'] + 100} && s.rtx > 0", 40)
    await player.wait_for_function("() => received.length === 20", timeout=20_000)
    assert later["connection"] == "connected"
    assert link.lost > 0
    stats = session.hub.stats().players[0]
    assert stats.rtt_ms is not None
    assert stats.rtt_ms > 45
    await publisher.close()
    await player.close()
    link.close()


async def test_a_page_that_offers_gets_the_same_stream(session: Session, browser: Browser) -> None:
    publisher = await publish(session, browser, "VP9")
    page = await page_of(browser)
    answer = await session.hub.answer_player("p1", await page.evaluate("() => offerToReceive()"))
    await page.evaluate("sdp => accept(sdp)", answer)
    await wait_for(page, "s.frames > 20 && s.energy > 0")
    await until(lambda: session.events.named("player_open"))
    assert json.loads(await page.evaluate("() => JSON.stringify(channel.readyState)")) == "open"
    await publisher.close()
    await page.close()


@pytest.mark.timeout(180)
async def test_simulcast_layers_of_a_browser(session: Session, browser: Browser) -> None:
    """A decoder takes the changes for one stream: it never has to ask for a keyframe by itself."""
    publisher = await publish(session, browser, "VP8", [("h", 1), ("l", 2)])
    player = await join(session, browser, "p1")
    await wait_for(player, "s.frames > 5 && s.width === 640", 20)
    session.hub.limit_layers("p1", 1)
    small = await wait_for(player, "s.width === 320", 20)
    session.hub.limit_layers("p1", None)
    large = await wait_for(player, f"s.width === 640 && s.frames > {small['frames'] + 30}", 20)
    first = large["pli"]
    for limit, width in ((1, 320), (None, 640)):
        session.hub.limit_layers("p1", limit)
        begun = await wait_for(player, f"s.width === {width}", 20)
        # A picture that is taken for another of before the change is found only when its number comes by.
        large = await wait_for(player, f"s.frames > {begun['frames'] + PICTURES_AFTER_A_CHANGE}", 30)
        assert large["width"] == width
    assert large["pli"] == first
    assert large["connection"] == "connected"
    await publisher.close()
    await player.close()


@pytest.mark.parametrize("codec", ["VP8", "VP9", "AV1"])
async def test_temporal_layers_of_a_browser(session: Session, browser: Browser, codec: str) -> None:
    """A decoder takes the thinned stream for a whole one: fewer frames, no request for a keyframe."""
    publisher = await publish(session, browser, codec, scalability="L1T3")
    thin, full = await join(session, browser, "thin"), await join(session, browser, "full")
    await wait_for(thin, "s.frames > 20")
    session.hub.limit_layers("thin", None, 1)
    egress = session.hub._players["thin"].egress
    assert egress is not None
    await until(lambda: (video := egress.video()) is not None and video.thinner is not None, seconds=10)
    first, beside = await sample(thin), await sample(full)
    later = await wait_for(thin, f"s.frames > {first['frames'] + 25}", 30)
    whole = await sample(full)
    share = (later["frames"] - first["frames"]) / (whole["frames"] - beside["frames"])
    assert 0.3 < share < 0.75
    assert later["pli"] == first["pli"]
    session.hub.limit_layers("thin", None)
    await until(lambda: egress.video().thinner is None or egress.video().thinner.target > 2, seconds=10)  # type: ignore[union-attr]
    first, beside = await sample(thin), await sample(full)
    whole = await wait_for(full, f"s.frames > {beside['frames'] + 40}", 30)
    later = await sample(thin)
    assert (later["frames"] - first["frames"]) / (whole["frames"] - beside["frames"]) > 0.6, "every layer is back"
    assert later["pli"] == first["pli"]
    for page in (publisher, thin, full):
        await page.close()
