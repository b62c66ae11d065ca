"""Data channels through the hub: both ways, large, bounded."""

from __future__ import annotations

import asyncio

from aiortc import RTCDataChannel, RTCDataChannelParameters

from runtime.relay.rtc.hub import MAX_MESSAGE_BYTES
from tests.support.media_session import Session, SessionMaker
from tests.support.waiting import until


async def open_both(session: Session) -> tuple:  # type: ignore[type-arg]
    streamer, player = await session.streamer(), await session.player()
    await until(lambda: session.events.named("player_open") and session.events.named("streamer_open"))
    return streamer, player


async def test_messages_pass_both_ways(session: Session) -> None:
    streamer, player = await open_both(session)
    player.send_data(b"\x3c\x41\x00")
    streamer.send_data(b"\xff{}")
    await until(lambda: ("player_data", "p1", b"\x3c\x41\x00") in session.events.events)
    await until(lambda: ("streamer_data", b"\xff{}") in session.events.events)
    assert session.hub.send_to_player("p1", b"down")
    assert session.hub.send_to_streamer(b"up")
    await until(lambda: player.messages == [b"down"] and streamer.messages == [b"up"])


async def test_a_message_may_be_256_kib_and_no_more(session: Session) -> None:
    streamer, player = await open_both(session)
    largest = bytes(range(256)) * (MAX_MESSAGE_BYTES // 256)
    assert session.hub.send_to_player("p1", largest)
    assert not session.hub.send_to_player("p1", largest + b"x")
    streamer.send_data(largest)
    await until(lambda: player.messages == [largest])
    await until(lambda: session.events.named("streamer_data") == [("streamer_data", largest)])
    assert session.hub.stats().players[0].data_dropped == 1


async def test_text_messages_are_dropped(session: Session) -> None:
    _, player = await open_both(session)
    player.channel.send("text")
    player.send_data(b"binary")
    await until(lambda: session.events.named("player_data"))
    assert session.events.named("player_data") == [("player_data", "p1", b"binary")]


async def test_a_player_that_does_not_read_loses_messages_and_then_its_place(make_session: SessionMaker) -> None:
    session = await make_session(data_queue_bytes=500_000, data_stall_seconds=1.0)
    _, player = await open_both(session)
    other = await session.player("p2")
    await until(lambda: ("player_open", "p2") in session.events.events)
    player.ice.drop_incoming = lambda data: 20 <= data[0] < 64  # its DTLS records get lost, its ICE lives on
    sent = [session.hub.send_to_player("p1", bytes(100_000)) for _ in range(10)]
    assert not all(sent)
    assert sent[0]
    assert session.hub.stats().players[0].data_queued_bytes <= 500_000
    closed = await until(lambda: session.events.named("player_closed"))
    assert closed == [("player_closed", "p1", "it does not read its data channel")]
    assert session.hub.send_to_player("p2", b"unaffected")
    await until(lambda: other.messages == [b"unaffected"])


async def test_a_player_that_sends_without_end_is_cut_off(session: Session) -> None:
    """A message whose end never comes would be kept for ever."""
    _, player = await open_both(session)
    player.sctp._remote_max_message_size = 0
    player.channel.send(bytes(3 * 1024 * 1024))
    closed = await until(lambda: session.events.named("player_closed"), seconds=20)
    assert "more data" in str(closed[0][2])


async def test_channels_per_player_to_the_streamer(session: Session) -> None:
    """Pixel Streaming 1 without multiplexing: a pair of negotiated streams for each player."""
    streamer, _ = await open_both(session)
    down, up = session.hub.open_streamer_channel("p1")
    assert down != up
    ours = {
        number: RTCDataChannel(streamer.sctp, RTCDataChannelParameters(label="x", negotiated=True, id=number))
        for number in (down, up)
    }
    got: list[bytes] = []
    ours[up].on("message", got.append)
    ours[down].send(b"for p1")
    await until(lambda: ("streamer_player_data", "p1", b"for p1") in session.events.events)
    assert session.hub.send_to_streamer(b"from p1", "p1")
    assert session.hub.send_to_streamer(b"from p9, which has no channel", "p9")
    await until(lambda: got == [b"from p1"] and streamer.messages == [b"from p9, which has no channel"])
    session.hub.close_streamer_channel("p1")
    await asyncio.sleep(0)
    assert session.hub.send_to_streamer(b"shared again", "p1")
    await until(lambda: streamer.messages[-1] == b"shared again")
