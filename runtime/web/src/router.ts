import { signal } from "@preact/signals";

/** Path of the page on show; query and fragment play no part in routing. */
export const path = signal(window.location.pathname);

/** Go to a page of ours without loading the document again. */
export function navigate(to: string, options: { replace?: boolean } = {}): void {
  if (options.replace) window.history.replaceState(null, "", to);
  else window.history.pushState(null, "", to);
  path.value = new URL(to, window.location.href).pathname;
  window.scrollTo(0, 0);
}

/** Whether a link stays inside the portal: same origin and one of its own page paths. */
export function isPortalLink(url: URL): boolean {
  if (url.origin !== window.location.origin) return false;
  return /^\/($|session\/|join\/|schedule$|admin($|\/))/.test(url.pathname);
}

export function startRouter(): void {
  window.addEventListener("popstate", () => {
    path.value = window.location.pathname;
  });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link?.href || link.target || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    if (!isPortalLink(url)) return;
    event.preventDefault();
    navigate(url.pathname + url.search);
  });
}
