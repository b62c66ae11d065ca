"""Who is heard, and that what is passed on reads as one stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.voice import Floor, Slot

LOUD, QUIET = 30, 90


class Call:
    """Microphones that send a packet every 20 ms."""

    def __init__(self, slots: int, *people: str) -> None:
        self.floor = Floor(slots)
        self.now = 10.0
        for person in people:
            self.floor.join(person)

    def speak(self, person: str, seconds: float = 0.2, level: int | None = LOUD) -> list[Slot | None]:
        out = []
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            out.append(self.floor.packet(person, level, self.now))
        return out


def test_speech_is_passed_on_and_silence_is_not() -> None:
    call = Call(2, "anna")
    assert call.speak("anna", level=QUIET) == [None] * 10
    assert call.speak("anna")[-1] is not None
    assert call.floor.speaking(call.now) == ("anna",)
    assert call.speak("anna", level=QUIET)[-1] is not None, "the pause between two words"
    assert call.speak("anna", 1.2, level=QUIET)[-1] is None
    assert call.floor.speaking(call.now) == ()


def test_a_click_is_not_speech() -> None:
    call = Call(2, "anna")
    assert call.speak("anna", 0.04) == [None, None]
    call.speak("anna", 1.0, level=QUIET)
    assert call.speak("anna", 0.04) == [None, None]


def test_a_page_without_levels_is_heard() -> None:
    assert Call(2, "anna")
    assert Call(2, "anna").speak("anna", level=None)[-1] is not None


def test_speakers_keep_apart_and_one_too_many_waits_for_a_pause() -> None:
    call = Call(2, "anna", "ben", "cleo")
    anna, ben = call.speak("anna")[-1], call.speak("ben")[-1]
    assert anna is not None
    assert ben is not None
    assert anna is not ben
    assert call.speak("cleo")[-1] is None
    call.speak("ben", 1.0)
    assert call.speak("cleo")[-1] is anna, "anna has been silent for longest"
    assert call.speak("anna", 1.5)[-1] is not None


def test_mute_and_leave_free_the_floor() -> None:
    call = Call(1, "anna", "ben")
    call.speak("anna")
    call.floor.silence("anna")
    assert call.floor.speaking(call.now) == ()
    assert call.speak("ben")[-1] is not None
    call.floor.leave("ben")
    assert call.speak("ben")[-1] is None
    assert call.speak("anna")[-1] is not None


def test_a_slots_numbers_go_on_whoever_speaks() -> None:
    call = Call(1, "anna", "ben")
    slot = call.speak("anna")[-1]
    assert slot is not None
    assert slot.renumbered(65_535, 5000, 1.0) == (65_535, 5000, True)
    assert slot.renumbered(0, 5960, 1.02) == (0, 5960, False)
    call.floor.leave("anna")
    assert call.speak("ben")[-1] is slot
    sequence, timestamp, begins = slot.renumbered(777, 123, 2.02)
    assert (sequence, begins) == (1, True)
    assert timestamp == 5960 + 48_000
    assert slot.renumbered(778, 1083, 2.04) == (2, timestamp + 960, False)


people = st.sampled_from(["anna", "ben", "cleo", "dora"])
steps = st.lists(
    st.tuples(st.sampled_from(["packet", "join", "leave", "silence"]), people, st.integers(0, 127), st.floats(0, 1)),
    max_size=80,
)


@given(steps)
def test_no_two_share_a_slot_and_only_members_are_heard(sequence: list[tuple[str, str, int, float]]) -> None:
    floor, now, members = Floor(2), 0.0, set()
    for what, who, level, wait in sequence:
        now += wait / 10
        if what == "packet":
            assert floor.packet(who, level, now) is None or who in members
        elif what == "join":
            floor.join(who)
            members.add(who)
        elif what == "leave":
            floor.leave(who)
            members.discard(who)
        else:
            floor.silence(who)
        speaking = floor.speaking(now)
        assert set(speaking) <= members
        assert len(speaking) <= 2


def test_a_speaker_that_jumps_does_not_close_its_slot_to_others() -> None:
    """Every page gets the slot under SRTP, which refuses what is far behind (RFC 3711 section 3.3.2)."""
    call = Call(1, "eve", "anna")
    slot = call.speak("eve")[-1]
    assert slot is not None
    jumps = [*range(100, 106), 30_000, 8_000, 8_001, 50_000, 49_000, 100, 103, 102, 104]
    numbers = [slot.renumbered(sequence, 960 * i, 1 + 0.02 * i)[0] for i, sequence in enumerate(jumps)]
    assert numbers == [*range(100, 112), 114, 113, 115]
    call.floor.leave("eve")
    assert call.speak("anna")[-1] is slot
    assert [slot.renumbered(n, 0, 3.0)[0] for n in (65_535, 1, 0, 2)] == [116, 118, 117, 119]
    slot.is_sending = False
    assert slot.renumbered(7, 0, 4.0)[0] == 120, "behind the packet that was furthest on"


def test_late_packets_of_before_a_talkspurt_do_not_repeat_numbers() -> None:
    """A number is used for one packet: under the same key another one would betray both (RFC 3711 section 9.1)."""
    call = Call(1, "anna", "ben")
    slot = call.speak("anna")[-1]
    assert slot is not None
    assert [slot.renumbered(n, 0, 1.0)[0] for n in range(200, 210)] == list(range(200, 210))
    call.floor.leave("anna")
    call.speak("ben")
    numbers = [slot.renumbered(n, 0, 2.0)[0] for n in (500, 499, 501)]
    assert numbers[0] == 210
    assert len(set(numbers)) == 3
    assert min(numbers) == 210


def test_another_microphone_of_the_same_speaker_begins_anew() -> None:
    call = Call(1, "anna")
    slot = call.speak("anna")[-1]
    assert slot is not None
    assert [slot.renumbered(n, 0, 1.0)[0] for n in range(200, 210)] == list(range(200, 210))
    call.floor.restart("anna")
    call.floor.restart("nobody")
    assert slot.renumbered(203, 0, 1.02)[::2] == (210, True)
