/** Wall clock times of a time zone; pure. Days are ISO dates ("2026-11-24"), times of day "HH:MM". */

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string): Intl.DateTimeFormat {
  let found = formats.get(zone);
  if (!found) {
    found = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
    formats.set(zone, found);
  }
  return found;
}

export interface WallClock {
  day: string;
  time: string;
}

/** What calendar and clock of `zone` show at `ms`. */
export function wallClock(ms: number, zone: string): WallClock {
  const parts = new Map(
    format(zone)
      .formatToParts(ms)
      .map(({ type, value }) => [type, value]),
  );
  const part = (name: Intl.DateTimeFormatPartTypes): string => parts.get(name) ?? "";
  // Years of less than four digits are on the way while somebody types one.
  return {
    day: `${part("year").padStart(4, "0")}-${part("month")}-${part("day")}`,
    time: `${part("hour")}:${part("minute")}`,
  };
}

/**
 * The moment at which the clocks of `zone` show this. Of a time that comes twice (clocks go back) the first one; a time that
 * is skipped (clocks go forward) is taken as if the clocks had not been changed yet. NaN of what is no day or time, such as
 * a field that has been emptied.
 */
export function epochOf(day: string, time: string, zone: string): number {
  const asIfUtc = Date.parse(`${day}T${time}:00Z`);
  if (Number.isNaN(asIfUtc)) return Number.NaN;
  // An offset lies within a day, and changes by less: two guesses reach it from either side.
  const guesses = [offset(asIfUtc - 86_400_000, zone), offset(asIfUtc + 86_400_000, zone)].map(
    (each) => asIfUtc - each,
  );
  const right = guesses.filter((ms) => offset(ms, zone) === asIfUtc - ms);
  return right.length > 0 ? Math.min(...right) : Math.max(...guesses);
}

/** How far the clocks of `zone` are ahead of UTC at `ms`, in ms. */
function offset(ms: number, zone: string): number {
  const { day, time } = wallClock(ms, zone);
  const minutes = Math.floor(ms / 60_000) * 60_000;
  return Date.parse(`${day}T${time}:00Z`) - minutes;
}

export function addDays(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/** 0 is Monday. */
export function weekday(day: string): number {
  return (new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7;
}

export function mondayOf(day: string): string {
  return addDays(day, -weekday(day));
}

export function localZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** Every zone that the browser knows, the local one first. */
export function allZones(): string[] {
  const known = typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
  return [...new Set([localZone(), "UTC", ...known])];
}
