/**
 * Which invitation let this tab into a session, so that a reload or a reconnect can present it again. Kept for the tab
 * only: an invitation is a secret, and the next visitor of a shared computer must not inherit it.
 */

export function rememberInvite(sessionId: string, invite: string): void {
  try {
    sessionStorage.setItem(`pixelstream.invite.${sessionId}`, invite);
  } catch {
    // Without storage a reload asks for the link again.
  }
}

export function recallInvite(sessionId: string): string | undefined {
  try {
    return sessionStorage.getItem(`pixelstream.invite.${sessionId}`) ?? undefined;
  } catch {
    return undefined;
  }
}
