/** Shapes of `/api/v1`; the source is `runtime/coordinator/openapi.yaml`. Times are epoch milliseconds. */

import type { BookingState, EndReason, Role, SessionState, StartStep } from "./codes";

/** A text by language tag, as operators write it in the inventory. */
export type LocalText = Record<string, string>;

export interface Me {
  id: string;
  name: string;
  kind: "anonymous" | "user" | "oidc" | "key";
  roles: ("viewer" | "admin")[];
  groups: string[];
  csrf_token: string;
  features: FeatureList;
}

export interface FeatureList {
  site_name: string;
  sign_in: "none" | "password" | "oidc";
  must_sign_in: boolean;
  queue: boolean;
  bookings: boolean;
  sessions_per_viewer: number;
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
  limits: TitleLimits;
  control_policy: "ask" | "free" | "owner";
  tags: string[];
  features: { chat: boolean; voice: boolean; microphone: boolean };
  startable: boolean;
  bookable: boolean;
}

export interface TitleLimits {
  max_players: number;
  idle_seconds: number;
  idle_warning_seconds: number;
  max_length_seconds: number | null;
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
  participants: number;
  booking?: string | null;
  /** From here on for administrators only. */
  host?: string | null;
  owner?: { id: string; kind: string; name: string } | null;
  placement?: string;
  detail?: string | null;
  build?: string;
  warm?: boolean;
}

export interface IceServer {
  urls: string[];
  username?: string | null;
  credential?: string | null;
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
  /** The link; only in the answer to its creation. */
  url: string | null;
  expires_at: number;
  revoked: boolean;
  created_at: number;
  uses: number;
  label: string;
}

/** What an invitation leads to; anybody who has the link may read it. */
export interface InvitePreview {
  /** Null before a booked session is opened. */
  session_id: string | null;
  role: Role;
  title: Title;
  owner_name: string;
  state: SessionState | null;
  expires_at: number;
  /** Of the booked window, if it is one. */
  starts_at: number | null;
  ends_at: number | null;
}

export interface Booking {
  id: string;
  title: string;
  state: BookingState;
  starts_at: number;
  ends_at: number;
  /** When its session is started. */
  opens_at: number;
  time_zone: string;
  label: string;
  series: string | null;
  rrule: string | null;
  /** Once it is open. */
  session: string | null;
  invitees: Invitee[];
  created_at: number;
  calendar_url: string;
  /** For administrators only. */
  owner?: { id: string; kind: string; name: string };
}

export interface Invitee {
  invite: string;
  role: Role;
  name: string;
  email: string;
  /** The link; only in the answer to the booking. */
  url: string | null;
}

export interface BookingPage {
  items: Booking[];
  next: string | null;
  calendar_url?: string;
}

export interface FreeStretch {
  starts_at: number;
  ends_at: number;
  free: number;
}

export interface Page<T> {
  items: T[];
  next?: string | null;
}

/** Shape of every refusal; see `runtime/protocol/errors.py`. */
export interface ErrorBody {
  error: { code: string; message: string; fix: string; request_id?: string; details?: unknown };
}
