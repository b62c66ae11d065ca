"""The voice call of one session: who speaks, who is passed on in which slot, and the numbers of what is passed on.

Every page gets the same few audio streams, the slots. Whoever speaks takes a slot; so a page never needs a new offer
when people come and go, and a full room costs what its speakers cost. Times are passed in, monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .forwarding import MAX_GAP, Numbering

CLOCK_RATE = 48_000  # Opus, RFC 7587 section 4.1
# RFC 6464 levels count downwards from full scale: speech lies at 15 to 40, a quiet room at 60 and more.
_LOUD_LEVEL = 50
# A click is shorter than this; what the ear takes for speech is not.
_ONSET_SECONDS = 0.06
_ONSET_MEMORY_SECONDS = 0.3
# Pauses between words must not cut the end of a word off.
_HANG_SECONDS = 1.0


@dataclass
class Speaker:
    """One participant's microphone."""

    participant_id: str
    loud_since: float | None = None
    loud_at: float = float("-inf")
    spoke_at: float = float("-inf")
    slot: Slot | None = None

    def heard(self, level: int | None, now: float) -> None:
        """A packet with this audio level; None when the page does not tell levels, and then everything is speech."""
        if level is not None and level >= _LOUD_LEVEL:
            return
        if self.loud_since is None or now - self.loud_at > _ONSET_MEMORY_SECONDS:
            self.loud_since = now
        self.loud_at = now
        if now - self.loud_since >= _ONSET_SECONDS:
            self.spoke_at = now

    def is_speaking(self, now: float) -> bool:
        return now - self.spoke_at <= _HANG_SECONDS


@dataclass
class Slot:
    """One stream that every page receives; its numbers go on whoever speaks in it."""

    index: int
    speaker: Speaker | None = None
    numbering: Numbering = field(default_factory=lambda: Numbering(CLOCK_RATE))
    is_sending: bool = False
    _run: int = 0  # how far its numbers have come since they were last aligned

    def renumbered(self, sequence: int, timestamp: int, now: float) -> tuple[int, int, bool]:
        """(sequence number, timestamp, first of a talkspurt) under which the speaker's packet is passed on.

        No number is used twice, and none is far from the last, whatever the speaker counts: SRTP refuses what is far
        behind (RFC 3711 section 3.3.2), and every page shares the slot.
        """
        begins, self.is_sending = not self.is_sending, True
        ahead = self.numbering.ahead(sequence)
        if begins or not -self._run <= ahead <= MAX_GAP:
            self.numbering.align(sequence, timestamp, now)
            self._run, ahead = -1, 1
        if ahead > 0:
            self.numbering.sent(sequence, timestamp, now)
            self._run = min(MAX_GAP, self._run + ahead)
        offset = self.numbering
        return (sequence + offset.sequence_offset) & 0xFFFF, (timestamp + offset.timestamp_offset) & 0xFFFFFFFF, begins


class Floor:
    """Gives slots to speakers. A slot stays with its speaker until another one needs it."""

    def __init__(self, slots: int) -> None:
        self._slots = [Slot(index) for index in range(slots)]
        self._speakers: dict[str, Speaker] = {}

    def join(self, participant_id: str) -> None:
        self._speakers.setdefault(participant_id, Speaker(participant_id))

    def leave(self, participant_id: str) -> None:
        speaker = self._speakers.pop(participant_id, None)
        if speaker is not None and speaker.slot is not None:
            speaker.slot.speaker, speaker.slot.is_sending = None, False

    def silence(self, participant_id: str) -> None:
        """Muted: not speaking from now on."""
        speaker = self._speakers.get(participant_id)
        if speaker is not None:
            speaker.loud_since, speaker.spoke_at = None, float("-inf")
            if speaker.slot is not None:
                speaker.slot.is_sending = False

    def restart(self, participant_id: str) -> None:
        """Another microphone of the same participant, with numbers of its own."""
        speaker = self._speakers.get(participant_id)
        if speaker is not None and speaker.slot is not None:
            speaker.slot.is_sending = False

    def packet(self, participant_id: str, level: int | None, now: float) -> Slot | None:
        """A packet of a microphone: the slot to pass it on in, or None for silence and for speakers too many."""
        speaker = self._speakers.get(participant_id)
        if speaker is None:
            return None
        speaker.heard(level, now)
        if not speaker.is_speaking(now):
            if speaker.slot is not None:
                speaker.slot.is_sending = False
            return None
        if speaker.slot is None:
            self._seat(speaker, now)
        return speaker.slot

    def _seat(self, speaker: Speaker, now: float) -> None:
        free = next((slot for slot in self._slots if slot.speaker is None), None)
        if free is None:
            quiet = [s for s in self._slots if s.speaker is not None and not s.speaker.is_speaking(now)]
            free = min(quiet, key=lambda s: s.speaker.spoke_at if s.speaker is not None else 0.0, default=None)
        if free is None:
            return
        if free.speaker is not None:
            free.speaker.slot = None
        free.speaker, free.is_sending = speaker, False
        speaker.slot = free

    def speaking(self, now: float) -> tuple[str, ...]:
        """Who is heard now."""
        return tuple(p for p, s in self._speakers.items() if s.slot is not None and s.is_speaking(now))
