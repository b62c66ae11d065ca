import { request } from "../api/client";
import type { JoinReply } from "../api/types";
import { recall } from "../storage";
import { recallInvite } from "./invite-memory";

/**
 * Get a fresh join token. Called for the first connection and again for every reconnect, because the token in hand may
 * have expired meanwhile. Throws ApiError (`session_ended`, `session_not_ready`, `forbidden`, ...).
 */
export function joinSession(sessionId: string): Promise<JoinReply> {
  const invite = recallInvite(sessionId);
  const name = recall("name");
  return request<JoinReply>("POST", `/api/v1/sessions/${encodeURIComponent(sessionId)}/join`, {
    body: { ...(invite ? { invite } : {}), ...(name ? { name } : {}) },
  });
}
