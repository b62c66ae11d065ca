import { signal } from "@preact/signals";
import { request } from "../api/client";
import { forgetInvites } from "../session/invite-memory";
import { remember } from "../storage";

/** Whether the visitor has asked for the sign-in form. */
export const wantsSignIn = signal(false);

/** Whether somebody else is the visitor now, and the page is about to be loaded for them. */
export const isStale = signal(false);

export function askToSignIn(): void {
  wantsSignIn.value = true;
}

/** Rejects with ApiError when name and password do not fit, or the service cannot be reached. */
export async function signIn(name: string, password: string): Promise<void> {
  await request("POST", "/api/v1/sign-in", { body: { name, password } });
  startAnew();
}

export async function signOut(): Promise<void> {
  await request("POST", "/api/v1/sign-out");
  // The next visitor of a shared computer gets neither the invitations nor the name.
  forgetInvites();
  remember("name", null);
  startAnew();
}

/**
 * Sessions, bookings, titles and event streams on the page are the former person's. Only a new document is sure to hold
 * nothing of them, whatever pages come to remember; until it is here, nothing is shown.
 */
function startAnew(): void {
  isStale.value = true;
  window.location.reload();
}
