"""Addresses, consent, handshakes and faults of the media port, on real sockets."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from collections import Counter

import pytest

from runtime.relay.core import stun
from runtime.relay.rtc.aiortc_adapter import SecureTransport
from runtime.relay.rtc.egress import Egress
from runtime.relay.rtc.hub import BadDescriptionError, MediaHub, MediaNotReadyError, MediaSettings, UnknownPlayerError
from runtime.relay.rtc.ice import IcePeer
from runtime.relay.rtc.legs import PlayerLeg
from runtime.relay.rtc.output import Output
from runtime.relay.rtc.peer import Peer
from runtime.relay.rtc.srtp import SrtpPair
from tests.support.media_peer import send_frames
from tests.support.media_session import Recorder, Session, SessionMaker, filming
from tests.support.waiting import until


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


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
    await send_frames(streamer, 1)
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
    closed = await until(lambda: session.events.named("player_closed"), seconds=1)
    assert closed == [("player_closed", "p1", "DTLS closed")]
    assert session.hub.stats().players == ()


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
    # The stream runs all the while: a single packet to an unproven address would be seen.
    async with filming(lambda frame: send_frames(streamer, 1, start=frame)):
        await player.connect()
        player.ice.send = original  # type: ignore[method-assign]
        await until(lambda: victim.ice.probes > 0)
        # The victim does not answer; the player's own next check moves the stream back to it, after a probe.
        player.ice.check()
        await until(lambda: ("player_media", "p1") in session.events.events)
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
    await send_frames(streamer, 1)
    await until(lambda: player.rtp)
    assert not [data for data in elsewhere.ice.raw if 128 <= data[0] < 192]
    elsewhere.ice.answers_probes = True
    elsewhere.ice.check()
    address = elsewhere.ice.transport.get_extra_info("sockname")[1]  # type: ignore[union-attr]
    await until(lambda: str(address) in str(session.hub.stats().players[0].address))
    await send_frames(streamer, 1, start=1)
    await until(lambda: [data for data in elsewhere.ice.raw if 128 <= data[0] < 192])


async def test_a_peer_in_the_wrong_ice_role_is_told(session: Session) -> None:
    await session.streamer()
    player = await session.peer()
    player.know(await session.hub.offer_player("p1"))
    player.ice.check(controlled=True)
    error = (await until(lambda: player.ice.errors))[0]
    assert stun.parse(error).authentic(player.ice.remote_pwd.encode())
    assert struct.pack("!HBB", 0, 4, 87) in error


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
        await send_frames(streamer, 1, start=i)
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
