import { signal } from "@preact/signals";
import { forgetMe, request } from "../api/client";
import { loadMe } from "../me";

/** Whether the visitor has asked for the sign-in form. */
export const wantsSignIn = signal(false);

export function askToSignIn(): void {
  wantsSignIn.value = true;
}

/** Rejects with ApiError when name and password do not fit, or the service cannot be reached. */
export async function signIn(name: string, password: string): Promise<void> {
  await request("POST", "/api/v1/sign-in", { body: { name, password } });
  await changedIdentity();
}

export async function signOut(): Promise<void> {
  await request("POST", "/api/v1/sign-out");
  await changedIdentity();
}

async function changedIdentity(): Promise<void> {
  forgetMe();
  await loadMe();
  wantsSignIn.value = false;
}
