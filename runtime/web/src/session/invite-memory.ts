/**
 * Which invitation let this tab into a session, so that a reload or a reconnect can present it again. Kept for the tab
 * only: an invitation is a secret, and the next visitor of a shared computer must not inherit it.
 */

const PREFIX = "pixelstream.invite.";

export function rememberInvite(sessionId: string, invite: string): void {
  try {
    sessionStorage.setItem(PREFIX + sessionId, invite);
  } catch {
    // Without storage a reload asks for the link again.
  }
}

export function recallInvite(sessionId: string): string | undefined {
  try {
    return sessionStorage.getItem(PREFIX + sessionId) ?? undefined;
  } catch {
    return undefined;
  }
}

export function forgetInvites(): void {
  try {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
  } catch {
    // Then there are none.
  }
}
