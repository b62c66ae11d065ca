import { computed, signal } from "@preact/signals";
import type { ApiError } from "../api/client";
import type { LocalText } from "../api/types";
import { recall, remember } from "../storage";
import type { Said, Texts } from "./en";

/** Every language is one file beside this one, named by its tag, whose default export has the shape `Texts`. */
const files = import.meta.glob<Texts>(["./*.ts", "!./index.ts"], { import: "default" });
const loaders = new Map(Object.entries(files).map(([path, load]) => [path.replace(/^\.\/|\.ts$/g, ""), load]));

export const languages = [...loaders.keys()].map((tag) => ({ tag, name: ownName(tag) }));

/** What its speakers call it: "English", "Русский". */
function ownName(tag: string): string {
  const name = new Intl.DisplayNames([tag], { type: "language" }).of(tag) ?? tag;
  return name.charAt(0).toLocaleUpperCase(tag) + name.slice(1);
}

const texts = signal<Texts | undefined>(undefined);
export const language = signal("en");

/** The visitor's own variety of the language on show ("en-GB" of "en"): dates and numbers follow it. */
const locale = computed(
  () => navigator.languages.find((tag) => tag.split("-")[0] === language.value.split("-")[0]) ?? language.value,
);

const unit = (name: string): Intl.NumberFormat =>
  new Intl.NumberFormat(locale.value, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: 1 });

const formats = computed(() => ({
  time: new Intl.DateTimeFormat(locale.value, { hour: "2-digit", minute: "2-digit" }),
  date: new Intl.DateTimeFormat(locale.value, { dateStyle: "medium" }),
  dateTime: new Intl.DateTimeFormat(locale.value, { dateStyle: "medium", timeStyle: "short" }),
  number: new Intl.NumberFormat(locale.value, { maximumFractionDigits: 1 }),
  percent: new Intl.NumberFormat(locale.value, { style: "percent", maximumFractionDigits: 1 }),
  milliseconds: unit("millisecond"),
  kilobits: unit("kilobit-per-second"),
  megabits: unit("megabit-per-second"),
}));

/** The texts of the current language; a component that calls it is drawn again when the language changes. */
export function t(): Texts {
  const current = texts.value;
  if (current === undefined) throw new Error("setLanguage must have finished before the first text is used");
  return current;
}

/** Load a language and switch to it; rejects when its file cannot be fetched. */
export async function setLanguage(tag: string, keep = false): Promise<void> {
  const loaded = await loaders.get(tag)?.();
  if (!loaded) throw new Error(`there is no file for the language ${tag}`);
  language.value = tag;
  texts.value = loaded;
  document.documentElement.lang = tag;
  if (keep) remember("language", tag);
}

export function isLanguage(tag: string | null): tag is string {
  return tag !== null && loaders.has(tag);
}

/** The remembered language, else the first of the browser's that we have, else English. */
export function preferredLanguage(): string {
  const wanted = [recall("language") ?? "", ...navigator.languages];
  for (const tag of wanted) {
    const found = [tag, tag.split("-")[0] ?? ""].find(isLanguage);
    if (found !== undefined) return found;
  }
  return "en";
}

/** The best version of an operator's text: current language, English, or any. */
export function localText(text: LocalText | undefined, fallback = ""): string {
  if (!text) return fallback;
  return text[language.value] ?? text["en"] ?? Object.values(text)[0] ?? fallback;
}

export function errorText(error: ApiError): Said {
  return t().errors[error.code];
}

export const formatTime = (ms: number): string => formats.value.time.format(ms);
export const formatDate = (ms: number): string => formats.value.date.format(ms);
export const formatDateTime = (ms: number): string => formats.value.dateTime.format(ms);
export const formatNumber = (value: number): string => formats.value.number.format(value);
export const formatMilliseconds = (ms: number): string => formats.value.milliseconds.format(ms);
export const formatPercent = (fraction: number): string => formats.value.percent.format(fraction);

/** "Tue, 24 Nov, 14:00 – 15:00", in a time zone. */
export function formatWindow(from: number, to: number, timeZone: string): string {
  const format = new Intl.DateTimeFormat(locale.value, {
    timeZone,
    weekday: "short",
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
  });
  return format.formatRange(from, to);
}

/** A day of the calendar, "Tue 24" or "Tuesday, 24 November". */
export function formatDay(day: string, style: "short" | "long"): string {
  const parts: Intl.DateTimeFormatOptions =
    style === "short" ? { weekday: "short", day: "numeric" } : { weekday: "long", day: "numeric", month: "long" };
  return new Intl.DateTimeFormat(locale.value, { ...parts, timeZone: "UTC" }).format(Date.parse(`${day}T00:00:00Z`));
}

/** "November 2026". */
export function formatMonth(day: string): string {
  const format = new Intl.DateTimeFormat(locale.value, { month: "long", year: "numeric", timeZone: "UTC" });
  return format.format(Date.parse(`${day}T00:00:00Z`));
}

const BYTE_UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;

/** 1500000000 → "1.5 GB". */
export function formatBytes(bytes: number): string {
  const step = bytes > 0 ? Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log10(bytes) / 3)) : 0;
  const format = new Intl.NumberFormat(locale.value, {
    style: "unit",
    unit: BYTE_UNITS[step] ?? "byte",
    unitDisplay: "short",
    maximumFractionDigits: 1,
  });
  return format.format(bytes / 1000 ** step);
}

/** 2500000 → "2.5 Mb/s". */
export function formatRate(bitsPerSecond: number): string {
  const { kilobits, megabits } = formats.value;
  return bitsPerSecond >= 1e6 ? megabits.format(bitsPerSecond / 1e6) : kilobits.format(bitsPerSecond / 1e3);
}

/** 65 → "1:05", 3725 → "1:02:05". */
export function formatClock(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  const pad = (n: number): string => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/** "3 minutes", "40 seconds": for sentences. */
export function formatDuration(seconds: number): string {
  const { days, hours, minutes, seconds: inSeconds } = t().common;
  if (seconds < 90) return inSeconds(Math.max(1, Math.round(seconds)));
  if (seconds < 90 * 60) return minutes(Math.round(seconds / 60));
  if (seconds < 36 * 3600) return hours(Math.round(seconds / 3600));
  return days(Math.round(seconds / 86_400));
}
