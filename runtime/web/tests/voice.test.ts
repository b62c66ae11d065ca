import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { JoinReply, Session } from "../src/api/types";
import { PlayerModel } from "../src/player/model";
import type { ToRelay } from "../src/player/room-types";
import { Voice } from "../src/player/voice";

// Stands in for the browser: every request for the microphone waits until the test answers it.
class Track {
  enabled = true;
  stop = vi.fn();
}

interface Prompt {
  allow: () => Track;
  refuse: () => void;
}

const prompts: Prompt[] = [];
const sent: ToRelay[] = [];
let voice: Voice;

const getUserMedia = (): Promise<MediaStream> =>
  new Promise((resolve, reject) => {
    prompts.push({
      allow: () => {
        const track = new Track();
        resolve({ getTracks: () => [track], getAudioTracks: () => [track] } as unknown as MediaStream);
        return track;
      },
      refuse: () => reject(new DOMException("", "NotAllowedError")),
    });
  });

function prompt(n: number): Prompt {
  const found = prompts[n];
  if (!found) throw new Error(`the microphone was not asked for ${n + 1} times`);
  return found;
}

beforeEach(() => {
  prompts.length = 0;
  sent.length = 0;
  vi.useFakeTimers();
  Object.defineProperty(navigator, "mediaDevices", { configurable: true, value: { getUserMedia } });
  voice = new Voice(
    (message) => {
      sent.push(message);
      return true;
    },
    () => [],
  );
});
afterEach(() => {
  voice.leave();
  vi.useRealTimers();
  Reflect.deleteProperty(navigator, "mediaDevices");
});

describe("the microphone", () => {
  it("is open from the permission until one leaves", async () => {
    const joining = voice.join();
    expect(voice.status.value).toBe("asking");
    const track = prompt(0).allow();
    await joining;
    expect(voice.status.value).toBe("connecting");
    expect(track.enabled).toBe(true);
    voice.leave();
    expect(track.stop).toHaveBeenCalled();
  });

  it("is not opened by a permission that comes after one has left", async () => {
    const joining = voice.join();
    voice.leave();
    sent.length = 0;
    const track = prompt(0).allow();
    await joining;
    expect(track.stop).toHaveBeenCalled();
    expect(voice.status.value).toBe("off");
    expect(sent).toEqual([]);
  });

  it("a refusal that comes after one has left is no failure", async () => {
    const joining = voice.join();
    voice.leave();
    prompt(0).refuse();
    await joining;
    expect([voice.status.value, voice.problem.value]).toEqual(["off", undefined]);
  });

  it("an earlier request does not speak for a later one", async () => {
    const first = voice.join();
    voice.leave();
    const second = voice.join();
    const early = prompt(0).allow();
    await first;
    expect([voice.status.value, early.stop.mock.calls.length]).toEqual(["asking", 1]);
    const late = prompt(1).allow();
    await second;
    expect([voice.status.value, late.stop.mock.calls.length]).toEqual(["connecting", 0]);
  });

  it("does not stay open when the player goes while the browser asks", async () => {
    const model = new PlayerModel({
      session: {} as Session,
      title: undefined,
      join: { role: "watcher", ice_servers: [] } as unknown as JoinReply,
      rejoin: () => Promise.reject(new Error("not needed")),
      onEnded: vi.fn(),
      onRefused: vi.fn(),
      onNotice: vi.fn(),
      onError: vi.fn(),
    });
    const joining = model.voice.join();
    model.stop();
    const track = prompt(0).allow();
    await joining;
    expect(track.stop).toHaveBeenCalled();
    expect(model.voice.status.value).toBe("off");
  });

  it("is silent from the beginning for whoever muted it while the browser asked", async () => {
    const joining = voice.join();
    voice.setMuted(true);
    const track = prompt(0).allow();
    await joining;
    expect(track.enabled).toBe(false);
  });
});

describe("what the relay knows of the microphone", () => {
  const mutes = (): boolean[] => sent.flatMap((message) => (message.type === "voice.mute" ? [message.muted] : []));

  it("is said at the start: it may remember a mute from before a reload", async () => {
    const joining = voice.join();
    prompt(0).allow();
    await joining;
    expect(sent).toEqual([{ type: "voice.join" }, { type: "voice.mute", muted: false }]);
  });

  it("is said again when the room is back: unmuting may have been lost", async () => {
    const joining = voice.join();
    prompt(0).allow();
    await joining;
    voice.setMuted(true);
    // The socket is down from here on, so this one does not arrive.
    voice.setMuted(false);
    sent.length = 0;
    voice.reconnected();
    expect(mutes()).toEqual([false]);
    voice.setMuted(true);
    sent.length = 0;
    voice.reconnected();
    expect(mutes()).toEqual([true]);
  });
});
