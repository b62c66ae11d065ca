"""The real relay and the sample title under a real session server; only the coordinator is played."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import psutil
import pytest
from tornado.websocket import websocket_connect

from runtime.chassis.clock import SystemClock
from runtime.chassis.tokens import TokenSigner, new_signing_key
from runtime.protocol.control import SessionStatistics
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, Role
from runtime.session_server.files import SAMPLE_TITLE
from tests.support.media_peer import RawPeer, sequence_of
from tests.support.session_server.coordinator import FakeCoordinator
from tests.support.session_server.host import HostUnderTest
from tests.support.waiting import until


@pytest.fixture
async def real_host(idle_host: HostUnderTest) -> HostUnderTest:
    del idle_host.settings["relay"]["command"]
    await idle_host.start()
    return idle_host


async def test_sample_title_streams_and_ends(real_host: HostUnderTest, coordinator: FakeCoordinator) -> None:
    session = await real_host.begin("--size", "640x360", "--fps", "15", executable=SAMPLE_TITLE)
    ready = await real_host.until_told(session, "ready", 40)
    assert len(ready.steps) == 4

    async def flows() -> bool:
        told = (await real_host.call("GET", f"/control/v1/sessions/{session}/statistics")).as_(SessionStatistics)
        return told.stream is not None and told.stream.fps > 0 and told.players == ()

    await until(flows, "the stream in the statistics", 30)
    await real_host.call("DELETE", f"/control/v1/sessions/{session}?reason=owner_ended")
    ended = await real_host.until_told(session, "ended")
    assert (ended.reason, ended.exit_code) == (EndReason.OWNER_ENDED, 0)
    assert real_host.marked(session) == []
    with pytest.raises(ServiceError) as over:
        await real_host.call("GET", f"/control/v1/sessions/{session}/statistics")
    assert over.value.code == "session_ended"


async def test_sample_title_finds_a_relay_that_was_started_again(real_host: HostUnderTest) -> None:
    session = await real_host.begin("--size", "640x360", "--fps", "15", executable=SAMPLE_TITLE)
    await real_host.until_told(session, "ready", 40)
    title = real_host.child(session, "title").pid
    psutil.Process(real_host.child(session, "relay").pid).kill()
    second = real_host.data / "sessions" / session / "relay-2"
    await until((second / "ready.json").exists, "second relay")

    async def live() -> bool:
        return (await real_host.relay_status(session))["streamer"] == "live"

    await until(live, "the title to stream through the second relay", 30)
    assert psutil.Process(title).is_running()
    assert (await real_host.report(session)).state == "ready"


async def test_misbehaving_title_ends_with_its_reason(real_host: HostUnderTest) -> None:
    session = await real_host.begin(
        "--size", "640x360", "--fps", "15", "--crash-after", "3", "--spawn-child", executable=SAMPLE_TITLE
    )
    over = await real_host.until_told(session, "failed", 40)
    assert (over.reason, over.exit_code) == (EndReason.APP_CRASHED, 70)
    assert real_host.marked(session) == []


@asynccontextmanager
async def viewer(address: str) -> AsyncIterator[RawPeer]:
    """A viewer that keeps every packet it gets, and asks for none again."""
    socket = await websocket_connect(address)
    peer = RawPeer()
    await peer.open()
    try:
        while (text := await socket.read_message()) is not None:
            body = json.loads(text)
            if body["type"] == "config":
                await socket.write_message(json.dumps({"type": "listStreamers"}))
            elif body["type"] == "streamerList" and body["ids"]:
                await socket.write_message(json.dumps({"type": "subscribe", "streamerId": body["ids"][0]}))
            elif body["type"] == "offer":
                answer = peer.answer(body["sdp"])
                await socket.write_message(json.dumps({"type": "answer", "sdp": answer}))
                await peer.connect(body["sdp"])
                break
        yield peer
    finally:
        await peer.close()
        socket.close()
        while await socket.read_message() is not None:
            continue  # until the relay has closed it too


def video_of(peer: RawPeer) -> list[int]:
    """Sequence numbers of the video packets, in the order of their arrival."""
    video = peer.kinds()["video"]
    return [sequence_of(packet) for packet in list(peer.rtp) if (packet[1] & 0x7F) in video.codecs]


async def test_no_packet_is_lost_while_the_session_server_dies_and_is_replaced(real_host: HostUnderTest) -> None:
    """And with no packet no frame: media does not pass through the session server, and adoption touches nothing."""
    signer = TokenSigner(new_signing_key(), SystemClock())
    start = replace(
        real_host.request("--size", "640x360", "--fps", "15", executable=SAMPLE_TITLE),
        token_public_key=signer.public_key_pem,
    )
    session = start.session_id
    await real_host.call("PUT", f"/control/v1/sessions/{session}", start)
    ready = await real_host.until_told(session, "ready", 40)
    token, _ = signer.sign(session, "p" * 16, Role.OWNER, "Anna", valid_seconds=600)
    async with viewer(f"ws://127.0.0.1:{ready.port}/player?token={token}") as peer:
        await until(lambda: len(video_of(peer)) > 30, "the stream")
        await real_host.stop(signal.SIGKILL)
        away = len(video_of(peer))
        await until(lambda: len(video_of(peer)) > away + 30, "the stream goes on without a session server")
        await real_host.start()
        await real_host.until_told(session, "streaming")
        back = len(video_of(peer))
        await until(lambda: len(video_of(peer)) > back + 30, "the stream goes on with the next one")
        seen = video_of(peer)
    assert seen == [(seen[0] + count) % 65536 for count in range(len(seen))]
