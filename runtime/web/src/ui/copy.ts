import { t } from "../i18n";
import { toast } from "./toasts";

/**
 * Put text on the clipboard and say how it went. Call it straight from the click: Safari copies only while that is being
 * handled. Without https there is no clipboard interface: an older way does it.
 */
export async function copyText(text: string): Promise<void> {
  let isCopied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    isCopied = copyBySelection(text);
  }
  if (isCopied) toast(t().common.copied, { icon: "check" });
  else toast(t().common.notCopied, { kind: "error", icon: "warning" });
}

function copyBySelection(text: string): boolean {
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  // No keyboard for it on phones.
  area.readOnly = true;
  // A modal dialog makes everything outside of it inert.
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.focus();
  area.setSelectionRange(0, text.length);
  const isCopied = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
  return isCopied;
}
