/**
 * What an embedded player and the page around it say to each other by `postMessage`. Documented for integrators in
 * docs/embed.md; every message carries `source: "pixelstream"`.
 */

export const SOURCE = "pixelstream";

/** Player to surrounding page. */
export type FromPlayer =
  | { type: "ready" }
  | { type: "state"; state: "starting" | "queued" | "connecting" | "playing" | "reconnecting"; session?: string }
  | { type: "progress"; step: string }
  | { type: "control"; holder: string | null; inControl: boolean }
  | { type: "participants"; count: number }
  | { type: "response"; text: string }
  | { type: "ended"; reason: string }
  | { type: "error"; code: string };

/** Surrounding page to player. */
export type ToPlayer =
  | { type: "requestControl" }
  | { type: "releaseControl" }
  | { type: "setSound"; on: boolean }
  | { type: "uiInteraction"; descriptor: unknown }
  | { type: "leave" };

export type FromPlayerMessage = FromPlayer & { source: typeof SOURCE };
export type ToPlayerMessage = ToPlayer & { source: typeof SOURCE };
