import {
  Config,
  Flags,
  Logger,
  LogLevel,
  MessageDirection,
  NumericParameters,
  PixelStreaming,
  WebSocketTransport,
} from "@epicgames-ps/lib-pixelstreamingfrontend-ue5.7";
import { backoffMs } from "../backoff";
import { HeldKeys } from "./held-keys";
import { type Measurement, measure } from "./measurement";
import { pixelScale, undecodable } from "./picture";
import type { Ticket } from "./ticket";

export type StreamStatus = "connecting" | "playing" | "lost";
/** `tap`: the browser wants a tap before it plays anything; `muted`: it plays, but without sound. */
export type PlayBlock = "none" | "tap" | "muted";

export interface StreamHandlers {
  onStatus(status: StreamStatus): void;
  onBlocked(block: PlayBlock): void;
  onMeasurement(measurement: Measurement): void;
  onKeyboardWanted(wanted: { show: boolean; contents: string }): void;
  /** The application's own words to its page (Epic's Response message). */
  onResponse(text: string): void;
  /** The browser can decode nothing of what is offered. */
  onUnsupportedCodec(codecs: string[]): void;
  onPointerLockWanted(wanted: boolean): void;
  onQualities(layers: readonly string[]): void;
}

const WATCH_EVERY_MS = 2_000;
const STALLED_AFTER_MS = 8_000;
const INPUT_FLAGS = [Flags.KeyboardInput, Flags.MouseInput, Flags.TouchInput, Flags.GamepadInput] as const;

/**
 * The picture: Epic's frontend library, with our own reconnection. The library can only come back with the same address,
 * whose token may have expired; so its own attempts are off, and every attempt of ours asks for a fresh token first.
 */
export class Stream {
  private readonly epic: PixelStreaming;
  private readonly config: Config;
  private readonly ticket: Ticket;
  private readonly handlers: StreamHandlers;
  private readonly keys: HeldKeys;
  private failures = 0;
  private retryTimer: number | undefined;
  private watchTimer: number | undefined;
  private isDisposed = false;
  private isReconnecting = false;
  private wantsPicture = true;
  private lastFrames = 0;
  private lastProgressAt = performance.now();
  private previous: Measurement | undefined;
  private wantsTap = false;
  private isSilenced = false;

  constructor(parent: HTMLElement, ticket: Ticket, handlers: StreamHandlers, options: { sound: boolean }) {
    Logger.InitLogging(LogLevel.Error, false);
    this.ticket = ticket;
    this.handlers = handlers;
    this.config = new Config({
      initialSettings: {
        ss: ticket.playerUrl(),
        AutoConnect: false,
        AutoPlayVideo: true,
        StartVideoMuted: !options.sound,
        HoveringMouse: true,
        TimeoutIfIdle: false,
        MaxReconnectAttempts: 0,
        KeepaliveDelay: 10_000,
        KeyboardInput: false,
        MouseInput: false,
        TouchInput: false,
        GamepadInput: false,
        SuppressBrowserKeys: true,
        WaitForStreamer: true,
      },
    });
    this.epic = new PixelStreaming(this.config, { videoElementParent: parent });
    this.epic.setSignallingUrlBuilder(() => this.ticket.playerUrl());
    this.video.setAttribute("data-testid", "stream-video");
    this.video.onclick = this.onVideoClick;
    this.video.addEventListener("pause", this.onPause);
    document.addEventListener("visibilitychange", this.onVisible);
    // Streamers announce it; without a handler of some kind the library calls that an error.
    this.epic.registerMessageHandler("DataChannelLatencyTest", MessageDirection.ToStreamer);
    this.keys = new HeldKeys((keyCode) => this.sendToStreamer("KeyUp", [keyCode]));
    this.listen();
  }

  get video(): HTMLVideoElement {
    return this.epic.webRtcController.videoPlayer.getVideoElement();
  }

  /** Frames decoded so far on the present connection. */
  get framesDecoded(): number {
    return this.previous?.framesDecoded ?? 0;
  }

  start(): void {
    this.handlers.onStatus("connecting");
    this.watchTimer = window.setInterval(() => this.watch(), WATCH_EVERY_MS);
    this.keys.start();
    this.epic.connect();
  }

  dispose(): void {
    this.isDisposed = true;
    document.removeEventListener("visibilitychange", this.onVisible);
    window.clearTimeout(this.retryTimer);
    window.clearInterval(this.watchTimer);
    this.keys.stop();
    this.setInput(false);
    this.epic.webRtcController.closeSignalingServer("", false);
    this.closeMedia();
    // Not the library's destroyVideoPlayer: its `src = ""` breaks off plays that nobody awaits.
    const { video } = this;
    video.srcObject = null;
    video.remove();
    this.audio.srcObject = null;
  }

  /** Plays the sound only if the application sends it in a stream of its own. */
  private get audio(): HTMLAudioElement {
    return this.epic.webRtcController.streamController.audioElement;
  }

  /** The library's own handler also starts the audio element when it has nothing to play, which never succeeds. */
  private readonly onVideoClick = (): void => {
    for (const element of [this.video, this.audio]) {
      if (element.srcObject && element.paused) element.play().catch(() => undefined);
    }
  };

  /** A picture that could go on but stands still; what has ended comes back by a new connection. */
  private get isPaused(): boolean {
    const { srcObject, paused, ended } = this.video;
    return !this.isDisposed && paused && !ended && srcObject instanceof MediaStream && srcObject.active;
  }

  /**
   * Phones pause what plays when a call comes in, the headphones are pulled out or the screen is locked. While the page is
   * on show the visitor decides when it goes on.
   */
  private readonly onPause = (): void => {
    if (this.isPaused && document.visibilityState === "visible") this.askForTap();
  };

  /** Back from another application or a locked screen, iOS leaves the picture standing. */
  private readonly onVisible = (): void => {
    if (document.visibilityState !== "visible" || !this.isPaused) return;
    this.video.play().catch((error: unknown) => {
      if (error instanceof DOMException && error.name === "NotAllowedError") this.playRejected();
    });
  };

  private askForTap(): void {
    this.wantsTap = true;
    this.handlers.onBlocked("tap");
  }

  /** Whether mouse, keyboard, touch and gamepad reach the application. The relay enforces the same. */
  setInput(enabled: boolean): void {
    if (!enabled) this.keys.releaseAll();
    for (const flag of INPUT_FLAGS) this.config.setFlagEnabled(flag, enabled);
  }

  /** Let go of keys that are held; called when the focus leaves the picture, as their release will go elsewhere. */
  releaseKeys(): void {
    this.keys.releaseAll();
  }

  /** Caught mouse (first person) or plain pointer. */
  setPointerLock(locked: boolean): void {
    this.config.setFlagEnabled(Flags.HoveringMouseMode, !locked);
  }

  /** Must be called from a click or tap when sound is switched on, because browsers demand it. */
  setSound(on: boolean): void {
    this.config.setFlagEnabled(Flags.StartVideoMuted, !on);
    this.video.muted = !on;
    this.audio.muted = !on;
    this.isSilenced = false;
    if (on) this.handlers.onBlocked("none");
  }

  play(): void {
    this.epic.play();
  }

  /** Ask the application for a picture of this window's size; only the controller's wish is followed. */
  setMatchWindow(on: boolean): void {
    if (on) this.config.setNumericSetting(NumericParameters.ViewportResScale, pixelScale());
    this.config.setFlagEnabled(Flags.MatchViewportResolution, on);
  }

  setMaxBitrateBps(bps: number): void {
    this.config.setNumericSetting(NumericParameters.WebRTCMaxBitrate, bps / 1000);
  }

  setMaxFramesPerSecond(fps: number): void {
    this.config.setNumericSetting(NumericParameters.WebRTCFPS, fps);
  }

  setLayer(layer: string): void {
    this.config.setOptionSettingValue("PreferredQuality", layer);
  }

  emitUiInteraction(descriptor: object | string): boolean {
    return this.epic.emitUIInteraction(descriptor);
  }

  /** Send one of Epic's input messages as the library itself would. */
  sendToStreamer(name: string, values: (number | string)[]): void {
    this.epic.toStreamerHandlers.get(name)?.(values);
  }

  sendText(contents: string): void {
    this.epic.sendTextboxEntry(contents);
  }

  /** Whether the room says that there is a picture to be had; without one, silence is no reason to reconnect. */
  expectPicture(expected: boolean): void {
    this.wantsPicture = expected;
    this.lastProgressAt = performance.now();
  }

  private listen(): void {
    const { epic, handlers } = this;
    epic.addEventListener("webRtcConnected", () => {
      this.failures = 0;
      this.lastProgressAt = performance.now();
    });
    epic.addEventListener("webRtcDisconnected", () => this.disconnected());
    epic.addEventListener("webRtcSdpOffer", ({ data }) => {
      const codecs = undecodable(data.sdp.sdp ?? "", RTCRtpReceiver.getCapabilities("video")?.codecs ?? []);
      if (codecs) handlers.onUnsupportedCodec(codecs);
    });
    epic.addEventListener("playStreamRejected", () => this.playRejected());
    epic.addEventListener("statsReceived", ({ data }) => {
      this.previous = measure(data.aggregatedStats, this.previous);
      if (this.previous.framesDecoded < this.lastFrames) this.lastFrames = 0;
      if (this.previous.framesDecoded > this.lastFrames) {
        this.lastFrames = this.previous.framesDecoded;
        this.lastProgressAt = performance.now();
        handlers.onStatus("playing");
      }
      handlers.onMeasurement(this.previous);
    });
    epic.addEventListener("showOnScreenKeyboard", ({ data }) =>
      handlers.onKeyboardWanted({ show: data.showOnScreenKeyboard, contents: data.contents }),
    );
    epic.addEventListener("initialSettings", () => {
      handlers.onQualities(this.config.getSettingOption("PreferredQuality").options);
      // The application may prefer a caught mouse; the library has switched to it by now.
      handlers.onPointerLockWanted(!this.config.isFlagEnabled(Flags.HoveringMouseMode));
    });
    epic.addResponseEventListener("portal", (text) => handlers.onResponse(text));
    this.video.addEventListener("playing", () => {
      // It may go on by itself, as after a call that was not answered.
      if (this.wantsTap) handlers.onBlocked(this.isSilenced ? "muted" : "none");
      this.wantsTap = false;
      handlers.onStatus("playing");
    });
  }

  /** Autoplay with sound is refused until the visitor has touched the page: go on without sound, then ask for a tap. */
  private playRejected(): void {
    if (!this.config.isFlagEnabled(Flags.StartVideoMuted)) {
      this.config.setFlagEnabled(Flags.StartVideoMuted, true);
      this.isSilenced = true;
      this.handlers.onBlocked("muted");
      this.epic.play();
    } else {
      this.askForTap();
    }
  }

  private disconnected(): void {
    if (this.isDisposed || this.retryTimer !== undefined) return;
    this.handlers.onStatus("lost");
    this.retryTimer = window.setTimeout(() => void this.reconnect(), backoffMs(this.failures++));
  }

  /** The relay is known to be back: no reason to wait for the rest of the delay. */
  hurry(): void {
    if (this.retryTimer === undefined || this.isReconnecting) return;
    window.clearTimeout(this.retryTimer);
    this.failures = 0;
    void this.reconnect();
  }

  private async reconnect(): Promise<void> {
    this.isReconnecting = true;
    try {
      await this.ticket.refresh();
    } catch {
      // The room's connection decides when it is hopeless; until then the next attempt may succeed.
    }
    this.isReconnecting = false;
    this.retryTimer = undefined;
    if (this.isDisposed) return;
    this.closeMedia();
    this.lastFrames = 0;
    this.previous = undefined;
    this.lastProgressAt = performance.now();
    this.handlers.onStatus("connecting");
    this.epic.connect();
  }

  /**
   * The library leaves a replaced peer connection open, which would go on holding a decoder; and its own way of closing one
   * sets it to null under a statistics reading that is still under way.
   */
  private closeMedia(): void {
    const controller = this.epic.webRtcController;
    window.clearInterval(controller.statsTimerHandle);
    controller.peerConnectionController?.peerConnection?.close();
  }

  /** A dead media path does not close the socket: after a network change or sleep the picture just stops. */
  private watch(): void {
    if (this.isDisposed || this.retryTimer !== undefined || !this.wantsPicture) return;
    if (document.visibilityState !== "visible" || this.video.paused) {
      this.lastProgressAt = performance.now();
      return;
    }
    const peer = this.epic.webRtcController.peerConnectionController?.peerConnection;
    const isDead = peer?.connectionState === "failed";
    if (isDead || performance.now() - this.lastProgressAt > STALLED_AFTER_MS) this.restart();
  }

  private restart(): void {
    this.lastProgressAt = performance.now();
    const { transport } = this.epic.webRtcController;
    const socket = transport instanceof WebSocketTransport ? transport.webSocket : undefined;
    const onClose = socket?.onclose;
    if (!socket || !onClose) {
      this.disconnected();
      return;
    }
    // The close event of a dead socket may take a minute to come: let the library clean up now, and only once.
    socket.onclose = null;
    socket.close();
    onClose.call(socket, new CloseEvent("close", { code: 1006 }));
  }
}
