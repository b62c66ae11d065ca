import type { AggregatedStats } from "@epicgames-ps/lib-pixelstreamingfrontend-ue5.7";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { setLanguage } from "../src/i18n";
import { LONGEST_NAME } from "../src/player/limits";
import { measure } from "../src/player/measurement";
import { hueOf } from "../src/ui/hue";
import { clearToasts, toast, Toasts } from "../src/ui/toasts";

describe("notices in passing", () => {
  const shown = (): string[] =>
    [...document.querySelectorAll("[data-testid=toast] span")].map((each) => each.textContent);

  beforeEach(async () => {
    vi.useFakeTimers();
    await setLanguage("en");
    act(() => render(<Toasts />, document.body));
  });
  afterEach(() => {
    clearToasts();
    render(null, document.body);
    vi.useRealTimers();
  });

  it("are read out, go by themselves, and are four at most", () => {
    act(() => ["a", "b", "c", "d", "e"].forEach((text) => toast(text)));
    expect(shown()).toEqual(["b", "c", "d", "e"]);
    expect(document.querySelector("[data-testid=toasts]")?.getAttribute("aria-live")).toBe("polite");
    act(() => void vi.advanceTimersByTime(5_000));
    expect(shown()).toEqual([]);
  });

  it("say the same thing once, and then for longer", () => {
    act(() => toast("too much", { kind: "error" }));
    act(() => void vi.advanceTimersByTime(3_000));
    act(() => toast("too much", { kind: "error" }));
    expect(shown()).toEqual(["too much"]);
    act(() => void vi.advanceTimersByTime(3_000));
    expect(shown()).toEqual(["too much"]);
  });

  it("can be closed", () => {
    act(() => toast("a"));
    act(() => document.querySelector<HTMLElement>("[aria-label=Close]")?.click());
    expect(shown()).toEqual([]);
  });
});

describe("one second of the stream", () => {
  const reading = (video: object, pair?: object): AggregatedStats =>
    ({
      inboundVideoStats: { codecId: "c1", bitrate: 1500, framesPerSecond: 30, ...video },
      inboundAudioStats: { bitrate: 64 },
      sessionStats: { videoEncoderAvgQP: 0 },
      codecs: new Map([["c1", { mimeType: "video/H264" }]]),
      localCandidates: [{ id: "l1", candidateType: "host", protocol: "udp" }],
      getActiveCandidatePair: () => pair,
    }) as unknown as AggregatedStats;

  it("loss and decoding are those since the reading before", () => {
    const first = measure(
      reading({ packetsReceived: 900, packetsLost: 100, framesDecoded: 30, totalDecodeTime: 0.3 }),
      undefined,
    );
    expect(first.lossFraction).toBeCloseTo(0.1);
    const second = measure(
      reading({ packetsReceived: 1900, packetsLost: 100, framesDecoded: 60, totalDecodeTime: 0.45 }),
      first,
    );
    expect(second.lossFraction).toBe(0);
    expect(second.decodeMs).toBeCloseTo(5);
    expect([second.codec, second.videoBps, second.audioBps]).toEqual(["H264", 1_500_000, 64_000]);
  });

  it("what the browser does not know stays unknown", () => {
    const nothing = measure(reading({}), undefined);
    expect([nothing.roundTripMs, nothing.decodeMs, nothing.quantiser, nothing.route]).toEqual([null, null, null, ""]);
    const routed = measure(reading({}, { localCandidateId: "l1", currentRoundTripTime: 0.012 }), undefined);
    expect([routed.roundTripMs, routed.route]).toEqual([12, "host udp"]);
  });

  it("a counter that starts again (packets found after all) is no negative loss", () => {
    const first = measure(reading({ packetsReceived: 100, packetsLost: 10 }), undefined);
    expect(measure(reading({ packetsReceived: 200, packetsLost: 4 }), first).lossFraction).toBe(0);
  });
});

it("names may be as long as the relay takes them", () => {
  const source = readFileSync(resolve(import.meta.dirname, "../../relay/core/plain_text.py"), "utf-8");
  expect(source).toContain(`MAX_NAME_CHARACTERS = ${LONGEST_NAME}\n`);
});

it("names that are alike do not look alike", () => {
  const hues = ["t0", "t1", "t2", "t3"].map(hueOf);
  for (const a of hues) for (const b of hues) if (a !== b) expect(Math.abs(a - b)).toBeGreaterThan(40);
  expect(new Set(hues).size).toBe(4);
});
