import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it, vi } from "vitest";
import {
  BOOKING_STATES,
  END_REASONS,
  ERROR_CODES,
  LOCAL_ERROR_CODES,
  ROLES,
  SESSION_STATES,
  START_STEPS,
} from "../src/api/codes";
import * as i18n from "../src/i18n";
import { en, type Texts } from "../src/i18n/en";
import { ru } from "../src/i18n/ru";
import { FROM_RELAY_TYPES, TO_RELAY_TYPES } from "../src/player/room-types";

const LANGUAGES = import.meta.glob<Texts>(["../src/i18n/*.ts", "!../src/i18n/index.ts"], {
  eager: true,
  import: "default",
});
const PROTOCOL = resolve(import.meta.dirname, "../../protocol");

function read(name: string): string {
  return readFileSync(resolve(PROTOCOL, name), "utf-8");
}

/** Values of one StrEnum of states.py, in order. */
function enumValues(name: string): string[] {
  const body = read("states.py").split(`class ${name}(StrEnum):`)[1]?.split("\nclass ")[0] ?? "";
  return [...body.matchAll(/^ {4}[A-Z_]+ = "([a-z_]+)"$/gm)].map((match) => match[1] ?? "");
}

describe("words of the wire are those of the Python sources", () => {
  it("error codes", () => {
    const table = read("errors.py").split("ERRORS: dict")[1]?.split("\n}\n")[0] ?? "";
    const codes = [...table.matchAll(/^ {4}"([a-z_]+)": ErrorKind\(/gm)].map((match) => match[1]);
    expect(codes.length).toBeGreaterThan(20);
    expect([...ERROR_CODES].sort()).toEqual(codes.sort());
  });

  it.each([
    ["EndReason", END_REASONS],
    ["StartStep", START_STEPS],
    ["SessionState", SESSION_STATES],
    ["BookingState", BOOKING_STATES],
    ["Role", ROLES],
  ] as const)("%s", (name, ours) => {
    expect(enumValues(name)).toEqual([...ours]);
  });
});

it("room messages are those of room.py", () => {
  const source = read("room.py");
  const types = (part: string): string[] =>
    [...part.matchAll(/TYPE: ClassVar\[str\] = "([a-z.]+)"/g)].map((match) => match[1] ?? "");
  const [fromClient, toClient] = source.split("# --- relay -> client: parts ---");
  expect(Object.keys(TO_RELAY_TYPES).sort()).toEqual(types(fromClient ?? "").sort());
  expect(Object.keys(FROM_RELAY_TYPES).sort()).toEqual(types(toClient ?? "").sort());
});

describe.each(Object.entries(LANGUAGES))("sentences in %s", (_, texts) => {
  it("every error code has its own sentence and a next step", () => {
    const sentences = [...ERROR_CODES, ...LOCAL_ERROR_CODES].map((code) => texts.errors[code]);
    for (const said of sentences) {
      expect(said.what).toMatch(/[.!?]$/);
      expect(said.fix).toMatch(/[.!?]$/);
    }
    expect(new Set(sentences.map(({ what }) => what)).size).toBe(sentences.length);
  });

  it("every end reason has its own sentence and a next step", () => {
    const sentences = END_REASONS.map((reason) => texts.endings[reason]);
    for (const said of sentences) {
      expect(said.what).toMatch(/[.!?]$/);
      expect(said.fix).toMatch(/[.!?]$/);
    }
    expect(new Set(sentences.map(({ what }) => what)).size).toBe(sentences.length);
  });
});

it.each([
  ["en", en, /^\P{Script=Cyrillic}*$/u],
  ["ru", ru, /\p{Script=Cyrillic}/u],
] as const)("%s is written in its own alphabet", (_, texts, alphabet) => {
  const sentences = [...Object.values(texts.errors), ...Object.values(texts.endings)].flatMap(({ what, fix }) => [
    what,
    fix,
  ]);
  for (const sentence of sentences) expect(sentence).toMatch(alphabet);
});

/** Every key of English is there in the other languages with the same kind of value, and no text is empty. */
function compare(path: string, original: unknown, other: unknown): string[] {
  if (typeof original !== typeof other) return [`${path}: ${typeof original} and ${typeof other}`];
  if (typeof original === "string") return other === "" ? [`${path}: empty`] : [];
  if (typeof original !== "object" || original === null) return [];
  const keys = Object.keys(original);
  const extra = Object.keys(other as object).filter((key) => !keys.includes(key));
  return [
    ...extra.map((key) => `${path}.${key}: unknown`),
    ...keys.flatMap((key) =>
      compare(`${path}.${key}`, (original as Record<string, unknown>)[key], (other as Record<string, unknown>)[key]),
    ),
  ];
}

it.each(Object.entries(LANGUAGES))("%s is complete", (path, texts) => {
  expect(compare(path, en, texts)).toEqual([]);
});

describe("a language is one file", () => {
  it("and each file is on offer under its own name", () => {
    const tags = readdirSync(resolve(import.meta.dirname, "../src/i18n")).map((name) => name.replace(".ts", ""));
    expect(i18n.languages.map(({ tag }) => tag).sort()).toEqual(tags.filter((tag) => tag !== "index").sort());
    expect(i18n.languages).toContainEqual({ tag: "ru", name: "Русский" });
    expect(i18n.languages).toContainEqual({ tag: "en", name: "English" });
  });

  it("without a file a language is refused, and an unknown wish falls back to English", async () => {
    await expect(i18n.setLanguage("xx")).rejects.toThrow("xx");
    vi.spyOn(navigator, "languages", "get").mockReturnValue(["xx-YY"]);
    expect(i18n.preferredLanguage()).toBe("en");
  });
});

it("numbers and dates are those of the visitor's variety of the language on show", async () => {
  vi.spyOn(navigator, "languages", "get").mockReturnValue(["de-AT", "en-GB", "ru-RU"]);
  await i18n.setLanguage("ru");
  // Browsers' data spell the second with a Latin letter here and there.
  expect(i18n.formatRate(2_500_000)).toMatch(/^2,5\sМбит\/[cс]$/);
  expect(i18n.formatMilliseconds(3.25)).toMatch(/^3,3\sмс$/);
  await i18n.setLanguage("en");
  expect(i18n.formatRate(640_000)).toBe("640 kb/s");
  expect(i18n.formatDate(Date.UTC(2026, 10, 24, 12))).toBe("24 Nov 2026");
});

it("Russian counts as Russians do", () => {
  expect([1, 2, 5, 21, 25].map(ru.common.minutes)).toEqual([
    "1 минута",
    "2 минуты",
    "5 минут",
    "21 минута",
    "25 минут",
  ]);
});
