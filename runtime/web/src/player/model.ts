import { batch, computed, effect, signal } from "@preact/signals";
import type { ApiError } from "../api/client";
import type { JoinReply, Session, Title } from "../api/types";
import { tellParent } from "../embed/inside";
import type { Ending } from "../session/ended";
import { recall, remember } from "../storage";
import { watchActivity } from "./activity";
import type { Measurement } from "./measurement";
import { connectParent } from "./parent-page";
import { RoomClient, type RoomOver, type RoomStatus } from "./room-client";
import { findParticipant, isInControl, type Notice, type RoomState, reduce } from "./room-state";
import type { FromRelay, ToRelay } from "./room-types";
import { type PlayBlock, Stream, type StreamStatus } from "./stream";
import { Ticket } from "./ticket";
import { Voice } from "./voice";
import { WakeLock } from "./wake-lock";

export type Panel = "people" | "chat" | "voice" | "invite" | "quality";

export interface ModelOptions {
  session: Session;
  title: Title | undefined;
  join: JoinReply;
  rejoin: () => Promise<JoinReply>;
  onEnded: (ending: Ending) => void;
  onRefused: (error: ApiError) => void;
  onNotice: (notice: Notice) => void;
  /** The relay refused something that was asked for. */
  onError: (code: string) => void;
}

/** Everything behind the player page: the stream, the room, the call, and what is on show. One per mounted player. */
export class PlayerModel {
  readonly session: Session;
  readonly title: Title | undefined;
  readonly room = signal<RoomState | undefined>(undefined);
  readonly roomStatus = signal<RoomStatus>("connecting");
  readonly streamStatus = signal<StreamStatus>("connecting");
  readonly block = signal<PlayBlock>("none");
  readonly measurement = signal<Measurement | undefined>(undefined);
  /** Codecs of the stream, when this browser can decode none of them. */
  readonly unsupported = signal<string[] | undefined>(undefined);
  readonly layers = signal<readonly string[]>([]);
  readonly panel = signal<Panel | undefined>(undefined);
  readonly showStatistics = signal(false);
  readonly sound = signal(recall("sound") !== "off");
  readonly pointerLock = signal(false);
  readonly textInput = signal<{ contents: string } | undefined>(undefined);
  readonly unread = signal(0);
  readonly quality = signal<{ level: string; fps: number; matchWindow: boolean }>({
    level: "auto",
    fps: 60,
    matchWindow: recall("match-window") === "on",
  });
  readonly hasAsked = computed(() => this.room.value?.control.requests.includes(this.room.value.you) ?? false);
  readonly inControl = computed(() => isInControl(this.room.value));
  readonly isPlaying = computed(() => this.streamStatus.value === "playing");
  readonly isOwner = computed(() => findParticipant(this.room.value, this.room.value?.you)?.role === "owner");
  readonly voice: Voice;
  stream: Stream | undefined;
  /** Role of the join token: a `controller` may take control that nobody holds. */
  readonly tokenRole: JoinReply["role"];
  private readonly ticket: Ticket;
  private readonly client: RoomClient;
  private readonly options: ModelOptions;
  private readonly wakeLock = new WakeLock();
  private readonly disposers: (() => void)[] = [];
  private wasOpen = false;
  private hasChosenPointer = false;

  constructor(options: ModelOptions) {
    this.options = options;
    this.session = options.session;
    this.title = options.title;
    this.tokenRole = options.join.role;
    this.ticket = new Ticket(options.join, options.rejoin);
    this.client = new RoomClient(
      this.ticket,
      {
        onMessage: (message) => this.receive(message),
        onStatus: (status) => this.roomChanged(status),
        onOver: (over) => this.over(over),
      },
      recall("name") ?? undefined,
    );
    this.voice = new Voice(
      (message) => this.send(message),
      () => this.ticket.current.ice_servers,
    );
  }

  /** Attach to the page; `parent` gets the video element. */
  start(parent: HTMLElement): void {
    const stream = new Stream(
      parent,
      this.ticket,
      {
        onStatus: (status) => {
          // Who sees the picture again wants control over it again, which takes the room.
          if (status === "playing" && this.streamStatus.peek() !== "playing") this.client.hurry();
          this.streamStatus.value = status;
        },
        onBlocked: (block) => {
          this.block.value = block;
        },
        onMeasurement: (measurement) => {
          this.measurement.value = measurement;
        },
        onKeyboardWanted: ({ show, contents }) => {
          this.textInput.value = show ? { contents } : undefined;
        },
        onResponse: (text) => tellParent({ type: "response", text }),
        onUnsupportedCodec: (codecs) => {
          this.unsupported.value = codecs;
        },
        onPointerLockWanted: (wanted) => {
          if (this.hasChosenPointer) stream.setPointerLock(this.pointerLock.value);
          else this.pointerLock.value = wanted;
        },
        onQualities: (layers) => {
          this.layers.value = layers;
        },
      },
      { sound: this.sound.value },
    );
    this.stream = stream;
    this.disposers.push(
      effect(() => stream.setInput(this.inControl.value)),
      // The size is the controller's to choose; whoever gets control brings their own window.
      effect(() =>
        stream.setMatchWindow(this.inControl.value && this.quality.value.matchWindow && this.isPlaying.value),
      ),
      effect(() => stream.expectPicture(this.room.value?.stream === "live")),
      effect(() => this.wakeLock.want(this.isPlaying.value)),
      watchActivity(
        () => this.send({ type: "activity" }),
        () => this.room.peek()?.idleEndsAt != null,
      ),
    );
    this.disposers.push(connectParent(this));
    this.wakeLock.start();
    stream.start();
    this.client.start();
  }

  stop(): void {
    for (const dispose of this.disposers.splice(0)) dispose();
    this.wakeLock.stop();
    this.voice.leave();
    this.client.stop();
    this.stream?.dispose();
    this.stream = undefined;
  }

  send(message: ToRelay): boolean {
    return this.client.send(message);
  }

  leave(): void {
    this.stop();
    this.options.onEnded({ kind: "left" });
  }

  setSound(on: boolean): void {
    this.sound.value = on;
    remember("sound", on ? null : "off");
    this.stream?.setSound(on);
  }

  setPointerLock(on: boolean): void {
    this.hasChosenPointer = true;
    this.pointerLock.value = on;
    this.stream?.setPointerLock(on);
  }

  togglePanel(panel: Panel): void {
    const next = this.panel.value === panel ? undefined : panel;
    batch(() => {
      this.panel.value = next;
      if (next === "chat") this.unread.value = 0;
    });
  }

  askControl(): void {
    this.send({ type: "control.request" });
  }

  rename(name: string): void {
    remember("name", name);
    this.send({ type: "rename", name });
  }

  private receive(message: FromRelay): void {
    if (message.type === "voice.offer") this.voice.receiveOffer(message.sdp);
    if (message.type === "error") this.options.onError(message.code);
    const [next, notices] = reduce(this.room.value, message, Date.now());
    batch(() => {
      this.room.value = next;
      if (message.type === "chat" && this.panel.value !== "chat" && message.message.participant !== next?.you) {
        this.unread.value += 1;
      }
    });
    for (const notice of notices) this.options.onNotice(notice);
    if (message.type === "welcome") {
      if (this.wasOpen) this.voice.reconnected();
      this.wasOpen = true;
    }
  }

  private roomChanged(status: RoomStatus): void {
    this.roomStatus.value = status;
    // Without the room nobody knows who is in control: send nothing until it is back.
    if (status === "lost") this.stream?.setInput(false);
    if (status !== "open") return;
    this.stream?.setInput(this.inControl.peek());
    this.stream?.hurry();
  }

  private over(over: RoomOver): void {
    this.stop();
    if (over.kind === "ended") {
      this.options.onEnded({ kind: "room", reason: over.reason, message: over.message });
    } else if (over.kind === "gone") {
      this.options.onEnded({ kind: "gone" });
    } else if (over.kind === "refused") {
      this.options.onRefused(over.error);
    } else {
      this.options.onEnded({ kind: over.kind });
    }
  }
}
