"""The voice call between the room's messages and the media plane."""

from __future__ import annotations

import logging
from typing import Protocol

from runtime.protocol import room as wire
from runtime.protocol.errors import ServiceError
from runtime.relay.core.room_effects import VoiceChanged
from runtime.relay.rtc.interface import BadDescriptionError, MediaError, UnknownPlayerError

logger = logging.getLogger(__name__)


class VoicePlane(Protocol):
    """The part of ``runtime.relay.rtc.voice.VoiceHub`` that signalling uses; see there for the contract."""

    def offer(self, participant_id: str) -> str: ...

    def answer(self, participant_id: str, text: str) -> None: ...

    def remove(self, participant_id: str) -> None: ...

    def set_muted(self, participant_id: str, muted: bool) -> None: ...


class VoiceOwner(Protocol):
    """What the session hears of the call."""

    def active(self, participant_id: str) -> None:
        """A person speaks."""

    def tell(self, participant_id: str, message: wire.ToClient) -> None: ...

    def tell_all(self, message: wire.ToClient) -> None: ...

    def voice_lost(self, participant_id: str) -> None:
        """A participant is no longer in the call."""


class VoiceDesk:
    """Implements ``VoiceEvents``. Until ``plane`` is set there is no call to join."""

    def __init__(self, owner: VoiceOwner) -> None:
        self._owner = owner
        self.plane: VoicePlane | None = None
        self._speaking: tuple[str, ...] = ()

    def changed(self, effect: VoiceChanged) -> None:
        """Follow what the room decided about one participant."""
        plane, participant_id, voice = self.plane, effect.participant_id, effect.voice
        if plane is None:
            return
        if not voice.joined:
            plane.remove(participant_id)
            return
        if effect.joins:
            try:
                offer = plane.offer(participant_id)
            except MediaError as error:
                logger.warning("no voice offer for %s: %s", participant_id, error)
                self._owner.voice_lost(participant_id)
                return
            self._owner.tell(participant_id, wire.VoiceOffer(sdp=offer))
        plane.set_muted(participant_id, voice.muted or voice.muted_by_owner)

    def answered(self, participant_id: str, answer: wire.VoiceAnswer) -> None:
        """Raise ``ServiceError`` for the page."""
        if self.plane is None:
            raise ServiceError("bad_message", "There is no call.")
        try:
            self.plane.answer(participant_id, answer.sdp)
        except UnknownPlayerError:
            raise ServiceError("bad_message", "No voice offer waits for this answer.") from None
        except BadDescriptionError as error:
            self._owner.voice_lost(participant_id)
            raise ServiceError("bad_message", f"The answer cannot be used: {error}.") from None

    def on_voice_speaking(self, participant_ids: tuple[str, ...]) -> None:
        for participant_id in participant_ids:
            self._owner.active(participant_id)
        if participant_ids != self._speaking:
            self._speaking = participant_ids
            self._owner.tell_all(wire.VoiceSpeaking(participants=participant_ids))

    def on_voice_closed(self, participant_id: str, why: str) -> None:
        logger.info("the voice connection of %s is gone: %s", participant_id, why)
        self._owner.voice_lost(participant_id)
