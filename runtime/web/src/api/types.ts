/** Shapes of `/api/v1`; the source is `runtime/coordinator/openapi.yaml`. Times are epoch milliseconds. */

import type { EndReason, Role, SessionState, StartStep } from "./codes";

/** A text by language tag, as operators write it in the inventory. */
export type LocalText = Record<string, string>;

export interface Me {
  id: string;
  name: string;
  kind: string;
  roles: string[];
  groups: string[];
  csrf_token: string;
  features: Record<string, unknown> | string[];
}

export interface Availability {
  state: "free" | "busy" | "offline";
  free: number;
  wait_seconds: number | null;
}

export interface Title {
  name: string;
  display_name: LocalText;
  description: LocalText;
  picture_url: string | null;
  availability: Availability;
  limits: Record<string, unknown>;
  control_policy: string;
  tags: string[];
}

export interface Session {
  id: string;
  title: string;
  state: SessionState;
  reason: EndReason | null;
  reason_text: string | null;
  steps: { step: StartStep; at: number }[];
  queue: { position: number; wait_seconds: number | null } | null;
  role: Role | null;
  created_at: number;
  ready_at: number | null;
  ends_at: number | null;
  ended_at: number | null;
  host?: string | null;
  participants: number;
}

export interface IceServer {
  urls: string | string[];
  username?: string;
  credential?: string;
}

export interface JoinReply {
  role: Role;
  participant: string;
  token: string;
  expires_at: number;
  player_url: string;
  room_url: string;
  ice_servers: IceServer[];
}

export interface Invite {
  id: string;
  role: Role;
  url: string;
  expires_at: number | null;
  revoked: boolean;
  created_at: number;
  uses: number;
}

/** What an invitation leads to; anybody who has the link may read it. */
export interface InvitePreview {
  session_id: string;
  role: Role;
  title: Title;
  expires_at: number | null;
}

export interface Page<T> {
  items: T[];
  next?: string | null;
}

/** Shape of every refusal; see `runtime/protocol/errors.py`. */
export interface ErrorBody {
  error: { code: string; message: string; fix: string; request_id?: string; details?: unknown };
}
