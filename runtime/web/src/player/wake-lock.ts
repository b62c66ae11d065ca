/**
 * Keeps the screen on: whoever watches touches nothing, and phones would go dark in the middle of it. Browsers let go of it
 * whenever the page is hidden, and know nothing of it without https; then the screen does as it always does.
 */
export class WakeLock {
  private wanted = false;
  private isAsking = false;
  private held: WakeLockSentinel | undefined;

  start(): void {
    document.addEventListener("visibilitychange", this.settle);
  }

  stop(): void {
    document.removeEventListener("visibilitychange", this.settle);
    this.want(false);
  }

  want(wanted: boolean): void {
    this.wanted = wanted;
    this.settle();
  }

  private readonly settle = (): void => {
    if (!this.wanted) {
      this.held?.release().catch(() => undefined);
      this.held = undefined;
    } else if ("wakeLock" in navigator && !this.isAsking && document.visibilityState === "visible") {
      if (this.held === undefined || this.held.released) void this.ask();
    }
  };

  private async ask(): Promise<void> {
    this.isAsking = true;
    try {
      this.held = await navigator.wakeLock.request("screen");
    } catch {
      // Refused, as when the battery is low; the next picture or return to the page tries again.
    }
    this.isAsking = false;
    if (!this.wanted) this.settle();
  }
}
