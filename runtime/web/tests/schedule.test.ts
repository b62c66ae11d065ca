import { describe, expect, it } from "vitest";
import { freeThroughout, nextHalfHour, ruleOf } from "../src/schedule/plan";
import { addDays, epochOf, mondayOf, wallClock, weekday } from "../src/schedule/zone";

const utc = (text: string): number => Date.parse(`${text}Z`);

describe("time zones", () => {
  it.each([
    ["2026-11-24", "14:30", "UTC", "2026-11-24T14:30:00"],
    ["2026-11-24", "14:30", "Europe/Moscow", "2026-11-24T11:30:00"],
    ["2026-07-01", "00:15", "America/New_York", "2026-07-01T04:15:00"],
    ["2026-07-01", "23:45", "Asia/Kathmandu", "2026-07-01T18:00:00"],
    ["2026-07-01", "06:00", "Pacific/Kiritimati", "2026-06-30T16:00:00"],
    // Clocks go back on 25 October at 3:00: the first 2:30 is meant.
    ["2026-10-25", "02:30", "Europe/Berlin", "2026-10-25T00:30:00"],
    ["2026-10-25", "03:30", "Europe/Berlin", "2026-10-25T02:30:00"],
    // Clocks go forward on 29 March at 2:00: there is no 2:30.
    ["2026-03-29", "02:30", "Europe/Berlin", "2026-03-29T01:30:00"],
    ["2026-03-29", "01:59", "Europe/Berlin", "2026-03-29T00:59:00"],
    ["2026-03-29", "03:00", "Europe/Berlin", "2026-03-29T01:00:00"],
  ])("%s %s in %s", (day, time, zone, expected) => {
    expect(new Date(epochOf(day, time, zone)).toISOString().slice(0, 19)).toBe(expected);
  });

  it("there and back again, every hour of a year", () => {
    for (const zone of ["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Tokyo"]) {
      for (let ms = utc("2026-01-01T00:00"); ms < utc("2027-01-01T00:00"); ms += 7 * 3_600_000) {
        const { day, time } = wallClock(ms, zone);
        const back = epochOf(day, time, zone);
        // Twice a year the same clock time names two moments.
        expect(wallClock(back, zone)).toEqual({ day, time });
        expect(Math.abs(back - ms)).toBeLessThanOrEqual(3_600_000);
      }
    }
  });

  it("a field that is empty, or whose year is still being typed", () => {
    expect(epochOf("", "14:30", "Europe/Berlin")).toBeNaN();
    expect(epochOf("2026-11-24", "", "Europe/Berlin")).toBeNaN();
    expect(epochOf("0002-11-24", "14:30", "UTC")).toBe(utc("0002-11-24T14:30"));
    expect(wallClock(utc("0202-11-24T14:30"), "UTC")).toEqual({ day: "0202-11-24", time: "14:30" });
  });

  it("days and weeks", () => {
    expect(addDays("2026-12-31", 1)).toBe("2027-01-01");
    expect(addDays("2028-02-28", 1)).toBe("2028-02-29");
    expect(weekday("2026-11-23")).toBe(0);
    expect(mondayOf("2026-11-29")).toBe("2026-11-23");
  });
});

describe("free places", () => {
  const stretches = [
    { starts_at: 0, ends_at: 100, free: 3 },
    { starts_at: 100, ends_at: 200, free: 1 },
    { starts_at: 200, ends_at: 300, free: 0 },
  ];
  it.each([
    [0, 50, 3],
    [0, 100, 3],
    [50, 150, 1],
    [150, 250, 0],
    [250, 350, 0],
    [-10, 50, 0],
  ])("from %s to %s", (from, to, expected) => {
    expect(freeThroughout(stretches, from, to)).toBe(expected);
  });
});

it("recurrence rules", () => {
  expect(ruleOf("never", 9, "2026-11-24")).toBeUndefined();
  expect(ruleOf("weekly", 1, "2026-11-24")).toBeUndefined();
  expect(ruleOf("daily", 5, "2026-11-24")).toBe("FREQ=DAILY;COUNT=5");
  expect(ruleOf("weekly", 4, "2026-11-24")).toBe("FREQ=WEEKLY;BYDAY=TU;COUNT=4");
  expect(ruleOf("weekdays", 10, "2026-11-24")).toBe("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;COUNT=10");
});

it("the next half hour", () => {
  expect(nextHalfHour(utc("2026-11-24T14:29:59"))).toBe(utc("2026-11-24T14:30"));
  expect(nextHalfHour(utc("2026-11-24T14:30"))).toBe(utc("2026-11-24T15:00"));
});
