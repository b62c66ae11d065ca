import type { PlayerModel } from "./model";

/** What `window.pixelstream` shows to tests and to people who look for a fault. Nothing can be changed through it. */
export interface PlayerView {
  readonly sessionId: string;
  readonly participant: string | undefined;
  readonly role: string | undefined;
  readonly controlHolder: string | null | undefined;
  readonly room: string;
  readonly stream: string | undefined;
  readonly status: string;
  readonly stats: {
    readonly framesDecoded: number;
    readonly currentTime: number;
    readonly width: number;
    readonly height: number;
    readonly framesPerSecond: number;
    readonly videoBps: number;
    readonly audioBps: number;
    readonly audioLevel: number | null;
    readonly roundTripMs: number | null;
    readonly lossFraction: number;
    readonly codec: string;
  };
}

declare global {
  interface Window {
    pixelstream?: PlayerView;
  }
}

export function exposeForTests(model: PlayerModel): () => void {
  const view: PlayerView = {
    sessionId: model.session.id,
    get participant() {
      return model.room.peek()?.you;
    },
    get role() {
      const room = model.room.peek();
      return room?.participants.find(({ id }) => id === room.you)?.role;
    },
    get controlHolder() {
      return model.room.peek()?.control.holder;
    },
    get room() {
      return model.roomStatus.peek();
    },
    get stream() {
      return model.room.peek()?.stream;
    },
    get status() {
      return model.streamStatus.peek();
    },
    get stats() {
      const last = model.measurement.peek();
      const video = model.stream?.video;
      return Object.freeze({
        framesDecoded: last?.framesDecoded ?? 0,
        currentTime: video?.currentTime ?? 0,
        width: video?.videoWidth ?? 0,
        height: video?.videoHeight ?? 0,
        framesPerSecond: last?.framesPerSecond ?? 0,
        videoBps: last?.videoBps ?? 0,
        audioBps: last?.audioBps ?? 0,
        audioLevel: last?.audioLevel ?? null,
        roundTripMs: last?.roundTripMs ?? null,
        lossFraction: last?.lossFraction ?? 0,
        codec: last?.codec ?? "",
      });
    },
  };
  Object.defineProperty(window, "pixelstream", { value: Object.freeze(view), configurable: true, writable: false });
  return () => {
    Reflect.deleteProperty(window, "pixelstream");
  };
}
