"""Addresses, consent, handshakes and faults of the media port, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import socket
import struct
from collections import Counter

import pylibsrtp
import pytest
from google_crc32c import value as crc32c

from runtime.relay.core import rtcp, stun
from runtime.relay.rtc import aiortc_adapter
from runtime.relay.rtc.aiortc_adapter import MAX_INBOUND_STREAMS, SecureTransport, SrtpPair
from runtime.relay.rtc.egress import Egress
from runtime.relay.rtc.hub import BadDescriptionError, MediaHub, MediaNotReadyError, MediaSettings, UnknownPlayerError
from runtime.relay.rtc.ice import IcePeer
from runtime.relay.rtc.legs import PlayerLeg
from runtime.relay.rtc.output import Output
from runtime.relay.rtc.peer import Peer
from tests.support.media_peer import VIDEO_SSRC, VP8_DELTA, RawPeer, until
from tests.support.media_session import Recorder, Session, SessionMaker


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


async def send_frame(streamer: RawPeer, timestamp: int = 0) -> None:
    await streamer.send_rtp(streamer.packet(timestamp=timestamp, payload=VP8_DELTA))


async def test_a_taken_port_is_an_oserror_and_leaves_nothing_bound(make_session: SessionMaker) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.2", 0))
        number = taken.getsockname()[1]
        hub = MediaHub(MediaSettings(addresses=("127.0.0.1", "127.0.0.2"), port=number), Recorder())
        with pytest.raises(OSError, match=r".+"):
            await hub.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", number))
        await hub.close()


async def test_every_address_has_the_same_number_and_answers_from_itself(make_session: SessionMaker) -> None:
    addresses = ("127.0.0.1", "127.0.0.2", *(("::1",) if has_ipv6() else ()))
    session = await make_session(addresses=addresses)
    streamer = await session.streamer()
    offer = await session.hub.offer_player("p0")
    candidates = [line.split() for line in offer.split("\r\n") if line.startswith("a=candidate")]
    assert {(c[4], int(c[5])) for c in candidates} == {(a, session.hub.port) for a in addresses}
    players = [await session.player(f"p{i}", host="::1" if ":" in a else a) for i, a in enumerate(addresses)]
    await send_frame(streamer)
    for player in players:
        await until(lambda p=player: p.rtp)  # type: ignore[misc]


async def test_announced_addresses_are_for_players_only(make_session: SessionMaker) -> None:
    session = await make_session(announced_addresses=("203.0.113.7",), announced_port=4000)
    streamer = await session.peer()
    answer = await session.hub.answer_streamer(streamer.offer())
    assert f"127.0.0.1 {session.hub.port} typ host" in answer
    assert "203.0.113.7" not in answer
    offer = await session.hub.offer_player("p1")
    assert " 203.0.113.7 4000 typ host" in offer
    assert "127.0.0.1 " not in offer.replace("o=- 1 1 IN IP4 127.0.0.1", "")


async def test_a_wildcard_is_told_to_players_without_loopback_unless_there_is_nothing_else(
    make_session: SessionMaker,
) -> None:
    session = await make_session(addresses=("0.0.0.0",))
    streamer = await session.peer()
    assert " 127.0.0.1 " in await session.hub.answer_streamer(streamer.offer())
    offer = await session.hub.offer_player("p1")
    hosts = {line.split()[4] for line in offer.split("\r\n") if line.startswith("a=candidate")}
    assert "0.0.0.0" not in hosts
    assert hosts == {"127.0.0.1"} or "127.0.0.1" not in hosts


async def test_nothing_can_be_offered_before_the_streamer_described_its_media(session: Session) -> None:
    with pytest.raises(MediaNotReadyError):
        await session.hub.offer_player("p1")
    with pytest.raises(UnknownPlayerError):
        await session.hub.accept_player_answer("p1", "")
    with pytest.raises(BadDescriptionError):
        await session.hub.answer_streamer("nonsense")
    with pytest.raises(MediaNotReadyError):
        await session.hub.accept_streamer_answer("")
    assert not session.hub.send_to_player("p1", b"x")
    assert not session.hub.send_to_streamer(b"x")
    session.hub.remove_player("p1")
    session.hub.request_keyframe("nobody")


async def test_a_streamer_that_is_offered_to(session: Session) -> None:
    """Unreal 4.27: the relay makes the offer."""
    streamer = await session.peer()
    offer = await session.hub.offer_streamer()
    with pytest.raises(MediaNotReadyError):
        await session.hub.offer_player("p1")
    answer = streamer.answer(offer).replace("a=recvonly", "a=sendonly")
    streamer.know(offer)
    await session.hub.accept_streamer_answer(answer)
    await streamer.connect()
    assert streamer.remote is not None
    codec = streamer.kinds()["video"].ordered_codecs()[0]
    player = await session.player()
    assert player.kinds()["video"].ordered_codecs()[0].name == codec.name == "H264"
    await streamer.send_rtp(streamer.packet(pt=codec.pt, payload=b"\x65" + b"x" * 50))
    await until(lambda: player.rtp)


async def test_a_wrong_fingerprint_ends_that_player_alone(session: Session) -> None:
    await session.streamer()
    good = await session.player("good")
    bad = await session.peer()
    offer = await session.hub.offer_player("bad")
    bad.know(offer)
    digest = next(f for f in bad.certificate.getFingerprints() if f.algorithm == "sha-256").value
    forged = digest[:-2] + ("00" if digest[-2:] != "00" else "11")
    await session.hub.accept_player_answer("bad", bad.answer(offer).replace(digest, forged))
    await bad.connect()  # the relay notices only after the handshake
    closed = await until(lambda: session.events.named("player_closed"))
    assert closed[0][1] == "bad"
    assert "fingerprint" in str(closed[0][2])
    assert good.dtls.state == "connected"


async def test_a_vanished_player_loses_its_place_when_consent_expires(make_session: SessionMaker) -> None:
    session = await make_session(consent_seconds=1.5)
    await session.streamer()
    player = await session.player()
    stays = await session.player("p2")
    player.vanish()
    closed = await until(lambda: session.events.named("player_closed"))
    assert closed == [("player_closed", "p1", "consent expired: the peer stopped answering")]
    assert [p.player_id for p in session.hub.stats().players] == ["p2"]
    assert stays.dtls.state == "connected"


async def test_a_goodbye_is_noticed_at_once(session: Session) -> None:
    await session.streamer()
    player = await session.player()
    await player.close()
    await until(lambda: ("player_closed", "p1", "DTLS closed") in session.events.events, seconds=1)


async def test_removed_players_are_told_and_not_reported(session: Session) -> None:
    await session.streamer()
    player = await session.player()
    session.hub.remove_player("p1")
    await until(lambda: player.dtls.state == "closed", seconds=2)
    assert not session.events.named("player_closed")


async def test_our_lost_handshake_flight_is_repeated_when_the_peer_repeats_its_own(session: Session) -> None:
    """OpenSSL alone would wait a second. The double's side repeats its hello as browsers do, after 50 ms."""
    await session.streamer()
    player = await session.peer()
    offer = await session.hub.offer_player("p1")
    player.know(offer)
    await session.hub.accept_player_answer("p1", player.answer(offer))
    dropped: list[bytes] = []

    def drop_the_first_flight(data: bytes) -> bool:
        if data[0] == 22 and len(dropped) < 1:
            dropped.append(data)
            return True
        return False

    player.ice.drop_incoming = drop_the_first_flight
    hellos: list[bytes] = []
    send = player.ice.send

    def record(data: bytes) -> None:
        if data[0] == 22 and not hellos:
            hellos.append(data)
        send(data)

    player.ice.send = record  # type: ignore[method-assign]

    async def repeat_hello() -> None:
        await until(lambda: dropped)
        await asyncio.sleep(0.05)
        data = bytearray(hellos[0])
        data[10] += 40  # the record's number, not one that the next flight will use
        send(bytes(data))

    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(player.connect(), repeat_hello())
    assert dropped
    assert loop.time() - began < 0.9, "the flight came back only after OpenSSL's own timer"


async def test_media_waits_until_the_first_address_has_proven_to_receive(session: Session) -> None:
    """A handshake over one address and a forged nomination of another must not send media to the other."""
    streamer = await session.streamer()
    player = await session.peer()
    victim = await session.peer("127.0.0.3")
    victim.ice.answers_probes = False
    offer = await session.hub.offer_player("p1")
    player.know(offer)
    await session.hub.accept_player_answer("p1", player.answer(offer))
    # The player knows the password, so it could forge this check from the victim's address.
    victim.know(offer)
    victim.ice.ufrag, victim.ice.pwd = player.ice.ufrag, player.ice.pwd

    original = player.ice.send

    def nominate_the_victim_before_the_last_flight(data: bytes) -> None:
        if data[0] == 22 and data[13] != 1:  # anything after ClientHello
            victim.ice.check()
        original(data)

    player.ice.send = nominate_the_victim_before_the_last_flight  # type: ignore[method-assign]
    await player.connect()
    player.ice.send = original  # type: ignore[method-assign]
    await until(lambda: victim.ice.probes > 0)
    for i in range(20):
        await send_frame(streamer, i * 3000)
    # The victim does not answer; the player's own next check moves the stream back to it, after a probe.
    player.ice.check()
    await until(lambda: ("player_media", "p1") in session.events.events)
    await send_frame(streamer, 99_000)
    await until(lambda: player.rtp)
    assert not [data for data in victim.ice.raw if 128 <= data[0] < 192]


async def test_a_move_is_probed_and_then_followed(session: Session) -> None:
    streamer = await session.streamer()
    player = await session.player()
    elsewhere = await session.peer()
    elsewhere.ice.answers_probes = False
    assert player.remote is not None
    elsewhere.ice.ufrag, elsewhere.ice.pwd = player.ice.ufrag, player.ice.pwd
    elsewhere.ice.remote_ufrag, elsewhere.ice.remote_pwd = player.remote.ufrag, player.remote.pwd
    elsewhere.ice.remote = player.ice.remote
    player.ice.stop_checking()
    elsewhere.ice.check()
    await until(lambda: elsewhere.ice.probes >= 2)
    await send_frame(streamer)
    await until(lambda: player.rtp)
    assert not [data for data in elsewhere.ice.raw if 128 <= data[0] < 192]
    elsewhere.ice.answers_probes = True
    elsewhere.ice.check()
    address = elsewhere.ice.transport.get_extra_info("sockname")[1]  # type: ignore[union-attr]
    await until(lambda: str(address) in str(session.hub.stats().players[0].address))
    await send_frame(streamer, 3000)
    await until(lambda: [data for data in elsewhere.ice.raw if 128 <= data[0] < 192])


async def test_a_peer_in_the_wrong_ice_role_is_told(session: Session) -> None:
    await session.streamer()
    player = await session.peer()
    player.know(await session.hub.offer_player("p1"))
    player.ice.check(controlled=True)
    error = (await until(lambda: player.ice.errors))[0]
    assert stun.parse(error).authentic(player.ice.remote_pwd.encode())
    assert struct.pack("!HBB", 0, 4, 87) in error


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
    await send_frame(streamer)
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
    await send_frame(streamer, 424_242)
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
    await send_frame(streamer)
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
    leg = session.hub._players["p1"]
    assert leg.peer.secure.malformed == 2


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
    await until(lambda: session.hub._players["p1"].peer.secure.malformed > 0)
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
    await until(lambda: session.events.named("player_closed"), 10)
    assert session.events.named("player_closed") == [
        ("player_closed", "bad", "the peer's data costs too much to put in order")
    ]
    await send_frame(streamer)
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
    await send_frame(streamer)
    await until(lambda: good.rtp)


def _sctp(player: RawPeer, kind: int, body: bytes) -> bytes:
    """One chunk with a right checksum and tag."""
    chunk = struct.pack("!BBH", kind, 0, 4 + len(body)) + body + bytes(-len(body) % 4)
    tag = player.sctp._remote_verification_tag if kind != 1 else 0
    head = struct.pack("!HHI", 5000, 5000, tag)
    checksum = struct.pack("<I", crc32c(head + bytes(4) + chunk))
    return head + checksum + chunk


async def test_close_is_quick_says_goodbye_and_is_idempotent(make_session: SessionMaker) -> None:
    session = await make_session()
    streamer, player = await session.streamer(), await session.player()
    number = session.hub.port
    await session.hub.close()
    await session.hub.close()
    await until(lambda: streamer.dtls.state == player.dtls.state == "closed", seconds=2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", number))
    assert not session.events.named("player_closed")
    assert not session.events.named("streamer_closed")


async def test_players_that_left_leave_nothing_behind(session: Session) -> None:
    """Whether they said goodbye, were removed, never answered or never finished their handshake."""
    streamer = await session.streamer()

    def alive() -> Counter[str]:
        gc.collect()
        kinds = (Peer, IcePeer, PlayerLeg, Egress, Output, SecureTransport, SrtpPair)
        return Counter(type(o).__name__ for o in gc.get_objects() if type(o) in kinds)

    before = alive()
    for i in range(5):
        left, removed = await session.player(f"left{i}"), await session.player(f"removed{i}")
        await session.hub.offer_player(f"silent{i}")
        halfway = await session.peer()
        offer = await session.hub.offer_player(f"halfway{i}")
        halfway.know(offer)
        await session.hub.accept_player_answer(f"halfway{i}", halfway.answer(offer))
        halfway.ice.check()
        await asyncio.wait_for(halfway.ice.connected.wait(), 5)
        await send_frame(streamer, i)
        await left.close()
        session.hub.remove_player(f"removed{i}")
        session.hub.remove_player(f"silent{i}")
        session.hub.remove_player(f"halfway{i}")
        await until(lambda n=i: len(session.events.named("player_closed")) == n + 1)  # type: ignore[misc]
        await removed.close()
    for peer in session.peers[1:]:
        await peer.close()
    del left, removed, halfway, peer
    session.peers = session.peers[:1]
    await until(lambda: alive() == before, what=f"{alive() - before} are left")
    bound = session.hub._port.sockets[0]
    assert len(bound.peers) == 1
    assert len(session.hub._port._by_ufrag) == 1
    assert session.hub.stats().players == ()
