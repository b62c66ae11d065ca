import { type Signal, signal } from "@preact/signals";
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Title } from "../src/api/types";
import { setLanguage } from "../src/i18n";
import type { Draft } from "../src/schedule/booking-form";
import { Calendar } from "../src/schedule/calendar";

// A Wednesday afternoon; its week begins on Monday the 23rd.
const NOW = "2026-11-25T14:20:00Z";
const title = { name: "sample", display_name: { en: "Sample" } } as unknown as Title;

let draft: Signal<Draft>;
let isPhone = false;

function show(): void {
  act(() => render(<Calendar title={title} draft={draft} mine={[]} turn={0} />, document.body));
}

beforeEach(async () => {
  vi.useFakeTimers({ now: new Date(NOW), toFake: ["Date"] });
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(JSON.stringify({ items: [] }))));
  vi.stubGlobal("matchMedia", () => ({ matches: isPhone, addEventListener: vi.fn(), removeEventListener: vi.fn() }));
  isPhone = false;
  draft = signal({ title: "sample", zone: "UTC", day: "2026-11-25", time: "15:00", minutes: 60 } as Draft);
  await setLanguage("en");
});
afterEach(() => {
  render(null, document.body);
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const hour = (day: number, hour: number): HTMLButtonElement => {
  const found = document.querySelector<HTMLButtonElement>(`[data-testid="hour-2026-11-${day}-${hour}"]`);
  if (!found) throw new Error(`there is no ${hour}:00 of ${day} November`);
  return found;
};
const stops = (): string[] => {
  const all = [...document.querySelectorAll<HTMLButtonElement>("button.hour")];
  return all.filter((each) => each.tabIndex === 0 && !each.disabled).map((each) => each.dataset["testid"] ?? "");
};
function press(key: string): void {
  act(() => void document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })));
}

describe("the calendar by keyboard", () => {
  it("is entered at the first hour that is not over", () => {
    show();
    expect(stops()).toEqual(["hour-2026-11-25-14"]);
  });

  it("is entered there on a phone, too", () => {
    isPhone = true;
    show();
    expect(stops()).toEqual(["hour-2026-11-25-14"]);
  });

  it("is entered in the morning of a day or week to come", () => {
    show();
    act(() => document.querySelector<HTMLElement>("[data-testid=calendar-next]")?.click());
    expect(stops()).toEqual(["hour-2026-11-30-8"]);
  });

  it("keeps its stop over hours that are over, which cannot be chosen", () => {
    show();
    act(() => hour(25, 14).focus());
    press("ArrowUp");
    expect(document.activeElement).toBe(hour(25, 13));
    expect(stops()).toEqual(["hour-2026-11-25-13"]);
    act(() => hour(25, 13).click());
    expect([draft.value.day, draft.value.time]).toEqual(["2026-11-25", "15:00"]);
    expect(hour(25, 13).getAttribute("aria-disabled")).toBe("true");
    press("ArrowDown");
    press("ArrowRight");
    expect(document.activeElement).toBe(hour(26, 14));
    act(() => hour(26, 14).click());
    expect([draft.value.day, draft.value.time]).toEqual(["2026-11-26", "14:00"]);
    expect(stops()).toEqual(["hour-2026-11-26-14"]);
  });

  it("moves on from where it was clicked", () => {
    show();
    act(() => {
      hour(25, 9).focus();
      hour(25, 9).click();
    });
    press("ArrowRight");
    expect(document.activeElement).toBe(hour(26, 9));
  });
});

it("the calendar outlives a date field that is emptied", () => {
  show();
  act(() => {
    draft.value = { ...draft.value, day: "" };
  });
  expect(hour(26, 9).getAttribute("aria-pressed")).toBe("false");
});
