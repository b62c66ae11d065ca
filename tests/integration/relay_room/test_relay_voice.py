"""Voice between participants through a real relay process, with aiortc as the pages' WebRTC."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import math
from array import array
from pathlib import Path
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from av import AudioFrame

from runtime.protocol.states import Role
from tests.integration.relay_room.relay_harness import RelayProcess, Socket, person, running_relay
from tests.support.waiting import until

RATE = 48_000


class Microphone(AudioStreamTrack):
    """A tone that can be switched off."""

    def __init__(self, hertz: float) -> None:
        super().__init__()
        self.is_on = True
        self._hertz = hertz
        self._at = 0

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(0.02)
        level = 8000 if self.is_on else 0
        step = 2 * math.pi * self._hertz / RATE
        samples = array("h", (int(level * math.sin(step * (self._at + i))) for i in range(960)))
        frame = AudioFrame(format="s16", layout="mono", samples=960)
        frame.planes[0].update(samples.tobytes())
        frame.pts, frame.sample_rate, frame.time_base = self._at, RATE, fractions.Fraction(1, RATE)
        self._at += 960
        return frame


class Caller:
    """A page in the call."""

    def __init__(self, page: Socket, hertz: float) -> None:
        self.page = page
        self.microphone = Microphone(hertz)
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.sounding = 0  # frames that were not silent
        self._tasks: list[asyncio.Task[None]] = []
        self.peer.addTrack(self.microphone)
        self.peer.on("track", lambda track: self._tasks.append(asyncio.create_task(self._listen(track))))

    async def join(self) -> None:
        count = len(self.page.all("voice.offer"))
        await self.page.say("voice.join")
        offer = await self.page.hear("voice.offer", count + 1)
        await self.peer.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        await self.page.say("voice.answer", sdp=self.peer.localDescription.sdp)
        await until(lambda: self.peer.connectionState == "connected", "the call is connected")

    async def _listen(self, track: Any) -> None:
        with contextlib.suppress(Exception):
            while True:
                frame = await track.recv()
                samples = array("h", bytes(frame.planes[0]))
                self.sounding += int(max(map(abs, samples)) > 1000)

    async def hears(self) -> None:
        before = self.sounding
        await until(lambda: self.sounding > before + 5, "sound of somebody else")

    async def hears_nothing(self) -> None:
        await asyncio.sleep(0.5)  # what was under way
        before = self.sounding
        await asyncio.sleep(1.0)
        assert self.sounding == before

    async def end(self) -> None:
        await self.peer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def caller(relay: RelayProcess, name: str, role: Role, hertz: float) -> Caller:
    found = Caller(await relay.room(name, role), hertz)
    await found.join()
    return found


async def test_participants_hear_each_other_and_the_owner_can_mute(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay, contextlib.AsyncExitStack() as stack:
        anna = await caller(relay, "anna", Role.OWNER, 440)
        stack.push_async_callback(anna.end)
        anna.microphone.is_on = False
        ben = await caller(relay, "ben", Role.WATCHER, 880)
        stack.push_async_callback(ben.end)
        await anna.hears()
        assert person("ben") in (await anna.page.hear("voice.speaking"))["participants"]
        await ben.hears_nothing()

        await anna.page.say("mute", participant=person("ben"), muted=True)
        await until(lambda: anna.page.all("voice.speaking")[-1]["participants"] == [], "ben is not heard")
        await anna.hears_nothing()
        await anna.page.say("mute", participant=person("ben"), muted=False)
        await anna.hears()

        anna.microphone.is_on = True
        cleo = await caller(relay, "cleo", Role.WATCHER, 660)
        stack.push_async_callback(cleo.end)
        await cleo.hears()
        await ben.page.say("voice.leave")
        await until(
            lambda: any(
                p["participant"]["id"] == person("ben") and not p["participant"]["voice"]["joined"]
                for p in anna.page.all("participant.updated")[-3:]
            ),
            "ben left the call",
        )
        await until(lambda: ben.peer.connectionState in ("closed", "failed"), "ben's connection is closed")


async def test_a_call_can_be_joined_anew_and_bad_answers_end_it(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay, contextlib.AsyncExitStack() as stack:
        anna = await caller(relay, "anna", Role.OWNER, 440)
        stack.push_async_callback(anna.end)
        again = Caller(anna.page, 550)
        stack.push_async_callback(again.end)
        await again.join()
        ben = await relay.room("ben")
        await ben.say("voice.answer", sdp="v=0")
        assert (await ben.hear("error"))["about"] == "voice.answer"
        await ben.say("voice.join")
        await ben.hear("voice.offer")
        await ben.say("voice.answer", sdp="v=0\r\nm=audio 9 x 0\r\n")
        await ben.hear("error", 2)
        await until(lambda: not ben.all("participant.updated")[-1]["participant"]["voice"]["joined"], "out of the call")


async def test_speech_keeps_a_session_alive(tmp_path: Path) -> None:
    policy = {"idle_seconds": 1.5, "idle_warning_seconds": 1.0}
    async with running_relay(tmp_path, policy=policy) as relay, contextlib.AsyncExitStack() as stack:
        await relay.streamer()
        anna = await caller(relay, "anna", Role.OWNER, 440)
        stack.push_async_callback(anna.end)
        await anna.page.hear("stream")
        await asyncio.sleep(4)  # longer than idle time and countdown together
        assert anna.page.all("ended") == []
        anna.microphone.is_on = False
        assert (await anna.page.hear("ended"))["reason"] == "idle"


async def test_a_title_without_voice_says_so(tmp_path: Path) -> None:
    async with running_relay(tmp_path, policy={"voice": False}) as relay:
        anna = await relay.room("anna", Role.OWNER)
        await anna.say("voice.join")
        assert (await anna.hear("error"))["code"] == "forbidden"
