"""Whose data-channel messages reach the streamer, and who gets what it sends."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.protocol import datachannel as wire
from runtime.protocol.datachannel import Direction, Vocabulary
from runtime.relay.core.data_effects import Active, Effect, Flooding, ToPlayer, ToStreamer, WantKeyframe
from runtime.relay.core.datachannel import DataLimits, DataRouter

UP = Vocabulary.built_in(Direction.TO_STREAMER)


def up(name: str, *values: object) -> bytes:
    shape = UP.named(name)
    assert shape is not None
    return shape.message(*values)


def down(number: int, text: str = "") -> bytes:
    return wire.text_message(number, text)


class Scene:
    """Owner with player o, controller-to-be with player c, watcher with player w; the owner is in control."""

    def __init__(self, *, allow_commands: bool = False, addressed: bool = False) -> None:
        self.router = DataRouter(DataLimits(), allow_commands=allow_commands)
        self.router.addressed = addressed
        self.now = 100.0
        self.router.set_roles(owner="owner", holder="owner")
        for player, participant in (("o", "owner"), ("c", "carl"), ("w", "wanda")):
            self.router.player_added(player, participant)
            self.router.player_open(player)

    def send(self, player: str, message: bytes) -> list[Effect]:
        return self.router.from_player(player, message, self.now)

    def forwarded(self, player: str, message: bytes) -> bool:
        return ToStreamer(message, player) in self.send(player, message)

    def streamer(self, message: bytes) -> dict[str, bytes]:
        effects = self.router.from_streamer(message, self.now)
        assert all(isinstance(e, ToPlayer) for e in effects)
        return {e.player_id: e.message for e in effects if isinstance(e, ToPlayer)}


CONTROL_MESSAGES = [
    up("UIInteraction", "{}"),
    up("TextboxEntry", "x"),
    up("KeyDown", 65, 0),
    up("KeyPress", 65),
    up("MouseEnter"),
    up("MouseDown", 0, 1, 1),
    up("MouseMove", 1, 1, 1, 1),
    up("MouseWheel", 1, 1, 1),
    up("TouchStart", 1, 1, 1, 0, 1, 1),
    up("GamepadButtonPressed", 0, 1, 0),
    up("GamepadAnalog", 0, 1, 0.5),
]


@pytest.mark.parametrize("message", CONTROL_MESSAGES, ids=lambda m: str(m[0]))
def test_only_the_participant_in_control_controls(message: bytes) -> None:
    s = Scene()
    assert s.forwarded("o", message)
    assert not s.forwarded("c", message)
    assert not s.forwarded("w", message)
    s.router.set_roles(owner="owner", holder="carl")
    assert s.forwarded("c", message)
    assert not s.forwarded("o", message)
    s.router.set_roles(owner="owner", holder=None)
    assert not any(s.forwarded(p, message) for p in "ocw")


def test_names_decide_not_numbers() -> None:
    s = Scene()
    moved = {"Direction": 0, "KeyDown": {"id": 7, "structure": ["uint8", "uint8"]}, "LatencyTest": {"id": 60}}
    s.streamer(down(255, json.dumps(moved)))
    assert not s.forwarded("w", b"\x07\x41\x00"), "number 7 is KeyDown now"
    assert s.forwarded("o", b"\x07\x41\x00")
    question = b"\x3c" + up("LatencyTest", "{}")[1:]
    assert s.forwarded("w", question), "number 60 is LatencyTest now"


def test_unknown_numbers_are_denied_to_everyone_but_who_is_in_control() -> None:
    s = Scene()
    assert s.forwarded("o", b"\xa0custom")
    assert not s.forwarded("w", b"\xa0custom")
    s.streamer(down(255, json.dumps({"Direction": 0, "Teleport": {"id": 161, "structure": ["uint8"]}})))
    assert not s.forwarded("w", b"\xa1\x01")
    assert s.forwarded("o", b"\xa1\x01")


@pytest.mark.parametrize("number", [198, 199, 255])
def test_an_sfus_messages_are_refused_from_everyone(number: int) -> None:
    s = Scene()
    s.streamer(down(255, json.dumps({"Direction": 0, "Multiplexed": {"id": number, "structure": ["raw"]}})))
    forged = bytes((number,)) + wire.multiplexed("o", up("KeyDown", 65, 0))[1:]
    assert s.send("o", forged) == []
    assert s.router.counters["forged"] == 1


@pytest.mark.parametrize("name", ["StartStreaming", "StopStreaming"])
def test_nobody_stops_the_picture_of_everybody(name: str) -> None:
    assert Scene().send("o", up(name)) == []


def test_limits_on_the_picture_are_the_owners() -> None:
    s = Scene()
    command = up("Command", json.dumps({"WebRTC.MaxBitrate": 1000}))
    assert s.forwarded("o", command)
    s.router.set_roles(owner="owner", holder="carl")
    assert s.forwarded("o", command), "also while somebody else is in control"
    assert not s.forwarded("c", command)
    assert not s.forwarded("w", command)
    s.router.player_removed("o")
    assert s.forwarded("c", command), "the owner does not watch"


def test_the_resolution_follows_who_is_in_control() -> None:
    s = Scene()
    s.router.set_roles(owner="owner", holder="carl")
    command = up("Command", json.dumps({"Resolution.Width": 800, "Resolution.Height": 600}))
    assert s.forwarded("c", command)
    assert not s.forwarded("o", command)


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("body", [{"ConsoleCommand": "quit"}, {"stat.fps": ""}, {"WebRTC.Fps": 1, "Anything": 1}])
def test_console_commands_need_the_titles_permission_and_the_owner(allowed: bool, body: dict[str, object]) -> None:
    s = Scene(allow_commands=allowed)
    s.router.set_roles(owner="owner", holder="carl")
    assert s.forwarded("o", up("Command", json.dumps(body))) is allowed
    assert not s.forwarded("c", up("Command", json.dumps(body)))


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", "[" * 30_000, "{"])
def test_malformed_commands_go_nowhere(text: str) -> None:
    assert Scene(allow_commands=True).send("o", up("Command", text)) == []


@pytest.mark.parametrize(
    "message", [b"", b"\x3c", b"\x3c\x41", b"\x32\xff\xff", b"\x5c\x00\x01" + struct.pack("<d", float("nan"))]
)
def test_malformed_messages_are_counted_and_dropped_even_from_who_is_in_control(message: bytes) -> None:
    s = Scene()
    assert s.send("o", message) == []
    assert s.router.counters["malformed"] == 1


def test_a_flood_closes_that_player_alone() -> None:
    s = Scene()
    effects = [e for _ in range(20_000) for e in s.send("w", up("MouseMove", 1, 1, 1, 1))]
    assert Flooding("w") in effects
    assert s.forwarded("o", up("KeyDown", 65, 0))


def test_a_flood_of_bytes_too() -> None:
    s = Scene()
    effects = [e for _ in range(40) for e in s.send("w", b"\xa0" * 262_144)]
    assert Flooding("w") in effects


# --- activity ---


@pytest.mark.parametrize(
    ("message", "active"),
    [
        (up("MouseMove", 1, 1, 1, 0), True),
        (up("MouseMove", 1, 1, 0, 0), False),
        (up("MouseLeave"), False),
        (up("KeyDown", 65, 0), True),
        (up("GamepadConnected"), False),
        (up("LatencyTest", "{}"), False),
        (up("Command", '{"WebRTC.Fps":60}'), False),
        (up("RequestInitialSettings"), False),
    ],
)
def test_what_is_activity(message: bytes, active: bool) -> None:
    assert (Active("owner") in Scene().send("o", message)) is active


def test_a_watchers_hands_are_activity_although_they_control_nothing() -> None:
    assert Scene().send("w", up("KeyDown", 65, 0)) == [Active("wanda")]


def test_a_gamepad_lying_there_is_no_activity_and_is_not_forwarded() -> None:
    s = Scene()
    moved = up("GamepadAnalog", 0, 1, 0.5)
    assert s.send("o", moved) == [Active("owner"), ToStreamer(moved, "o")]
    assert s.send("o", moved) == []
    trembling = up("GamepadAnalog", 0, 1, 0.51)
    assert s.send("o", trembling) == [ToStreamer(trembling, "o")]
    assert Active("owner") in s.send("o", up("GamepadAnalog", 0, 1, 0.7))


# --- letting go ---

HOLD_EVERYTHING = [
    up("KeyDown", 65, 0),
    up("KeyDown", 87, 0),
    up("KeyUp", 87),
    up("MouseDown", 2, 10, 20),
    up("MouseMove", 30, 40, 1, 1),
    up("TouchStart", 1, 5, 6, 3, 1, 1),
    up("GamepadButtonPressed", 0, 7, 0),
    up("GamepadAnalog", 0, 1, 0.5),
    up("GamepadAnalog", 0, 2, 0.0),
]
LET_GO = [
    up("KeyUp", 65),
    up("MouseUp", 2, 30, 40),
    up("TouchEnd", 1, 5, 6, 3, 0, 1),
    up("GamepadButtonReleased", 0, 7, 0),
    up("GamepadAnalog", 0, 1, 0.0),
]


def released(effects: list[Effect]) -> list[bytes]:
    return [e.message for e in effects if isinstance(e, ToStreamer)]


def test_when_control_moves_everything_held_is_let_go() -> None:
    s = Scene()
    for message in HOLD_EVERYTHING:
        s.send("o", message)
    assert released(s.router.set_roles(owner="owner", holder="carl")) == LET_GO
    assert released(s.router.set_roles(owner="owner", holder="owner")) == []


def test_when_a_player_goes_its_gamepads_are_gone_too() -> None:
    s = Scene()
    for message in HOLD_EVERYTHING:
        s.send("o", message)
    assert released(s.router.player_removed("o")) == [*LET_GO, up("GamepadDisconnected", 0)]


def test_when_a_channel_closes_everything_held_is_let_go() -> None:
    s = Scene()
    s.send("o", up("KeyDown", 65, 0))
    assert released(s.router.player_closed("o")) == [up("KeyUp", 65)]
    assert s.streamer(down(1, "x")).keys() == {"c", "w"}


def test_letting_go_speaks_the_learned_numbers() -> None:
    s = Scene()
    s.send("o", up("KeyDown", 65, 0))
    s.streamer(down(255, json.dumps({"Direction": 0, "KeyUp": {"id": 140, "structure": ["uint8"]}})))
    assert released(s.router.player_removed("o")) == [bytes((140, 65))]


def test_a_denied_key_is_not_held() -> None:
    s = Scene()
    s.send("w", up("KeyDown", 65, 0))
    assert released(s.router.player_removed("w")) == []


def test_gamepads_announced_by_a_watcher_are_announced_when_it_gets_control() -> None:
    s = Scene()
    assert not s.forwarded("c", up("GamepadConnected"))
    assert not s.forwarded("c", up("GamepadConnected"))
    effects = s.router.set_roles(owner="owner", holder="carl")
    assert released(effects) == [up("GamepadConnected")] * 2


# --- from the streamer ---


def test_joiners_get_what_they_missed_in_order() -> None:
    s = Scene()
    protocol = [down(255, '{"Direction":0}'), down(255, '{"Direction":1}')]
    freeze = [b"\x03" + struct.pack("<i", 6) + b"abc", b"\x03" + struct.pack("<i", 6) + b"def"]
    for message in (*protocol, down(7, '{"a":1}'), *freeze):
        assert s.streamer(message).keys() == {"o", "c", "w"}
    s.router.player_added("j", "jim")
    got = [e.message for e in s.router.player_open("j") if isinstance(e, ToPlayer) and e.player_id == "j"]
    assert got == [*protocol, *freeze, b"\x0c\x00", b"\x00\x00"]
    assert s.send("j", up("RequestInitialSettings")) == [ToPlayer("j", down(7, '{"a":1}'))]
    s.streamer(b"\x04")
    s.router.player_added("k", "kim")
    got = [e.message for e in s.router.player_open("k") if isinstance(e, ToPlayer) and e.player_id == "k"]
    assert got == [*protocol, b"\x0c\x00", b"\x00\x00"]


def test_a_streamer_without_protocol_still_has_its_settings_shown() -> None:
    s = Scene()
    s.streamer(down(7, '{"a":1}'))
    s.router.player_added("j", "jim")
    assert ToPlayer("j", down(7, '{"a":1}')) in s.router.player_open("j")


def test_settings_asked_for_before_they_are_known_are_asked_of_the_streamer() -> None:
    s = Scene()
    assert s.forwarded("w", up("RequestInitialSettings"))
    assert s.streamer(down(7, "{}")).keys() == {"o", "c", "w"}
    assert s.streamer(down(7, "{}")) == {}, "unchanged"


def test_a_new_streamer_forgets_what_the_old_one_said() -> None:
    s = Scene()
    s.streamer(down(255, json.dumps({"Direction": 0, "KeyDown": {"id": 7, "structure": ["uint8", "uint8"]}})))
    s.router.streamer_reset()
    assert s.forwarded("o", up("KeyDown", 65, 0))
    s.router.player_added("j", "jim")
    assert down(255) not in [e.message for e in s.router.player_open("j") if isinstance(e, ToPlayer)]


def test_keyframes_are_asked_for_by_rtcp_and_not_too_often() -> None:
    s = Scene()
    asked = [e for _ in range(100) for e in s.send("w", up("IFrameRequest"))]
    assert asked[0] == WantKeyframe("w")
    assert len(asked) < 30


def test_answers_go_to_who_asked() -> None:
    s = Scene()
    assert s.forwarded("w", up("LatencyTest", "{}"))
    assert s.forwarded("c", up("LatencyTest", "{}"))
    assert s.streamer(down(6, "1")).keys() == {"w"}
    assert s.streamer(down(6, "2")).keys() == {"c"}
    assert s.streamer(down(6, "3")) == {}


def test_an_answer_that_never_came_does_not_misdirect_later_ones_for_long() -> None:
    s = Scene()
    s.send("w", up("LatencyTest", "{}"))
    s.now += 60
    s.send("c", up("LatencyTest", "{}"))
    assert s.streamer(down(6, "1")).keys() == {"c"}


def test_a_gamepads_number_goes_to_its_page_and_its_end_is_told_even_without_control() -> None:
    s = Scene()
    s.send("o", up("GamepadConnected"))
    assert s.streamer(down(13, '{"controllerId":3}')).keys() == {"o"}
    s.router.set_roles(owner="owner", holder="carl")
    assert s.forwarded("o", up("GamepadDisconnected", 3))
    assert not s.forwarded("w", up("GamepadDisconnected", 3))


def test_responses_go_to_everyone_keyboards_and_files_to_who_is_in_control() -> None:
    s = Scene()
    assert s.streamer(down(1, "hello")).keys() == {"o", "c", "w"}
    assert s.streamer(down(2, '{"command":"onScreenKeyboard"}')).keys() == {"o"}
    assert s.streamer(down(8, "png")).keys() == {"o"}
    s.router.set_roles(owner="owner", holder="carl")
    assert s.streamer(down(9, "image/png")).keys() == {"o"}, "a file under way stays with its recipient"
    assert s.streamer(b"\x0a" + struct.pack("<i", 6) + b"abc").keys() == {"o"}
    assert s.streamer(b"\x0a" + struct.pack("<i", 6) + b"def").keys() == {"o"}
    assert s.streamer(down(8, "png")).keys() == {"c"}


def test_ownership_is_the_relays_to_tell() -> None:
    s = Scene()
    assert s.streamer(b"\x00\x01") == {}
    assert s.streamer(b"\x0c\x01") == {}
    assert s.send("o", up("RequestQualityControl")) == [ToPlayer("o", b"\x00\x01")]
    assert s.send("w", up("RequestQualityControl")) == [ToPlayer("w", b"\x00\x00")]
    effects = s.router.set_roles(owner="owner", holder="carl")
    assert ToPlayer("c", b"\x0c\x01") in effects
    assert ToPlayer("o", b"\x0c\x00") in effects


def test_addressed_messages_reach_their_player_alone() -> None:
    s = Scene(addressed=True)
    assert s.router.from_streamer_to("w", down(1, "for w")) == [ToPlayer("w", down(1, "for w"))]
    assert s.router.from_streamer_to("nobody", down(1, "x")) == []
    assert s.router.from_streamer_to("w", b"\x00\x01") == []
    s.router.from_streamer_to("w", down(255, json.dumps({"Direction": 0, "KeyUp": {"id": 140}})))
    s.send("o", up("KeyDown", 65, 0))
    assert s.router.player_removed("o")[0] == ToStreamer(bytes((140, 65)), "o")


def test_numbers_pages_would_throw_on_are_not_passed_down() -> None:
    s = Scene()
    assert s.streamer(b"\x63abc") == {}
    s.streamer(down(255, json.dumps({"Direction": 1, "Score": {"id": 99, "structure": ["raw"]}})))
    assert s.streamer(b"\x63abc").keys() == {"o", "c", "w"}


names = st.sampled_from(sorted(wire.TO_STREAMER) + sorted(wire.FROM_STREAMER) + ["Custom"])
layouts = st.lists(st.sampled_from(["uint8", "int16", "float", "double", "string", "raw"]), max_size=4)
protocols = st.builds(
    lambda direction, entries: down(
        255,
        json.dumps({"Direction": direction, **{n: {"id": i, "structure": k} for n, i, k in entries}}),
    ),
    st.integers(0, 1),
    st.lists(st.tuples(names, st.integers(0, 255), layouts), max_size=12),
)
noise = st.binary(max_size=64) | st.sampled_from(CONTROL_MESSAGES + HOLD_EVERYTHING)
events = st.one_of(
    st.tuples(st.just("player"), st.sampled_from("ocw"), noise),
    st.tuples(st.just("streamer"), st.just(""), noise | protocols),
    st.tuples(st.just("roles"), st.sampled_from(["owner", "carl", "wanda"]), st.just(b"")),
    st.tuples(st.just("reset"), st.just(""), st.just(b"")),
    st.tuples(st.just("rejoin"), st.sampled_from("ocw"), st.just(b"")),
)
PARTICIPANT = {"o": "owner", "c": "carl", "w": "wanda"}


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=40))
def test_no_sequence_of_noise_raises_or_lets_a_bystander_through(sequence: list[tuple[str, str, bytes]]) -> None:
    s, holder = Scene(), "owner"
    for kind, who, message in sequence:
        if kind == "player":
            effects = s.send(who, message)
            shape = s.router.vocabulary.numbered(message[0]) if message else None
            controls = shape is None or shape.name in {"KeyDown", "MouseDown", "UIInteraction", "TouchStart", "Custom"}
            if PARTICIPANT[who] != holder and controls:
                assert not any(isinstance(e, ToStreamer) for e in effects)
        elif kind == "streamer":
            s.router.from_streamer(message, s.now)
        elif kind == "roles":
            holder = who
            s.router.set_roles(owner="owner", holder=holder)
        elif kind == "reset":
            s.router.streamer_reset()
        else:
            s.router.player_removed(who)
            s.router.player_added(who, PARTICIPANT[who])
            s.router.player_open(who)
