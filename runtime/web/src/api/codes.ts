/**
 * Words that the services say on the wire. The Python sources (`runtime/protocol/errors.py`, `states.py`) are the
 * originals; `tests/codes.test.ts` compares, so that a new code cannot appear without its sentences in every language.
 */

export const ERROR_CODES = [
  "bad_request",
  "bad_json",
  "unauthenticated",
  "sign_in_failed",
  "sign_in_unavailable",
  "csrf_failed",
  "forbidden",
  "origin_refused",
  "not_found",
  "title_not_found",
  "session_not_found",
  "invite_not_found",
  "booking_not_found",
  "method_not_allowed",
  "conflict",
  "booking_limit",
  "window_taken",
  "extension_refused",
  "precondition_failed",
  "idempotency_mismatch",
  "session_ended",
  "invite_expired",
  "invite_revoked",
  "too_large",
  "rate_limited",
  "session_not_ready",
  "no_capacity",
  "no_host",
  "queue_full",
  "session_limit",
  "host_unreachable",
  "database_unavailable",
  "internal",
  "control_unsigned",
  "control_expired",
  "control_replayed",
  "control_mismatch",
  "host_unknown",
  "host_full",
  "draining",
  "title_unavailable",
  "token_missing",
  "token_invalid",
  "token_expired",
  "session_full",
  "session_locked",
  "kicked",
  "not_in_control",
  "unknown_message",
  "bad_message",
] as const;

/** Codes that only the browser can raise: no answer came at all. */
export const LOCAL_ERROR_CODES = ["offline", "timeout", "bad_answer", "no_streams"] as const;

export const END_REASONS = [
  "owner_ended",
  "idle",
  "max_length",
  "app_exited",
  "app_crashed",
  "relay_crashed",
  "start_timeout",
  "start_failed",
  "host_lost",
  "drained",
  "admin_ended",
  "booking_over",
  "queue_left",
] as const;

export const START_STEPS = ["leased", "relay_up", "process_up", "streamer_connected", "first_frame"] as const;

export const SESSION_STATES = [
  "requested",
  "queued",
  "leased",
  "starting",
  "ready",
  "streaming",
  "stopping",
  "ended",
  "failed",
] as const;

export const BOOKING_STATES = ["planned", "open", "used", "missed", "cancelled"] as const;

export const ROLES = ["owner", "controller", "watcher"] as const;

export type ErrorCode = (typeof ERROR_CODES)[number] | (typeof LOCAL_ERROR_CODES)[number];
export type EndReason = (typeof END_REASONS)[number];
export type StartStep = (typeof START_STEPS)[number];
export type SessionState = (typeof SESSION_STATES)[number];
export type BookingState = (typeof BOOKING_STATES)[number];
export type Role = (typeof ROLES)[number];

export function isFinal(state: SessionState): boolean {
  return state === "ended" || state === "failed";
}

/** A session whose stream can be joined. */
export function isJoinable(state: SessionState): boolean {
  return state === "ready" || state === "streaming";
}
