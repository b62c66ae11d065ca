"""The call under real SRTP: what one participant sends cannot make the others unheard."""

from __future__ import annotations

import itertools

from runtime.relay.rtc.voice import OPUS, VoiceHub
from tests.support.media_peer import RawPeer, sequence_of
from tests.support.media_session import Session
from tests.support.waiting import until


class Events:
    def on_voice_speaking(self, participant_ids: tuple[str, ...]) -> None:
        pass

    def on_voice_closed(self, participant_id: str, why: str) -> None:
        pass


async def caller(session: Session, voice: VoiceHub, name: str) -> RawPeer:
    peer = await session.peer()
    offer = voice.offer(name)
    peer.know(offer)
    voice.answer(name, peer.answer(offer))
    await peer.connect()
    await until(lambda: voice._legs[name].can_receive, f"{name} is in the call")
    return peer


async def heard(listener: RawPeer, speaker: RawPeer, ssrc: int, first: int) -> None:
    """Speak under these numbers until it arrives; the first packets may be taken for a click."""
    count, numbers = len(listener.rtp), itertools.count(first)

    async def speak() -> bool:
        packet = speaker.packet(ssrc=ssrc, pt=OPUS.pt, sequence=next(numbers) & 0xFFFF, payload=b"speech")
        await speaker.send_rtp(packet)
        return len(listener.rtp) > count

    await until(speak, f"what {ssrc} says from {first} on", seconds=5)


async def test_a_speaker_that_counts_anyhow_is_no_harm_to_later_speakers(session: Session) -> None:
    voice = session.hub.open_voice(Events())
    try:
        eve, ben = await caller(session, voice, "eve"), await caller(session, voice, "ben")
        for ssrc, first in ((1, 100), (2, 30_000), (3, 8000), (4, 60_000), (5, 8000)):
            await heard(ben, eve, ssrc, first)
        voice.remove("eve")
        anna = await caller(session, voice, "anna")
        await heard(ben, anna, 1, 20_000)
    finally:
        await voice.close()
    assert not session.hub.stats().counters.get("protect_failed")
    numbers = [sequence_of(packet) for packet in ben.rtp]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
