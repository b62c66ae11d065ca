"""The room's rules, event by event, and its invariants under any sequence of events."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runtime.chassis import codec
from runtime.protocol import room as wire
from runtime.protocol.control import JoinClaims
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import Role
from runtime.relay.core.room import Room, RoomSettings
from runtime.relay.core.room_effects import Acted, Dismiss, Effect, RolesChanged, Tell, TellAll, VoiceChanged
from runtime.relay.core.seats import Door

GRACE, LINGER = 60.0, 3.0


def claims(participant: str, role: Role = Role.WATCHER, name: str | None = None) -> JoinClaims:
    return JoinClaims(
        session_id="s", participant_id=participant, role=role, name=name or participant, expires_at=0, token_id="t"
    )


class Scene:
    """A room with shorthand for what people do."""

    def __init__(self, **settings: Any) -> None:
        self.room = Room(RoomSettings(grace_seconds=GRACE, linger_seconds=LINGER, **settings))
        self.now = 0.0

    def enter(
        self, who: str, role: Role = Role.WATCHER, door: Door = Door.ROOM, name: str | None = None
    ) -> list[Effect]:
        self.room.check_admission(claims(who, role), door)
        return self.room.enter(claims(who, role), door, resume=f"resume-{who}", now_ms=int(self.now), name=name)

    def leave(self, who: str, door: Door = Door.ROOM, goodbye: bool = False) -> list[Effect]:
        return self.room.leave(who, door, said_goodbye=goodbye, now=self.now)

    def do(self, who: str, message: wire.FromClient) -> list[Effect]:
        return self.room.handle(who, message, now=self.now, now_ms=int(self.now * 1000))

    def wait(self, seconds: float) -> list[Effect]:
        out: list[Effect] = []
        for _ in range(int(seconds)):
            self.now += 1
            out += self.room.tick(self.now)
        return out

    def refused(self, who: str, message: wire.FromClient) -> str:
        before = (self.room.participants(), self.room.control_state(), self.room.owner)
        with pytest.raises(ServiceError) as caught:
            self.do(who, message)
        assert (self.room.participants(), self.room.control_state(), self.room.owner) == before
        return caught.value.code

    def role(self, who: str) -> Role:
        return next(p.role for p in self.room.participants() if p.id == who)

    @property
    def holder(self) -> str | None:
        return self.room.desk.holder


def told(effects: list[Effect], shape: type[Any]) -> list[Any]:
    return [e.message for e in effects if isinstance(e, Tell | TellAll) and isinstance(e.message, shape)]


def scene(mode: str = "ask", **kwargs: Any) -> Scene:
    made = Scene(control=mode, **kwargs)
    made.enter("anna", Role.OWNER)
    made.enter("ben", Role.CONTROLLER)
    made.enter("cleo", Role.WATCHER)
    return made


def test_the_owner_is_in_control_at_the_start() -> None:
    s = scene()
    assert s.holder == "anna"
    assert [s.role(who) for who in ("anna", "ben", "cleo")] == [Role.OWNER, Role.WATCHER, Role.WATCHER]


def test_a_guest_who_comes_first_is_neither_owner_nor_in_control() -> None:
    s = Scene(owner_participant="anna")
    s.enter("ben", Role.CONTROLLER)
    assert (s.room.owner, s.holder) == (None, None)
    effects = s.enter("anna", Role.OWNER)
    assert (s.room.owner, s.holder) == ("anna", "anna")
    assert RolesChanged() in effects


def test_ask_grant_and_release() -> None:
    s = scene()
    assert told(s.do("cleo", wire.ControlRequest()), wire.ControlRequested) == [
        wire.ControlRequested(participant="cleo")
    ]
    assert s.room.control_state().requests == ("cleo",)
    effects = s.do("anna", wire.ControlGrant(participant="cleo"))
    assert told(effects, wire.ControlChanged) == [wire.ControlChanged(holder="cleo", by="anna", reason="granted")]
    assert s.room.control_state().requests == ()
    assert (s.role("cleo"), s.role("anna")) == (Role.CONTROLLER, Role.OWNER)
    s.do("cleo", wire.ControlRelease())
    assert s.holder is None


def test_the_holder_may_hand_on_and_the_owner_take_back() -> None:
    s = scene()
    s.do("anna", wire.ControlGrant(participant="cleo"))
    s.do("cleo", wire.ControlGrant(participant="ben"))
    assert s.holder == "ben"
    assert s.refused("cleo", wire.ControlGrant(participant="cleo")) == "forbidden"
    s.do("anna", wire.ControlTake())
    assert s.holder == "anna"


def test_a_denied_request_is_told_to_who_asked_and_taken_off_everybodys_list() -> None:
    s = scene()
    s.do("cleo", wire.ControlRequest())
    effects = s.do("anna", wire.ControlDeny(participant="cleo"))
    assert Tell("cleo", wire.ControlDenied()) in effects
    assert TellAll(wire.ControlWithdrawn(participant="cleo"), but="cleo") in effects
    assert s.room.control_state().requests == ()


@pytest.mark.parametrize(
    ("mode", "who", "free", "owner_here", "allowed"),
    [
        ("free", "ben", True, True, True),
        ("free", "ben", False, True, False),
        ("free", "cleo", True, True, False),
        ("ask", "ben", True, True, False),
        ("ask", "ben", True, False, True),
        ("ask", "cleo", True, False, False),
        ("owner", "ben", True, False, False),
        ("owner", "anna", False, True, True),
    ],
)
def test_who_may_take_control_without_asking(mode: str, who: str, free: bool, owner_here: bool, allowed: bool) -> None:
    s = scene(mode)
    if not free:
        s.do("anna", wire.ControlGrant(participant="cleo"))
    else:
        s.do("anna", wire.ControlRelease())
    if not owner_here:
        s.leave("anna")
        s.wait(LINGER + 1)
    if allowed:
        s.do(who, wire.ControlTake())
        assert s.holder == who
    else:
        assert s.refused(who, wire.ControlTake()) in ("forbidden", "not_in_control")


def test_in_mode_owner_the_holder_cannot_hand_on() -> None:
    s = scene("owner")
    s.do("anna", wire.ControlGrant(participant="ben"))
    assert s.refused("ben", wire.ControlGrant(participant="cleo")) == "forbidden"


def test_a_reload_is_not_a_departure() -> None:
    s = scene()
    s.leave("anna")
    s.wait(LINGER - 1)
    effects = s.enter("anna", Role.OWNER)
    assert told(effects, wire.ParticipantLeft) == []
    assert s.holder == "anna"


def test_within_the_grace_time_name_role_and_control_come_back() -> None:
    s = scene()
    s.do("cleo", wire.Rename(name="Cleopatra"))
    s.do("anna", wire.ControlGrant(participant="cleo"))
    s.leave("cleo")
    effects = s.wait(LINGER + 1)
    assert told(effects, wire.ParticipantLeft) == [wire.ParticipantLeft(id="cleo", reason="disconnected")]
    assert s.holder is None
    s.wait(GRACE - LINGER - 10)
    s.enter("cleo", name="cleo")
    assert s.holder == "cleo"
    assert next(p.name for p in s.room.participants() if p.id == "cleo") == "Cleopatra"


def test_control_given_to_another_meanwhile_does_not_come_back() -> None:
    s = scene()
    s.do("anna", wire.ControlGrant(participant="cleo"))
    s.leave("cleo")
    s.wait(LINGER + 1)
    s.do("anna", wire.ControlTake())
    s.enter("cleo")
    assert s.holder == "anna"


def test_after_the_grace_time_ownership_passes_by_the_rule_and_returns_to_the_rightful_owner() -> None:
    s = scene()
    s.leave("anna")
    s.wait(GRACE - 1)
    assert s.room.owner == "anna"
    s.wait(2)
    assert s.room.owner == "ben"
    s.enter("anna", Role.OWNER)
    assert s.room.owner == "anna"


def test_whoever_is_in_control_inherits_before_those_invited_to_control() -> None:
    s = scene()
    s.do("anna", wire.ControlGrant(participant="cleo"))
    s.leave("anna", goodbye=True)
    assert s.room.owner == "cleo"


def test_a_watcher_never_inherits_but_the_next_one_invited_to_control_does() -> None:
    s = Scene()
    s.enter("anna", Role.OWNER)
    s.enter("cleo")
    s.leave("anna", goodbye=True)
    assert s.room.owner is None
    s.enter("dora")
    assert s.room.owner is None
    s.enter("ben", Role.CONTROLLER)
    assert s.room.owner == "ben"


def test_a_transfer_is_for_good() -> None:
    s = scene()
    s.do("anna", wire.OwnerTransfer(participant="cleo"))
    assert (s.role("cleo"), s.holder) == (Role.OWNER, "anna")
    s.leave("anna", goodbye=True)
    s.enter("anna", Role.OWNER)
    assert s.room.owner == "cleo"


@pytest.mark.parametrize(
    "message",
    [
        wire.Kick(participant="ben"),
        wire.Lock(locked=True),
        wire.Mute(participant="ben", muted=True),
        wire.OwnerTransfer(participant="ben"),
        wire.ControlGrant(participant="cleo"),
        wire.ControlDeny(participant="ben"),
        wire.ControlRelease(),
        wire.ControlTake(),
    ],
)
def test_a_watcher_may_not(message: wire.FromClient) -> None:
    s = scene()
    s.do("ben", wire.ControlRequest())
    assert s.refused("cleo", message) in ("forbidden", "not_in_control")


def test_a_kicked_participant_stays_out() -> None:
    s = scene()
    s.do("anna", wire.ControlGrant(participant="ben"))
    effects = s.do("anna", wire.Kick(participant="ben"))
    assert told(effects, wire.ParticipantLeft) == [wire.ParticipantLeft(id="ben", reason="kicked")]
    assert next(e for e in effects if isinstance(e, Dismiss)).code == 4001
    assert s.holder is None
    for door in Door:
        with pytest.raises(ServiceError, match="removed"):
            s.enter("ben", Role.CONTROLLER, door)


def test_a_locked_session_lets_only_those_in_who_were_there() -> None:
    s = scene()
    s.do("anna", wire.Lock(locked=True))
    with pytest.raises(ServiceError) as caught:
        s.enter("dora")
    assert caught.value.code == "session_locked"
    s.leave("ben")
    s.wait(10)
    s.enter("ben", Role.CONTROLLER)
    s.do("anna", wire.Lock(locked=False))
    s.enter("dora")


def test_a_full_session_keeps_a_place_for_its_owner() -> None:
    s = Scene(max_players=1, owner_participant="anna")
    s.enter("ben", door=Door.PLAYER)
    with pytest.raises(ServiceError) as caught:
        s.enter("cleo", door=Door.PLAYER)
    assert caught.value.code == "session_full"
    with pytest.raises(ServiceError):
        s.enter("cleo", door=Door.ROOM)
    s.enter("anna", Role.OWNER, Door.PLAYER)
    assert s.room.check_admission(claims("ben"), Door.PLAYER) is True, "its own older stream makes room"


def test_streams_are_counted_and_goodbye_waits_for_the_last_one() -> None:
    s = scene()
    s.enter("ben", Role.CONTROLLER, Door.PLAYER)
    assert next(p.players for p in s.room.participants() if p.id == "ben") == 1
    s.leave("ben", Door.ROOM, goodbye=True)
    assert "ben" in [p.id for p in s.room.participants()]
    effects = s.leave("ben", Door.PLAYER)
    assert told(effects, wire.ParticipantLeft) == [wire.ParticipantLeft(id="ben", reason="left")]


def test_a_name_cannot_pass_for_anothers() -> None:
    s = scene()
    s.do("cleo", wire.Rename(name=" AN\u202eNA\x00 "))
    assert next(p.name for p in s.room.participants() if p.id == "cleo") == "ANNA (2)"
    assert s.refused("cleo", wire.Rename(name="\u202e\x00 ")) == "bad_message"


def test_the_name_said_in_the_room_wins_over_the_tokens_once() -> None:
    s = Scene()
    s.enter("anna", Role.OWNER, Door.PLAYER)
    s.enter("anna", Role.OWNER, Door.ROOM, name="Anna P.")
    s.do("anna", wire.Rename(name="Anna Q."))
    s.leave("anna")
    s.enter("anna", Role.OWNER, Door.ROOM, name="Anna P.")
    assert s.room.participants()[0].name == "Anna Q."


def test_chat_is_bounded_rate_limited_and_plain() -> None:
    s = scene()
    (said,) = told(s.do("ben", wire.Say(text="<b>hi</b>\u202e\x07\r\nthere", client_id="c1")), wire.Chat)
    assert (said.message.text, said.message.client_id) == ("<b>hi</b>\nthere", "c1")
    assert s.refused("ben", wire.Say(text=" \u200b ")) == "bad_message"
    assert s.refused("ben", wire.Say(text="x" * 2001)) == "bad_message"
    for _ in range(7):
        s.do("ben", wire.Say(text="spam"))
    assert s.refused("ben", wire.Say(text="spam")) == "rate_limited"
    for minute in range(300):
        s.now += 60
        s.do("cleo", wire.Say(text=str(minute)))
    assert len(s.room.chat.messages) == 200
    assert s.room.chat.messages[-1].text == "299"


def test_the_owner_mutes_and_it_outlives_a_reconnect() -> None:
    s = scene()
    effects = s.do("anna", wire.Mute(participant="ben", muted=True))
    assert [e.participant_id for e in effects if isinstance(e, VoiceChanged)] == ["ben"]
    s.leave("ben", goodbye=True)
    s.enter("ben", Role.CONTROLLER)
    assert next(p.voice.muted_by_owner for p in s.room.participants() if p.id == "ben")


def test_voice_ends_with_the_room_connection() -> None:
    s = scene()
    s.do("ben", wire.VoiceJoin())
    effects = s.leave("ben")
    assert VoiceChanged("ben", wire.VoiceState()) in effects


def test_what_people_do_is_activity_and_a_refusal_is_not() -> None:
    s = scene()
    assert Acted("cleo") in s.do("cleo", wire.Activity())
    assert Acted("cleo") in s.do("cleo", wire.Hand(raised=True))


PEOPLE = ["anna", "ben", "cleo", "dora"]
ROLES = {"anna": Role.OWNER, "ben": Role.CONTROLLER, "cleo": Role.WATCHER, "dora": Role.OWNER}
anyone = st.sampled_from(PEOPLE)
messages = st.one_of(
    st.builds(wire.Say, text=st.text(max_size=30)),
    st.just(wire.ControlRequest()),
    st.builds(wire.ControlGrant, participant=anyone),
    st.builds(wire.ControlDeny, participant=anyone),
    st.just(wire.ControlTake()),
    st.just(wire.ControlRelease()),
    st.builds(wire.Hand, raised=st.booleans()),
    st.builds(wire.Rename, name=st.text(max_size=60)),
    st.builds(wire.Kick, participant=st.just("cleo")),
    st.builds(wire.Mute, participant=anyone, muted=st.booleans()),
    st.builds(wire.Lock, locked=st.booleans()),
    st.builds(wire.OwnerTransfer, participant=anyone),
    st.just(wire.VoiceJoin()),
    st.just(wire.VoiceLeave()),
    st.builds(wire.VoiceMute, muted=st.booleans()),
)


class AnyRoom(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene(control="free", max_players=3, owner_participant="anna")
        self.rooms: set[str] = set()
        self.streams: list[str] = []

    def _check(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Tell | TellAll):
                codec.encode(wire.to_json_object(effect.message))
            if isinstance(effect, Dismiss):
                self.rooms.discard(effect.participant_id)
                self.streams = [s for s in self.streams if s != effect.participant_id]

    @rule(who=anyone, door=st.sampled_from(Door))
    def enter(self, who: str, door: Door) -> None:
        try:
            if self.scene.room.check_admission(claims(who, ROLES[who]), door):
                self.streams.remove(who)
                self._check(self.scene.leave(who, Door.PLAYER))
            if door is Door.ROOM and who in self.rooms:
                return
            effects = self.scene.room.enter(claims(who, ROLES[who]), door, resume=who, now_ms=0)
        except ServiceError:
            return
        self._check(effects)
        self.rooms.add(who) if door is Door.ROOM else self.streams.append(who)

    @rule(who=anyone, door=st.sampled_from(Door), goodbye=st.booleans())
    def leave(self, who: str, door: Door, goodbye: bool) -> None:
        if door is Door.ROOM and who in self.rooms:
            self.rooms.remove(who)
        elif door is Door.PLAYER and who in self.streams:
            self.streams.remove(who)
        else:
            return
        self._check(self.scene.leave(who, door, goodbye))

    @rule(who=anyone, message=messages)
    def do(self, who: str, message: wire.FromClient) -> None:
        if who in self.rooms:
            with suppress(ServiceError):
                self._check(self.scene.do(who, message))

    @rule(seconds=st.sampled_from([1, 5, 70]))
    def wait(self, seconds: int) -> None:
        self._check(self.scene.wait(seconds))

    @invariant()
    def holds(self) -> None:
        room = self.scene.room
        listed = {p.id for p in room.participants()}
        assert room.desk.holder is None or room.desk.holder in listed
        assert set(room.desk.requests) <= listed
        assert room.desk.holder not in room.desk.requests
        assert room.owner is None or room.seats.get(room.owner) is not None
        assert self.rooms | set(self.streams) <= listed
        assert room.seats.players == len(self.streams)
        names = [p.name.casefold() for p in room.participants()]
        assert len(names) == len(set(names))
        assert all(p.name for p in room.participants())


AnyRoom.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyRoom = AnyRoom.TestCase
