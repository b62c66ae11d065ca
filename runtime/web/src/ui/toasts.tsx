import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { t } from "../i18n";
import { Icon, type IconName } from "./icons";

interface Toast {
  id: number;
  text: string;
  icon?: IconName;
  kind: "info" | "error";
}

const SHOWN_MS = 5_000;
const MOST = 4;
const toasts = signal<Toast[]>([]);
let lastId = 0;

/** Say something in passing. Screen readers hear it too; nothing important may be said only here. */
export function toast(text: string, options: { icon?: IconName; kind?: "info" | "error" } = {}): void {
  const added: Toast = { id: ++lastId, text, kind: options.kind ?? "info" };
  if (options.icon) added.icon = options.icon;
  // What is on show already is not said twice; it stays for longer.
  const others = toasts.value.filter((each) => each.text !== text);
  toasts.value = [...others.slice(-(MOST - 1)), added];
  window.setTimeout(() => dismiss(added.id), SHOWN_MS);
}

export function clearToasts(): void {
  toasts.value = [];
}

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((each) => each.id !== id);
}

export function Toasts(): JSX.Element {
  return (
    <div class="toasts" role="status" aria-live="polite" data-testid="toasts">
      {toasts.value.map(({ id, text, icon, kind }) => (
        <div key={id} class={`toast toast-${kind}`} data-testid="toast">
          {icon && <Icon name={icon} size={18} />}
          <span>{text}</span>
          <button type="button" class="toast-close" aria-label={t().common.close} onClick={() => dismiss(id)}>
            <Icon name="cross" size={14} />
          </button>
        </div>
      ))}
    </div>
  );
}
