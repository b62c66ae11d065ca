/**
 * `<pixel-stream>`: a portal's player on another site. A classic script without imports, so that any page may load it by a
 * plain `<script src>` (module scripts would need CORS). Attributes, events and methods: docs/embed.md.
 */

import type { FromPlayerMessage, ToPlayer } from "./protocol";

(() => {
  const script = document.currentScript;
  const home = script instanceof HTMLScriptElement ? new URL(script.src).origin : window.location.origin;
  const OBSERVED = ["portal", "title-name", "session", "invite", "lang", "theme"] as const;

  class PixelStreamElement extends HTMLElement {
    static observedAttributes: readonly string[] = OBSERVED;
    private frame: HTMLIFrameElement | undefined;
    private readonly onMessage = (event: MessageEvent): void => this.receive(event);

    connectedCallback(): void {
      const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
      const frame = document.createElement("iframe");
      frame.allow = "autoplay; fullscreen; microphone; gamepad; clipboard-write; screen-wake-lock";
      frame.title = this.getAttribute("label") ?? "Pixelstream";
      Object.assign(frame.style, {
        display: "block",
        width: "100%",
        height: "100%",
        border: "0",
        background: "#0b0d11",
      });
      if (!this.style.display) this.style.display = "block";
      frame.src = this.address();
      this.frame = frame;
      root.replaceChildren(frame);
      window.addEventListener("message", this.onMessage);
    }

    disconnectedCallback(): void {
      window.removeEventListener("message", this.onMessage);
      this.shadowRoot?.replaceChildren();
      this.frame = undefined;
    }

    attributeChangedCallback(): void {
      if (this.frame && this.frame.src !== this.address()) this.frame.src = this.address();
    }

    /** Ask whoever is in control to hand it over, or take it when it is free. */
    requestControl(): void {
      this.send({ type: "requestControl" });
    }

    releaseControl(): void {
      this.send({ type: "releaseControl" });
    }

    setSound(on: boolean): void {
      this.send({ type: "setSound", on });
    }

    /** Send a UIInteraction to the application; only whoever is in control is heard. */
    sendUiInteraction(descriptor: unknown): void {
      this.send({ type: "uiInteraction", descriptor });
    }

    leave(): void {
      this.send({ type: "leave" });
    }

    private get portal(): string {
      return new URL(this.getAttribute("portal") ?? home, window.location.href).origin;
    }

    private address(): string {
      const session = this.getAttribute("session");
      const invite = this.getAttribute("invite");
      const title = this.getAttribute("title-name");
      let path = "/";
      if (session) path = `/session/${encodeURIComponent(session)}`;
      else if (invite) path = `/join/${encodeURIComponent(invite)}`;
      const url = new URL(path, this.portal);
      if (!session && !invite && title) url.searchParams.set("title", title);
      for (const name of ["lang", "theme"]) {
        const value = this.getAttribute(name);
        if (value) url.searchParams.set(name, value);
      }
      return url.href;
    }

    private send(message: ToPlayer): void {
      this.frame?.contentWindow?.postMessage({ source: "pixelstream", ...message }, this.portal);
    }

    private receive(event: MessageEvent): void {
      if (event.origin !== this.portal || event.source !== this.frame?.contentWindow) return;
      const message = event.data as Partial<FromPlayerMessage> | null;
      if (message?.source !== "pixelstream" || !message.type) return;
      this.dispatchEvent(new CustomEvent(`stream-${message.type}`, { detail: message, bubbles: true, composed: true }));
    }
  }

  if (!customElements.get("pixel-stream")) customElements.define("pixel-stream", PixelStreamElement);
})();
