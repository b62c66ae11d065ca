/** Messages of the room socket (docs/room-protocol.md). Times are epoch milliseconds unless named otherwise. */

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
}

export type StreamState = "waiting" | "live" | "lost";

export interface Welcome {
  type: "welcome";
  version: number;
  /** Own participant id, or the whole participant. */
  you: string | Participant;
  session: RoomSession;
  participants: Participant[];
  control: Control;
  chat: ChatMessage[];
  locked: boolean;
  idle: { seconds_left: number } | null;
  stream: StreamState | { state: StreamState };
  resume: string;
}

export type FromRelay =
  | Welcome
  | { type: "participant.joined"; participant: Participant }
  | { type: "participant.updated"; participant: Participant }
  | { type: "participant.left"; id: string; reason: string }
  | { type: "control.changed"; holder: string | null; by: string | null; reason: string }
  | { type: "control.requested"; participant: string }
  | { type: "control.denied" }
  | { type: "chat"; message: ChatMessage }
  | { type: "idle.warning"; seconds_left: number }
  | { type: "idle.cancelled"; by: string | null }
  | { type: "time.warning"; seconds_left: number }
  | { type: "stream"; state: StreamState }
  | { type: "stats" }
  | { type: "locked"; locked: boolean }
  | { type: "voice.offer"; sdp: string }
  | { type: "voice.speaking"; participants: string[] }
  | { type: "ended"; reason: string; message: string }
  | { type: "error"; code: string; message: string; fix: string; about?: string }
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
