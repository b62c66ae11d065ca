/** Shapes of `/api/v1/admin`; the source is `runtime/coordinator/openapi.yaml`. Times are epoch milliseconds. */

import type { LocalText } from "../api/types";

export type HostState = "offline" | "serving" | "draining" | "drained";

export interface HostGpu {
  index: number;
  name: string;
  memory_total_bytes: number;
  memory_used_bytes: number;
  utilisation: number | null;
  encoder_utilisation: number | null;
  encoder_sessions: number | null;
  sessions: number;
}

export interface HostHeartbeat {
  at: number;
  age_seconds: number;
  clock_skew_ms: number;
  version: string;
  platform: string;
  cpu: number;
  memory_total_bytes: number;
  memory_available_bytes: number;
  disk_free_bytes: number;
  events_waiting: number;
  gpus: HostGpu[];
}

export interface Host {
  name: string;
  state: HostState;
  desired_state: "serving" | "draining";
  capacity: number;
  registered_capacity: number;
  used: number;
  free: number;
  strangers: number;
  labels: Record<string, string>;
  titles: Record<string, string>;
  control_url: string;
  edge_url: string;
  sessions: { id: string; title: string; state: string; slot: number | null; gpu: number | null }[];
  heartbeat: HostHeartbeat | null;
}

export interface AdminTitle {
  name: string;
  display_name: LocalText;
  retired: boolean;
  bookable: boolean;
  groups: string[];
  limits: AdminTitleLimits;
  warm: { target: number; ready: number; starting: number };
  availability: { state: "free" | "busy" | "offline"; free: number; hosts: number };
  sessions: number;
  queued: number;
  builds: string[];
  version: number;
}

export interface AdminTitleLimits {
  max_sessions: number | null;
  max_length_seconds: number | null;
  idle_seconds: number | null;
  max_players: number;
}

export interface Overview {
  hosts: Record<string, number>;
  sessions: Record<string, number>;
  slots: { capacity: number; used: number };
  participants: number;
  titles: number;
}

export interface SessionStatistics {
  stream: StreamStatistics | null;
  players: PlayerStatistics[];
}

export interface StreamStatistics {
  codec: string | null;
  bitrate_bps: number;
  fps: number;
  fraction_lost: number;
  target_bitrate_bps: number;
}

/** One page of a session; a person may have several. */
export interface PlayerStatistics {
  id: string;
  participant: string;
  name: string;
  connected: boolean;
  bitrate_bps: number;
  fps: number;
  fraction_lost: number;
  jitter_ms: number;
  rtt_ms: number | null;
  estimate_bps: number | null;
}

export interface User {
  name: string;
  display_name: string;
  groups: string[];
  admin: boolean;
  disabled: boolean;
  created_at: number;
}

export interface Key {
  id: string;
  name: string;
  scopes: string[];
  groups: string[];
  created_by: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  /** The key itself; only in the answer to its creation. */
  key: string | null;
}

export interface AuditEntry {
  id: string;
  at: number;
  by: string;
  by_name: string;
  action: string;
  subject: string;
  address: string;
  request_id: string;
  details: Record<string, string>;
}
