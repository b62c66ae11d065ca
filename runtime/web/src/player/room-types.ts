/**
 * Messages of the room socket; `runtime/protocol/room.py` is the source and `tests/codes.test.ts` compares the types.
 * Times are epoch milliseconds unless named otherwise.
 */

import type { Role } from "../api/codes";

export interface Participant {
  id: string;
  name: string;
  role: Role;
  /** Open streams of this person; 0 while connecting. */
  players: number;
  hand: boolean;
  voice: { joined: boolean; muted: boolean; muted_by_owner: boolean };
  joined_at: number;
}

export interface Control {
  holder: string | null;
  requests: string[];
  mode: "ask" | "free" | "owner";
}

export interface RoomSession {
  id: string;
  title: string;
  ends_at: number | null;
  idle_seconds: number | null;
  idle_warning_seconds: number | null;
  chat: boolean;
  voice: boolean;
  microphone: boolean;
  max_players: number;
}

export interface ChatMessage {
  id: string;
  participant: string;
  name: string;
  text: string;
  at: number;
  client_id?: string | null;
}

export type StreamState = "waiting" | "live" | "lost";

export interface Welcome {
  type: "welcome";
  version: number;
  /** Own participant id. */
  you: string;
  session: RoomSession;
  participants: Participant[];
  control: Control;
  chat: ChatMessage[];
  locked: boolean;
  idle: { seconds_left: number } | null;
  stream: StreamState;
  resume: string;
}

export type FromRelay =
  | Welcome
  | { type: "participant.joined"; participant: Participant }
  | { type: "participant.updated"; participant: Participant }
  | { type: "participant.left"; id: string; reason: string }
  | { type: "control.changed"; holder: string | null; by: string | null; reason: string }
  | { type: "control.requested"; participant: string }
  | { type: "control.withdrawn"; participant: string }
  | { type: "control.denied" }
  | { type: "chat"; message: ChatMessage }
  | { type: "idle.warning"; seconds_left: number }
  | { type: "idle.cancelled"; by: string | null }
  | { type: "time.warning"; seconds_left: number }
  | { type: "stream"; state: StreamState }
  | { type: "stats"; streamer: Record<string, unknown> | null; players: Record<string, unknown>[] }
  | { type: "locked"; locked: boolean }
  | { type: "voice.offer"; sdp: string }
  | { type: "voice.speaking"; participants: string[] }
  | { type: "ended"; reason: string; message: string }
  | { type: "error"; code: string; message: string; fix: string; about?: string | null }
  | { type: "pong"; time: number };

export type ToRelay =
  | { type: "hello"; version: 1; token: string; name?: string; resume?: string }
  | { type: "chat"; text: string; client_id?: string }
  | { type: "control.request" | "control.take" | "control.release" }
  | { type: "control.grant" | "control.deny"; participant: string }
  | { type: "hand"; raised: boolean }
  | { type: "rename"; name: string }
  | { type: "activity" }
  | { type: "kick"; participant: string }
  | { type: "mute"; participant: string; muted: boolean }
  | { type: "lock"; locked: boolean }
  | { type: "owner.transfer"; participant: string }
  | { type: "voice.join" | "voice.leave" }
  | { type: "voice.mute"; muted: boolean }
  | { type: "voice.answer"; sdp: string }
  | { type: "ping"; time: number };

/** Every type the relay may send and this page knows; a record, so that tsc refuses a missing or a wrong one. */
export const FROM_RELAY_TYPES: Record<FromRelay["type"], true> = {
  welcome: true,
  "participant.joined": true,
  "participant.updated": true,
  "participant.left": true,
  "control.changed": true,
  "control.requested": true,
  "control.withdrawn": true,
  "control.denied": true,
  chat: true,
  "idle.warning": true,
  "idle.cancelled": true,
  "time.warning": true,
  stream: true,
  stats: true,
  locked: true,
  "voice.offer": true,
  "voice.speaking": true,
  ended: true,
  error: true,
  pong: true,
};

export const TO_RELAY_TYPES: Record<ToRelay["type"], true> = {
  hello: true,
  chat: true,
  "control.request": true,
  "control.take": true,
  "control.release": true,
  "control.grant": true,
  "control.deny": true,
  hand: true,
  rename: true,
  activity: true,
  kick: true,
  mute: true,
  lock: true,
  "owner.transfer": true,
  "voice.join": true,
  "voice.leave": true,
  "voice.mute": true,
  "voice.answer": true,
  ping: true,
};
