"""What a player holds down, and the messages that let go of it.

A title that saw a key go down waits for it to come up. When control moves to somebody else, or the player vanishes, the
page that pressed it can no longer say so; the relay does.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from runtime.protocol.datachannel import MalformedMessageError, Vocabulary

# A browser knows 256 key codes, 5 mouse buttons and 10 fingers; a pad about 20 buttons. Above this is noise.
_MAX_HELD = 512
_AXIS_CHANGE = 1e-6
# Sticks at rest tremble by less than this; moving one on purpose exceeds it.
_AXIS_ACTIVE = 0.08


class HeldInput:
    """One player's pressed keys, buttons, touches and gamepad state, as far as it was passed on to the streamer."""

    def __init__(self) -> None:
        self._pads: dict[int, None] = {}
        self._let_go()

    def _let_go(self) -> None:
        self._keys: dict[int, None] = {}
        self._buttons: dict[int, tuple[int, int]] = {}
        self._touches: dict[int, tuple[int, int]] = {}
        self._pad_buttons: dict[tuple[int, int], None] = {}
        self._axes: dict[tuple[int, int], float] = {}
        self._axes_active: dict[tuple[int, int], float] = {}
        self._xr_buttons: dict[tuple[Any, ...], None] = {}

    def note(self, name: str, values: tuple[Any, ...]) -> bool:
        """Remember a message that passes on. False: it changes nothing (a gamepad axis re-sent unchanged), drop it."""
        if not all(isinstance(value, int | float) for value in values):
            return True  # the streamer declared a layout of its own for this name
        match name, values:
            case "KeyDown", (key, *_):
                _put(self._keys, key)
            case "KeyUp", (key, *_):
                self._keys.pop(key, None)
            case (("MouseDown" | "MouseDouble"), (button, x, y, *_)):
                # Unreal takes a double click for a press; the release that follows is the same as for a single one.
                _put(self._buttons, button, (x, y))
            case "MouseUp", (button, *_):
                self._buttons.pop(button, None)
            case "MouseMove", (x, y, *_) if self._buttons:
                self._buttons = dict.fromkeys(self._buttons, (x, y))
            case (("TouchStart" | "TouchMove"), (_, x, y, finger, *_)):
                _put(self._touches, finger, (x, y))
            case "TouchEnd", (_, _, _, finger, *_):
                self._touches.pop(finger, None)
            case _ if name.startswith(("Gamepad", "XR")):
                return self._note_pad(name, values)
        return True

    def _note_pad(self, name: str, values: tuple[Any, ...]) -> bool:
        match name, values:
            case "GamepadAnalog", (pad, axis, value, *_):
                if abs(self._axes.get((pad, axis), 0.0) - value) <= _AXIS_CHANGE:
                    return False
                _put(self._axes, (pad, axis), value)
            case "GamepadButtonPressed", (pad, button, *_):
                _put(self._pad_buttons, (pad, button))
            case "GamepadButtonReleased", (pad, button, *_):
                self._pad_buttons.pop((pad, button), None)
            case "GamepadDisconnected", (pad, *_):
                self._forget_pad(pad)
            case "XRButtonPressed", (hand, index, *_):
                _put(self._xr_buttons, (hand, index))
            case "XRButtonReleased", (hand, index, *_):
                self._xr_buttons.pop((hand, index), None)
        if name in ("GamepadAnalog", "GamepadButtonPressed") and values:
            _put(self._pads, values[0])
        return True

    def axis_is_active(self, pad: int, axis: int, value: float) -> bool:
        """Whether a person moved this axis, as opposed to a stick trembling at rest."""
        if abs(self._axes_active.get((pad, axis), 0.0) - value) < _AXIS_ACTIVE:
            return False
        _put(self._axes_active, (pad, axis), value)
        return True

    def releases(self, vocabulary: Vocabulary, *, leaving: bool) -> list[bytes]:
        """Messages that let go of everything; nothing is held afterwards.

        ``leaving``: the player goes, so its gamepads are reported as disconnected too. When only control moves they
        stay, because the page keeps the numbers the streamer gave them and will use them again.
        """
        out: list[bytes] = []

        def say(name: str, *values: Any) -> None:
            shape = vocabulary.named(name)
            if shape is None or shape.layout is None:
                return
            # A streamer may declare another number of values than Epic's; ours come first, zeros follow.
            wanted = (*values, *([0] * len(shape.layout)))[: len(shape.layout)]
            with suppress(MalformedMessageError):
                out.append(shape.message(*wanted))

        for key in self._keys:
            say("KeyUp", key)
        for button, (x, y) in self._buttons.items():
            say("MouseUp", button, x, y)
        for finger, (x, y) in self._touches.items():
            say("TouchEnd", 1, x, y, finger, 0, 1)
        for pad, pad_button in self._pad_buttons:
            say("GamepadButtonReleased", pad, pad_button)
        for (pad, axis), value in self._axes.items():
            if value != 0.0:
                say("GamepadAnalog", pad, axis, 0.0)
        for hand, index in self._xr_buttons:
            say("XRButtonReleased", hand, index)
        if leaving:
            for pad in self._pads:
                say("GamepadDisconnected", pad)
            self._pads = {}
        self._let_go()
        return out

    def forget_axes(self) -> None:
        """A new streamer knows no axis: the next report of each passes even if it is unchanged."""
        self._axes.clear()

    def owns_pad(self, pad: int) -> bool:
        return pad in self._pads

    def pad_given(self, pad: int) -> None:
        """The streamer numbered one of this player's gamepads."""
        _put(self._pads, pad)

    def _forget_pad(self, pad: int) -> None:
        self._pads.pop(pad, None)
        self._pad_buttons = {key: None for key in self._pad_buttons if key[0] != pad}
        self._axes = {key: value for key, value in self._axes.items() if key[0] != pad}


def _put(store: dict[Any, Any], key: Any, value: Any = None) -> None:
    if key in store or len(store) < _MAX_HELD:
        store[key] = value
