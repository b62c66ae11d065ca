import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { WakeLock } from "../src/player/wake-lock";

// Stands in for the browser's own, which is let go whenever the page is hidden.
class Sentinel {
  released = false;
  release = vi.fn(async () => {
    this.released = true;
  });
}

const sentinels: Sentinel[] = [];
const request = vi.fn(async () => {
  const sentinel = new Sentinel();
  sentinels.push(sentinel);
  return sentinel;
});
let visibility: DocumentVisibilityState;
let lock: WakeLock;

function show(state: DocumentVisibilityState): void {
  visibility = state;
  document.dispatchEvent(new Event("visibilitychange"));
}

beforeEach(() => {
  sentinels.length = 0;
  request.mockClear();
  visibility = "visible";
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => visibility });
  Object.defineProperty(navigator, "wakeLock", { configurable: true, value: { request } });
  lock = new WakeLock();
  lock.start();
});
afterEach(() => {
  lock.stop();
  Reflect.deleteProperty(navigator, "wakeLock");
  Reflect.deleteProperty(document, "visibilityState");
});

describe("the screen", () => {
  it("stays on while there is a picture, asked for once", async () => {
    lock.want(true);
    lock.want(true);
    await vi.waitFor(() => expect(sentinels).toHaveLength(1));
    lock.want(true);
    expect(request).toHaveBeenCalledTimes(1);
    lock.want(false);
    expect(sentinels[0]?.release).toHaveBeenCalledTimes(1);
  });

  it("stays on again when the page is back on show", async () => {
    lock.want(true);
    await vi.waitFor(() => expect(sentinels).toHaveLength(1));
    show("hidden");
    if (sentinels[0]) sentinels[0].released = true;
    expect(request).toHaveBeenCalledTimes(1);
    show("visible");
    await vi.waitFor(() => expect(sentinels).toHaveLength(2));
  });

  it("is let go when the picture went while the browser was being asked", async () => {
    lock.want(true);
    lock.stop();
    await vi.waitFor(() => expect(sentinels[0]?.release).toHaveBeenCalledTimes(1));
  });

  it("does as it always does where it is refused or unknown", async () => {
    request.mockRejectedValueOnce(new DOMException("", "NotAllowedError"));
    lock.want(true);
    await vi.waitFor(() => expect(request).toHaveBeenCalledTimes(1));
    Reflect.deleteProperty(navigator, "wakeLock");
    show("visible");
    expect(sentinels).toEqual([]);
  });
});
