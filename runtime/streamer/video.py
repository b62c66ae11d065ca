"""Draws and encodes, once for all peers, at a steady pace. Drawing and encoding run in one worker thread; whoever feeds
input or wants a keyframe only leaves a note that the worker takes up with the next frame."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from runtime.chassis.clock import Clock

from .config import StreamerOptions, fit_size
from .encode import VIDEO_CLOCK, EncodedFrame, EncoderSettings, VideoEncoder, picture_buffer
from .messages import Message
from .scene import FrameFacts, Scene
from .sizing import SizeLadder
from .state import Effect

logger = logging.getLogger(__name__)

# Requests within this time share one keyframe: each costs as much as ten ordinary frames.
KEYFRAME_INTERVAL_SECONDS = 0.1
# Opening an encoder costs a keyframe too, so a changing window or estimate is followed at this pace.
REOPEN_INTERVAL_SECONDS = 0.4
# A lower rate is urgent, a higher one is not, and estimates rise in many small steps.
RAISE_INTERVAL_SECONDS = 2.0
_MAX_WAITING_INPUTS = 4096
_CODEC_NAMES = {"h264": "H.264", "vp8": "VP8"}


@dataclass(frozen=True)
class Input:
    """A control message; ``source`` goes back with the effects, ``who`` is shown in the picture."""

    message: Message
    source: object
    who: str


@dataclass(frozen=True)
class VideoFacts:
    """What the last second looked like."""

    bitrate_bps: int
    fps: float
    average_qp: float | None
    encode_ms: float
    draw_ms: float


class VideoPipeline:
    """Scene, encoder and pace. Callbacks run on the event loop."""

    def __init__(
        self,
        options: StreamerOptions,
        clock: Clock,
        on_frame: Callable[[EncodedFrame], None],
        on_effects: Callable[[list[tuple[object, Effect]]], None],
    ) -> None:
        self._clock = clock
        self._on_frame = on_frame
        self._on_effects = on_effects
        self._codec = options.codec
        self._max_fps = options.fps
        self._fps = options.fps
        self._settings = EncoderSettings(
            codec=options.codec, width=options.width, height=options.height, fps=options.fps
        )
        self._target_bps = options.bitrate_bps
        self._scene = Scene(_CODEC_NAMES[options.codec])
        self._inputs: deque[Input] = deque()
        self._releases: deque[object] = deque()
        self._keyframe_wanted = True
        self._wanted = self._settings
        self._ladder = SizeLadder()
        self._encoder: VideoEncoder | None = None
        self._reopened_seconds = float("-inf")
        self._keyframe_seconds = float("-inf")
        self._frame_number = 0
        self._started_seconds = clock.monotonic()
        self._window: deque[tuple[float, int, float | None, float, float]] = deque(maxlen=240)
        self._status = ""
        self._status_seconds = float("-inf")
        self._flowing = asyncio.Event()
        self.inputs_dropped = 0
        self.inputs_failed = 0

    # Called on the event loop

    def give(self, item: Input) -> None:
        """Apply a control message with the next frame."""
        if len(self._inputs) >= _MAX_WAITING_INPUTS:
            self.inputs_dropped += 1
            return
        self._inputs.append(item)

    def release_all(self) -> None:
        """Let go of held keys and buttons with the next frame: whoever held them is gone."""
        self._releases.append(None)

    def want_keyframe(self) -> None:
        """Make one of the next frames a keyframe."""
        self._keyframe_wanted = True

    def want_bitrate(self, bitrate_bps: int) -> None:
        """Aim at this rate."""
        self._target_bps = bitrate_bps

    def want_size(self, width: int, height: int) -> None:
        """Change the picture's size, as near as can be encoded."""
        fitted = fit_size(width, height)
        self._wanted = replace(self._wanted, width=fitted[0], height=fitted[1])

    def want_quantiser(self, min_qp: int | None = None, max_qp: int | None = None) -> None:
        """Bound the quantiser, 0..51 as H.264 counts; the lower bound never exceeds the upper one."""
        upper = self._wanted.max_qp if max_qp is None else min(51, max(1, max_qp))
        lower = min(upper, self._wanted.min_qp if min_qp is None else min(51, max(0, min_qp)))
        self._wanted = replace(self._wanted, min_qp=lower, max_qp=upper)

    def want_fps(self, fps: int) -> None:
        """Change the pace, up to the rate the title was started with."""
        self._fps = min(self._max_fps, max(1, fps))

    def flow(self, flowing: bool) -> None:
        """Nobody watches: draw nothing, and let the processor rest."""
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    @property
    def settings(self) -> EncoderSettings:
        """Size and bounds that were asked for; the picture may be smaller while the path carries too little."""
        return self._wanted

    @property
    def fps(self) -> int:
        return self._fps

    def facts(self) -> VideoFacts:
        """Figures of the last second."""
        now = self._clock.monotonic()
        recent = [entry for entry in list(self._window) if now - entry[0] <= 1.0]
        qps = [entry[2] for entry in recent if entry[2] is not None]
        count = max(1, len(recent))
        span = recent[-1][0] - recent[0][0] if len(recent) > 1 else 0.0
        return VideoFacts(
            bitrate_bps=8 * sum(entry[1] for entry in recent),
            fps=(len(recent) - 1) / span if span else 0.0,
            average_qp=sum(qps) / len(qps) if qps else None,
            encode_ms=sum(entry[3] for entry in recent) / count,
            draw_ms=sum(entry[4] for entry in recent) / count,
        )

    async def run(self) -> None:
        """Produce frames until cancelled; raises what drawing or encoding raised."""
        loop = asyncio.get_running_loop()
        due = self._clock.monotonic()
        with ThreadPoolExecutor(1, "picture") as worker:
            # The first picture takes half a second to prepare; do that before anybody waits for it.
            await loop.run_in_executor(worker, self._follow_settings, due)
            while True:
                await self._flowing.wait()
                interval = 1 / self._fps
                now = self._clock.monotonic()
                # Late by more than a frame: that frame is lost, and the pace goes on from here.
                due = now if now - due > interval else due
                if due > now:
                    await asyncio.sleep(due - now)
                due += interval
                encoded, effects = await loop.run_in_executor(worker, self._produce)
                if encoded is not None:
                    self._on_frame(encoded)
                if effects:
                    self._on_effects(effects)

    # Called in the worker thread

    def _produce(self) -> tuple[EncodedFrame | None, list[tuple[object, Effect]]]:
        now = self._clock.monotonic()
        self._follow_settings(now)
        assert self._encoder is not None
        effects = self._apply_inputs(now)
        time_ms = self._clock.now_ms()
        self._frame_number += 1
        self._scene.draw(
            FrameFacts(
                frame=self._frame_number,
                time_ms=time_ms,
                now_seconds=now,
                # People read the time of the machine they look at.
                clock=datetime.fromtimestamp(time_ms / 1000).strftime("%H:%M:%S.%f")[:12],  # noqa: DTZ006
                status=self._status_text(now),
            )
        )
        drawn = time.perf_counter()
        keyframe = self._keyframe_wanted and now - self._keyframe_seconds >= KEYFRAME_INTERVAL_SECONDS
        if keyframe:
            self._keyframe_wanted = False
        pts = round((now - self._started_seconds) * VIDEO_CLOCK)
        encoded = self._encoder.encode(self._buffer, pts, keyframe=keyframe)
        if encoded is None:
            # A dropped frame cannot have been the keyframe that somebody waits for.
            self._keyframe_wanted = self._keyframe_wanted or keyframe
        else:
            if encoded.keyframe:
                self._keyframe_seconds = now
            draw_ms = (drawn - self._draw_started) * 1000
            encode_ms = (time.perf_counter() - drawn) * 1000
            self._window.append((now, encoded.size_bytes, encoded.qp, encode_ms, draw_ms))
        return encoded, effects

    def _follow_settings(self, now: float) -> None:
        """Open the encoder for what is wanted, not too often; follow the bitrate."""
        self._draw_started = time.perf_counter()
        target_bps = self._target_bps
        wanted = self._ladder.settings_for(self._wanted, target_bps, now)
        may_reopen = now - self._reopened_seconds >= REOPEN_INTERVAL_SECONDS
        if self._encoder is None or (wanted != self._settings and may_reopen):
            resized = (wanted.width, wanted.height) != (self._settings.width, self._settings.height)
            if self._encoder is None or resized:
                self._buffer, planes = picture_buffer(wanted.width, wanted.height)
                self._scene.attach(wanted.width, wanted.height, planes)
            self._settings = wanted
            self._encoder = VideoEncoder(wanted, target_bps)
            self._reopened_seconds = now
            logger.info("encoding %dx%d at %d bit/s", wanted.width, wanted.height, target_bps)
        elif self._encoder.can_follow(target_bps):
            self._encoder.set_bitrate(target_bps)
        elif now - self._reopened_seconds >= (
            REOPEN_INTERVAL_SECONDS if target_bps < self._encoder.bitrate_bps else RAISE_INTERVAL_SECONDS
        ):
            self._encoder.set_bitrate(target_bps)
            self._reopened_seconds = now

    def _apply_inputs(self, now: float) -> list[tuple[object, Effect]]:
        effects: list[tuple[object, Effect]] = []
        while self._releases:
            self._releases.popleft()
            self._scene.state.release_all()
        for _ in range(len(self._inputs)):
            item = self._inputs.popleft()
            try:
                self._scene.state.apply(item.message, item.who, now)
            except Exception:
                # What one player sends must not end everybody's stream.
                self.inputs_failed += 1
                logger.exception("input %s failed", item.message.name)
            effects.extend((item.source, effect) for effect in self._scene.state.take_effects())
        return effects

    def _status_text(self, now: float) -> str:
        if now - self._status_seconds >= 1.0:
            self._status_seconds = now
            facts = self.facts()
            size = f"{self._settings.width} × {self._settings.height}"
            rate = f"{facts.bitrate_bps / 1e6:.1f} Mbit/s"
            self._status = f"{size} · {facts.fps:.0f} fps · {_CODEC_NAMES[self._codec]} · {rate}"
        return self._status
