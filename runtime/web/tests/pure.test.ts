import { describe, expect, it } from "vitest";
import type { Title } from "../src/api/types";
import { routeOf } from "../src/app";
import { backoffMs } from "../src/backoff";
import { formatClock } from "../src/i18n";
import { matches } from "../src/pages/search";
import { pixelScale, undecodable } from "../src/player/picture";
import { difference, keyCodeOf } from "../src/player/text-input";
import { wantsOurSound } from "../src/player/voice";
import { isPortalLink } from "../src/router";

describe("routes", () => {
  it.each([
    ["/", { page: "catalogue" }],
    ["/session/abc", { page: "session", argument: "abc" }],
    ["/join/a%2Fb", { page: "join", argument: "a/b" }],
    ["/session", { page: "notFound" }],
    ["/session/a/b", { page: "notFound" }],
    ["/nowhere", { page: "notFound" }],
    ["/session/%E0%A4%A", { page: "session", argument: "%E0%A4%A" }],
  ])("%s", (path, route) => {
    expect(routeOf(path)).toEqual(route);
  });

  it("only our own pages are handled without loading", () => {
    const here = window.location.origin;
    expect(isPortalLink(new URL("/session/x", here))).toBe(true);
    expect(isPortalLink(new URL("/docs", here))).toBe(false);
    expect(isPortalLink(new URL("/api/v1/titles", here))).toBe(false);
    expect(isPortalLink(new URL("https://elsewhere.example/"))).toBe(false);
  });
});

describe("search", () => {
  const title = {
    name: "harbour",
    display_name: { en: "Harbour tour", ru: "Гавань" },
    description: { en: "Ships and cranes" },
    tags: ["City"],
  } as unknown as Title;
  it.each([
    ["", true],
    ["SHIPS", true],
    ["гава", true],
    ["city tour", true],
    ["city train", false],
  ])("%s", (words, expected) => {
    expect(matches(title, words)).toBe(expected);
  });
});

it("back-off doubles, is spread, and has a ceiling", () => {
  expect([0, 1, 2, 20].map((n) => backoffMs(n, () => 0.5))).toEqual([500, 1000, 2000, 15_000]);
  expect(backoffMs(0, () => 0)).toBe(375);
  expect(backoffMs(0, () => 1)).toBe(625);
});

it("clock times", () => {
  expect([0, 9.2, 65, 3725, -4].map(formatClock)).toEqual(["0:00", "0:10", "1:05", "1:02:05", "0:00"]);
});

it("what a phone's keyboard did is told from the two texts", () => {
  expect(difference("hel", "hello")).toEqual({ removed: 0, added: "lo" });
  expect(difference("hello", "help")).toEqual({ removed: 2, added: "p" });
  expect(difference("a", "")).toEqual({ removed: 1, added: "" });
  expect(difference("a😀", "a")).toEqual({ removed: 1, added: "" });
  // These two share their first half.
  expect(difference("😀", "😁")).toEqual({ removed: 1, added: "😁" });
});

it("keys of characters", () => {
  expect(["a", "Z", "7", " ", "ж", "!"].map(keyCodeOf)).toEqual([65, 90, 55, 32, undefined, undefined]);
});

describe("pictures", () => {
  const offer =
    "v=0\r\nm=audio 9 X 111\r\na=rtpmap:111 opus/48000/2\r\nm=video 9 X 96 97\r\na=rtpmap:96 H264/90000\r\na=rtpmap:97 rtx/90000\r\n";
  it("say when the browser can decode none of the offered codecs", () => {
    expect(undecodable(offer, [{ mimeType: "video/VP8" }, { mimeType: "video/rtx" }])).toEqual(["H264"]);
    expect(undecodable(offer, [{ mimeType: "video/VP8" }, { mimeType: "video/H264" }])).toBeUndefined();
    expect(undecodable("v=0\r\nm=audio 9 X 111\r\n", [])).toBeUndefined();
  });

  it("are sharp on phones and never larger than full HD", () => {
    expect(pixelScale(390, 844, 3)).toBe(2);
    expect(pixelScale(1280, 800, 1)).toBe(1);
    expect(pixelScale(2560, 1440, 1)).toBe(0.75);
    expect(pixelScale(1280, 800, 2)).toBe(1.5);
  });
});

describe("voice offers", () => {
  const section = (mid: string, kind: string, direction: string): string =>
    `m=${kind} 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:${mid}\r\na=${direction}\r\n`;
  const sdp = `v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n${section("0", "audio", "sendrecv")}${section("1", "audio", "sendonly")}${section("2", "application", "sendrecv")}`;
  it.each([
    ["0", true],
    ["1", false],
    ["2", false],
    ["9", false],
    [null, false],
  ])("section %s takes our sound: %s", (mid, expected) => {
    expect(wantsOurSound(sdp, mid)).toBe(expected);
  });
});
