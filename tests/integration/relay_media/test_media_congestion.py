"""Players that give no estimate of their own but tell when each packet arrived."""

from __future__ import annotations

import asyncio
import time

import pytest

from runtime.relay.core import rtcp, rtp, sdp
from runtime.relay.core.transport_cc import Arrivals
from runtime.relay.rtc.egress import FEEDBACK_PACKETS, MAX_REPORTED_PER_SECOND
from tests.support.media_peer import FEEDBACK, VP8_DELTA, RawPeer, sequence_of
from tests.support.media_session import Session
from tests.support.waiting import until

STREAMERS_NUMBER = 3
NATIVE = ("nack", "nack pli", "transport-cc")
BROWSER = (*NATIVE, "goog-remb")
EXTENSIONS = (f"{STREAMERS_NUMBER} {rtp.TRANSPORT_CC}",)


async def streamer_of(session: Session) -> RawPeer:
    return await session.streamer(audio=False, feedback=(*FEEDBACK, "transport-cc"), extensions=EXTENSIONS)


async def send(streamer: RawPeer, count: int, first: int = 0) -> None:
    for i in range(first, first + count):
        extension = bytes.fromhex("BEDE0001") + bytes((STREAMERS_NUMBER << 4 | 1,)) + (7000 + 3 * i).to_bytes(2, "big")
        packet = streamer.packet(timestamp=i, payload=VP8_DELTA + bytes(900), extension=extension + b"\0")
        await streamer.send_rtp(packet)


def number_of(player: RawPeer, packet: bytes) -> int | None:
    """The transport-wide number, if the packet has one under the number that was agreed with this player."""
    agreed = player.kinds()["video"].extensions[rtp.TRANSPORT_CC]
    offset = rtp.extension_offset(packet, agreed, 2)
    return int.from_bytes(packet[offset : offset + 2], "big") if offset else None


@pytest.mark.parametrize("together", [1, 20], ids=["single packets", "batches"])
async def test_each_player_counts_for_itself_resends_included(session: Session, together: int) -> None:
    streamer = await streamer_of(session)
    early = await session.player("early", feedback=NATIVE)
    await send(streamer, 20)
    await until(lambda: len(early.rtp) == 20)
    late, browser = await session.player("late", feedback=NATIVE), await session.player("browser", feedback=BROWSER)
    for first in range(20, 60, together):
        await send(streamer, together, first)
        await until(lambda last=first + together: len(early.rtp) == last)
    await until(lambda: len(late.rtp) == 40 and len(browser.rtp) == 40)
    assert [number_of(early, packet) for packet in early.rtp] == list(range(60))
    assert [number_of(late, packet) for packet in late.rtp] == list(range(40))
    assert not any(number_of(browser, packet) for packet in browser.rtp), "who estimates itself is left to it"
    media = late.kinds()["video"].ssrcs[0]
    await late.send_rtcp(rtcp.nack(5, media, [sequence_of(late.rtp[3])]))
    again = (await until(lambda: late.received(late.kinds()["video"].ssrcs[1])))[0]
    assert number_of(late, again) == 40


async def test_arrival_times_become_an_estimate(session: Session) -> None:
    streamer = await streamer_of(session)
    player = await session.player(feedback=NATIVE)
    assert session.hub.stats().players[0].estimate_bps is None
    base, seen = time.monotonic(), 0
    for turn in range(30):
        await send(streamer, 10, 10 * turn)
        await until(lambda turn=turn: len(player.rtp) == 10 * (turn + 1))
        arrivals = Arrivals()
        for i, packet in enumerate(player.rtp[seen:]):
            number = number_of(player, packet)
            assert number is not None
            # A queue that grows by a packet's time with every packet: the link is overloaded.
            arrivals.add(number, base + turn * 0.05 + 0.005 * (seen + i))
        seen = len(player.rtp)
        body = arrivals.feedback()
        assert body is not None
        await player.send_rtcp(rtcp.transport_feedback(5, player.kinds()["video"].ssrcs[0], body))
        await asyncio.sleep(0.01)
    estimate = await until(lambda: session.hub.stats().players[0].estimate_bps)
    assert estimate < 3_000_000, "below the start of 6 Mbit/s"
    await player.send_rtcp(rtcp.transport_feedback(5, 1, b"\0\1\0\x09"))
    await until(lambda: session.hub.stats().counters.get("rtcp_malformed") == 1)


async def test_the_number_offered_for_it_is_free_in_every_section(session: Session) -> None:
    """Browsers refuse a bundle in which a number means two things, in whichever sections."""
    others = tuple(f"{number} urn:example:{number}" for number in range(4, 15))
    streamer = await session.peer()
    offer = streamer.offer(feedback=(*FEEDBACK, "transport-cc"), extensions=(*EXTENSIONS, *others))
    sound = "a=rtpmap:111 opus/48000/2\r\n"
    assert sound in offer
    await session.hub.answer_streamer(offer.replace(sound, sound + "a=extmap:2 urn:example:sound\r\n"))
    numbers = [s.extensions for s in sdp.parse(await session.hub.offer_player("p1")).sections if s.kind == "video"]
    assert numbers[0][rtp.TRANSPORT_CC] == 1
    full = offer.replace(sound, sound + "a=extmap:2 urn:example:sound\r\na=extmap:1 urn:example:level\r\n")
    await session.hub.answer_streamer(full)
    numbers = [s.extensions for s in sdp.parse(await session.hub.offer_player("p1")).sections if s.kind == "video"]
    assert rtp.TRANSPORT_CC not in numbers[0], "no number is free"


async def test_a_player_that_offers_without_an_estimate_is_counted_for(session: Session) -> None:
    streamer = await streamer_of(session)
    player = await session.peer()
    offer = player.offer(direction="recvonly", audio=False, feedback=NATIVE, extensions=("9 " + rtp.TRANSPORT_CC,))
    await player.connect(await session.hub.answer_player("p1", offer))
    await until(lambda: ("player_media", "p1") in session.events.events)
    await send(streamer, 10)
    await until(lambda: len(player.rtp) == 10)
    assert [number_of(player, packet) for packet in player.rtp] == list(range(10))
    assert player.kinds()["video"].extensions[rtp.TRANSPORT_CC] == 9


async def test_a_player_that_tells_too_much_is_not_listened_to_for_a_while(session: Session) -> None:
    await streamer_of(session)
    player = await session.player(feedback=NATIVE)
    # 4000 lost packets in a run of 12 octets: everything that one datagram holds is taken apart in one go.
    told = rtcp.transport_feedback(
        5, 1, (0).to_bytes(2, "big") + (4000).to_bytes(2, "big") + bytes(4) + b"\x0f\xa0\0\0"
    )
    await player.send_rtcp(told * 32)
    await until(lambda: session.hub.stats().counters.get("rtcp_limited"))
    assert session.hub.stats().counters["rtcp_limited"] == 32 - MAX_REPORTED_PER_SECOND // (FEEDBACK_PACKETS + 4000)
    assert "rtcp_malformed" not in session.hub.stats().counters
    assert session.hub.stats().players[0].connected
    egress = session.hub._players["p1"].egress
    assert egress is not None
    egress.measure(time.perf_counter())  # the next second
    await player.send_rtcp(rtcp.transport_feedback(5, 1, b"\0\1\0\x09"))
    await until(lambda: session.hub.stats().counters.get("rtcp_malformed") == 1, "it is read again")


async def test_empty_feedback_is_bounded_too(session: Session) -> None:
    await streamer_of(session)
    player = await session.player(feedback=NATIVE)
    empty = rtcp.transport_feedback(5, 1, bytes(8)) * 63

    async def limited() -> bool:
        await player.send_rtcp(empty)
        return session.hub.stats().counters.get("rtcp_limited", 0) > 0

    await until(limited, seconds=5)
    assert session.hub.stats().players[0].connected
