import { signal } from "@preact/signals";
import { getMe } from "./api/client";
import type { Me } from "./api/types";

/** Who the visitor is, once the service has answered; pages show less until then. */
export const me = signal<Me | undefined>(undefined);

/** Rejects with ApiError. */
export async function loadMe(): Promise<void> {
  me.value = await getMe();
}

export const isAdmin = (): boolean => me.value?.roles.includes("admin") ?? false;
