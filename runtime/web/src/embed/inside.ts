import { type FromPlayer, SOURCE, type ToPlayer } from "./protocol";

/** Whether these pages are shown inside another page's frame. */
export const isEmbedded = window.parent !== window;

/**
 * Origin of the surrounding page. Only sites that the operator allows can frame us (the frame-ancestors policy), and only
 * that very origin is told anything or listened to. Unknown when the page hides its address: then nobody is.
 */
function parentOrigin(): string | undefined {
  const ancestors = window.location.ancestorOrigins;
  if (ancestors?.[0]) return ancestors[0];
  try {
    return document.referrer ? new URL(document.referrer).origin : undefined;
  } catch {
    return undefined;
  }
}

const origin = isEmbedded ? parentOrigin() : undefined;

export function tellParent(message: FromPlayer): void {
  if (origin === undefined) return;
  window.parent.postMessage({ source: SOURCE, ...message }, origin);
}

const COMMANDS: readonly string[] = ["requestControl", "releaseControl", "setSound", "uiInteraction", "leave"];

/** Listen to the surrounding page's wishes; returns how to stop. */
export function onParentCommand(obey: (command: ToPlayer) => void): () => void {
  const receive = (event: MessageEvent): void => {
    if (origin === undefined || event.source !== window.parent || event.origin !== origin) return;
    const message = event.data as { source?: unknown; type?: unknown } | null;
    if (message?.source !== SOURCE || !COMMANDS.includes(String(message.type))) return;
    obey(message as ToPlayer);
  };
  window.addEventListener("message", receive);
  return () => window.removeEventListener("message", receive);
}
