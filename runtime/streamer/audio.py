"""The scene's sound: slow, quiet chords and a short tick for every press, encoded once as Opus for all peers."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.audio.codeccontext
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream

    # Generic in its type hints only.
    AnyPacket = Packet[Stream]

SAMPLE_RATE = 48_000
FRAME_SAMPLES = 960  # 20 ms
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
_TIME_BASE = Fraction(1, SAMPLE_RATE)
_CHORD_SECONDS = 3
# Root, fifth, octave, third and seventh of Am7, Fmaj7, C and G6, in hertz.
_CHORDS = (
    (110.00, 164.81, 220.00, 261.63, 392.00),
    (87.31, 130.81, 220.00, 261.63, 329.63),
    (130.81, 196.00, 261.63, 329.63, 493.88),
    (98.00, 146.83, 246.94, 293.66, 329.63),
)
_LEVEL = 0.28  # peak of the chords, about -24 dBFS RMS
_MAX_TICKS = 8

Samples = npt.NDArray[np.float32]


def _loop() -> Samples:
    """The chord sequence, shape (samples, 2); its end runs on into its beginning."""
    count = _CHORD_SECONDS * SAMPLE_RATE
    # Chords fade into each other: each is written over its own time and a tail into the next.
    total = np.zeros((count * len(_CHORDS), 2), np.float64)
    tail = count // 2
    long_time = np.arange(count + tail) / SAMPLE_RATE
    envelope = np.minimum(1, long_time / 0.4) * np.minimum(1, (len(long_time) / SAMPLE_RATE - long_time) / 1.4)
    for index, chord in enumerate(_CHORDS):
        for voice, frequency in enumerate(chord):
            tone = np.sin(2 * np.pi * frequency * long_time) + 0.25 * np.sin(4 * np.pi * frequency * long_time)
            tone *= envelope * (1 + 0.15 * np.sin(2 * np.pi * (0.4 + 0.1 * voice) * long_time)) / (1 + 0.3 * voice)
            pan = 0.5 + 0.35 * (-1) ** voice
            places = (np.arange(len(tone)) + index * count) % len(total)
            # The places of one tone are all different, so plain indexing adds each once.
            total[places, 0] += tone * pan
            total[places, 1] += tone * (1 - pan)
    loop: Samples = (total / np.abs(total).max() * _LEVEL).astype(np.float32)
    return loop


def _tick(frequency: float) -> Samples:
    """A struck sound of 0.12 s, shape (samples, 2)."""
    time = np.arange(round(0.12 * SAMPLE_RATE)) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * frequency * time) * np.exp(-time * 42) * np.minimum(1, time / 0.001) * 0.45
    return np.stack((tone, tone), axis=1).astype(np.float32)


class Sound:
    """Mixes and encodes 20 ms at a time. Not thread-safe."""

    def __init__(self, bitrate_bps: int = 96_000) -> None:
        self._music = _loop()
        self._position = 0
        self._ticks: deque[tuple[Samples, int]] = deque(maxlen=_MAX_TICKS)
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, av.audio.codeccontext.AudioCodecContext)
        context.sample_rate = SAMPLE_RATE
        context.layout = "stereo"
        context.format = "s16"
        context.bit_rate = bitrate_bps
        context.time_base = _TIME_BASE
        context.options = {"application": "lowdelay", "frame_duration": "20"}
        context.open()
        self._context = context

    def press(self, button: int) -> None:
        """Let a tick sound from the next frame on; its pitch tells the button."""
        self._ticks.append((_tick((880.0, 1174.7, 659.3, 1318.5, 987.8)[button % 5]), 0))

    def mix(self) -> npt.NDArray[np.int16]:
        """The next 20 ms, shape (960, 2)."""
        start, self._position = self._position, (self._position + FRAME_SAMPLES) % len(self._music)
        block = self._music[start : start + FRAME_SAMPLES].copy()
        for _ in range(len(self._ticks)):
            sound, at = self._ticks.popleft()
            part = sound[at : at + FRAME_SAMPLES]
            block[: len(part)] += part
            if at + FRAME_SAMPLES < len(sound):
                self._ticks.append((sound, at + FRAME_SAMPLES))
        mixed: npt.NDArray[np.int16] = (np.clip(block, -1, 1) * 32767).astype(np.int16)
        return mixed

    def encode(self, pts: int) -> AnyPacket | None:
        """The next 20 ms as an Opus packet; ``pts`` in samples."""
        frame = av.AudioFrame.from_ndarray(self.mix().reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = pts
        frame.time_base = _TIME_BASE
        packets = self._context.encode(frame)
        if not packets:
            return None
        packet = packets[0]
        # libopus subtracts its pre-skip; the RTP clock wants the time we gave.
        packet.pts, packet.dts, packet.time_base = pts, pts, _TIME_BASE
        return packet
