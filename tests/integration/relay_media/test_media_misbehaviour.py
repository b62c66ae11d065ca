"""Strangers and peers that send what they should not: dropped, counted, at worst cut off, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import struct

import pylibsrtp
import pytest
from google_crc32c import value as crc32c

from runtime.relay.core import rtcp
from runtime.relay.rtc import aiortc_adapter, srtp
from runtime.relay.rtc.aiortc_adapter import MAX_INBOUND_STREAMS
from tests.support.media_peer import VIDEO_SSRC, VP8_DELTA, RawPeer, send_frames
from tests.support.media_session import Session
from tests.support.waiting import until


def _sctp(player: RawPeer, kind: int, body: bytes) -> bytes:
    """One chunk with a right checksum and tag."""
    chunk = struct.pack("!BBH", kind, 0, 4 + len(body)) + body + bytes(-len(body) % 4)
    tag = player.sctp._remote_verification_tag if kind != 1 else 0
    head = struct.pack("!HHI", 5000, 5000, tag)
    checksum = struct.pack("<I", crc32c(head + bytes(4) + chunk))
    return head + checksum + chunk


async def test_strangers_get_silence(session: Session) -> None:
    streamer = await session.streamer()
    stranger = await session.peer("127.0.0.9")
    stranger.know(await session.hub.offer_player("p1"))
    ufrag, pwd = stranger.ice.remote_ufrag, stranger.ice.remote_pwd
    stranger.ice.remote_pwd = "x" * 32
    stranger.ice.check()
    stranger.ice.remote_ufrag, stranger.ice.remote_pwd = "nobody", pwd
    stranger.ice.check()
    stranger.ice.remote_ufrag = ufrag
    for garbage in (b"", b"\0", b"\x80" * 1500, b"\x16" * 100, os.urandom(3000), b"\0\1" + bytes(50)):
        stranger.ice.send(garbage)
    await until(lambda: session.hub.stats().counters.get("unknown_source", 0) >= 2)
    counters = session.hub.stats().counters
    assert counters["stun_refused"] == 1
    assert counters["stun_unknown_ufrag"] == 1
    assert not stranger.ice.raw
    await send_frames(streamer, 1)
    await until(lambda: session.events.named("streamer_media"))


async def test_garbage_from_known_peers_is_dropped_and_counted(session: Session) -> None:
    """Whatever authenticated peers send, the others' stream goes on and the log stays empty of errors."""
    streamer = await session.streamer()
    bad, good = await session.player("bad"), await session.player("good")
    dice = random.Random(7)
    for _ in range(300):
        first = dice.choice((0, 1, 20, 22, 23, 25, 63, 64, 127, 128, 144, 191, 200))
        bad.ice.send(bytes([first]) + dice.randbytes(dice.randrange(0, 200)))
    for _ in range(300):
        body = dice.randbytes(4 * dice.randrange(1, 30))
        kind = dice.choice((192, 200, 201, 202, 203, 204, 205, 206, 207, 223))
        size = dice.choice((len(body) // 4, dice.randrange(0, 400)))
        await bad.send_rtcp(struct.pack("!BBHI", 0x80 | dice.randrange(32), kind, size, 5) + body)
        await streamer.send_rtcp(struct.pack("!BBHI", 0x80 | dice.randrange(32), kind, size, VIDEO_SSRC) + body)
    for i in range(300):
        packet = bytearray(streamer.packet(timestamp=i, payload=dice.randbytes(dice.randrange(0, 60))))
        packet[0] = 0x80 | dice.randrange(64)
        with contextlib.suppress(pylibsrtp.Error):  # some of it no SRTP stack can be made to send
            await streamer.send_rtp(bytes(packet))
    await streamer.send_rtp(streamer.packet(timestamp=424_242, payload=VP8_DELTA))
    await until(lambda: any(p[4:8] == struct.pack("!I", 424_242) for p in good.rtp))
    counters = session.hub.stats().counters
    assert counters["rtcp_malformed"] > 100
    assert session.hub.stats().players[1].connected


async def test_a_peer_with_endless_sources_is_cut_off(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player()
    for ssrc in range(100):
        await player.send_rtcp(rtcp.receiver_report(ssrc, []))
    await until(lambda: session.hub.stats().counters.get("rtcp_unprotect_failed", 0) >= 60)
    assert len(session.hub._players["p1"].peer.srtp._ssrcs) <= srtp.MAX_SSRCS
    await send_frames(streamer, 1)
    await until(lambda: player.rtp)


async def test_bad_sctp_is_counted_and_the_channel_lives_on(session: Session) -> None:
    await session.streamer()
    player = await session.player()
    await until(lambda: player.channel is not None and session.events.named("player_open"))
    dice = random.Random(11)
    for _ in range(200):
        await player.dtls._send_data(dice.randbytes(dice.randrange(1, 100)))
    for kind in (0, 1, 2, 3, 4, 6, 130, 192):
        if kind != 6:  # an abort is a legal way to end the association
            await player.dtls._send_data(_sctp(player, kind, dice.randbytes(dice.randrange(0, 40))))
    player.send_data(b"still here")
    await until(lambda: ("player_data", "p1", b"still here") in session.events.events)
    assert session.hub.stats().counters["sctp_malformed"] >= 200


@pytest.mark.parametrize("kind", [1, 2, 4, 5, 9, 130])
async def test_a_parameter_without_length_does_not_hold_the_relay(session: Session, kind: int) -> None:
    """It is no shorter than its own header of four bytes, or a reader that steps by it never arrives."""
    await session.streamer()
    player = await session.player()
    await until(lambda: player.channel is not None and session.events.named("player_open"))
    fixed = bytes(16) if kind in (1, 2) else b""
    for length in (0, 3):
        await player.dtls._send_data(_sctp(player, kind, fixed + struct.pack("!HH", 7, length) + bytes(4)))
    player.send_data(b"still here")
    await until(lambda: ("player_data", "p1", b"still here") in session.events.events)
    assert session.hub.stats().counters["sctp_malformed"] == 2


async def test_skipped_messages_open_no_endless_streams(session: Session) -> None:
    """FORWARD TSN names streams, each of which would be remembered for good."""
    await session.streamer()
    player = await session.player()
    await until(lambda: player.channel is not None and session.events.named("player_open"))
    sctp = session.hub._players["p1"].peer.secure.sctp
    for batch in range(20):
        tsn = (sctp._last_received_tsn or 0) + 1
        streams = b"".join(struct.pack("!HH", 250 * batch + i, 0) for i in range(250))
        await player.dtls._send_data(_sctp(player, 192, struct.pack("!I", (tsn + batch) & 0xFFFFFFFF) + streams))
    await until(lambda: session.hub.stats().counters.get("sctp_malformed", 0) > 0)
    assert len(sctp._inbound_streams) <= MAX_INBOUND_STREAMS


async def test_data_that_costs_too_much_to_put_in_order_ends_that_player_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many chunks to a packet, each with a gap before it: everything that waits is looked at for each of them."""
    # A machine that does many other things would take more than a second for the real allowance.
    monkeypatch.setattr(aiortc_adapter, "MAX_WORK_PER_SECOND", 30_000)
    streamer = await session.streamer()
    bad, good = await session.player("bad"), await session.player("good")
    await until(lambda: bad.channel is not None and good.channel is not None)
    sctp = session.hub._players["bad"].peer.secure.sctp
    tsn = (sctp._last_received_tsn or 0) + 2
    head = struct.pack("!HHI", 5000, 5000, bad.sctp._remote_verification_tag)
    for _ in range(100):
        chunks = b""
        for _ in range(55):
            chunks += struct.pack("!BBHIHHI", 0, 3, 17, tsn & 0xFFFFFFFF, 1, 0, 53) + b"x\0\0\0"
            tsn += 2
        checksum = struct.pack("<I", crc32c(head + bytes(4) + chunks))
        with contextlib.suppress(ConnectionError):
            await bad.dtls._send_data(head + checksum + chunks)
        await asyncio.sleep(0)
    await until(lambda: session.events.named("player_closed"), seconds=10)
    assert session.events.named("player_closed") == [
        ("player_closed", "bad", "the peer's data costs too much to put in order")
    ]
    await send_frames(streamer, 1)
    await until(lambda: good.rtp)


async def test_a_player_that_asks_for_everything_again_loses_its_place(session: Session) -> None:
    streamer = await session.streamer()
    bad, good = await session.player("bad"), await session.player("good")
    media = bad.kinds()["video"].ssrcs[0]
    request = b"".join(rtcp.nack(5, media, range(500 * i, 500 * (i + 1))) for i in range(8))
    for _ in range(30):
        with contextlib.suppress(ConnectionError):
            await bad.send_rtcp(request)
    await until(lambda: session.events.named("player_closed"))
    assert {event[1] for event in session.events.named("player_closed")} == {"bad"}
    await send_frames(streamer, 1)
    await until(lambda: good.rtp)
