import { signal } from "@preact/signals";
import { recall, remember } from "../storage";

export type Theme = "auto" | "light" | "dark";

export function isTheme(value: string | null): value is Theme {
  return value === "auto" || value === "light" || value === "dark";
}

function stored(): Theme {
  const value = recall("theme");
  return isTheme(value) ? value : "auto";
}

export const theme = signal<Theme>(stored());

/** Switch between the system's choice and a fixed one, and remember it on this device. */
export function setTheme(value: Theme): void {
  theme.value = value;
  remember("theme", value === "auto" ? null : value);
  applyTheme();
}

export function applyTheme(): void {
  if (theme.value === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
}
