"""A peer that sends a browser's packets with something wrong with them: it may lose its place, nobody else notices."""

from __future__ import annotations

import contextlib
import logging
import random

import pylibsrtp
import pytest

from tests.support.captured import PACKETS, sealed_sctp, spoiled
from tests.support.media_peer import VIDEO_PT, VIDEO_SSRC, VP8_DELTA
from tests.support.media_session import Session
from tests.support.waiting import until

SEED = 20_261_128
ROUNDS = 400


async def test_spoiled_packets_of_a_browser_harm_nobody_else(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(SEED)
    streamer = await session.streamer()
    bad, good = await session.player("bad"), await session.player("good")
    with caplog.at_level(logging.ERROR):
        for i in range(ROUNDS):
            # As they come, to be told apart, and refused, by the port.
            bad.ice.send(spoiled(dice.choice(PACKETS[dice.choice(sorted(PACKETS))]), dice))
            # Authentic: decrypted and read.
            for peer in (bad, streamer):
                with contextlib.suppress(pylibsrtp.Error):  # some of it no SRTP stack can be made to send
                    await peer.send_rtcp(spoiled(dice.choice(PACKETS["rtcp"]), dice))
            with contextlib.suppress(ConnectionError):
                data = spoiled(dice.choice(PACKETS["sctp"]), dice)
                await bad.dtls._send_data(sealed_sctp(data, bad.sctp._remote_verification_tag))
            media = bytearray(spoiled(dice.choice(PACKETS["rtp_vp8"]), dice))
            media[1:2] = bytes((media[1] & 0x80 | VIDEO_PT if len(media) > 1 else VIDEO_PT,))
            media[2:4] = (2000 + i).to_bytes(2, "big")
            media[8:12] = VIDEO_SSRC.to_bytes(4, "big")
            with contextlib.suppress(pylibsrtp.Error):
                await streamer.send_rtp(bytes(media))
        await streamer.send_rtp(streamer.packet(sequence=2000 + ROUNDS, timestamp=424_242, payload=VP8_DELTA))
        await until(lambda: any(packet[4:8] == (424_242).to_bytes(4, "big") for packet in good.rtp))
    assert not caplog.records
    counters = session.hub.stats().counters
    assert counters["rtcp_malformed"] > 50
    await until(lambda: good.channel is not None)
    good.send_data(b"\x06\x00\x00")
    await until(lambda: ("player_data", "good", b"\x06\x00\x00") in session.events.events)
