/** Free places over time, and series; pure. */

import type { FreeStretch } from "../api/types";
import { weekday } from "./zone";

/** Places that are free throughout [from, to); 0 where nothing is said. */
export function freeThroughout(stretches: readonly FreeStretch[], from: number, to: number): number {
  let reached = from;
  let free = Number.POSITIVE_INFINITY;
  for (const stretch of stretches) {
    if (stretch.ends_at <= reached || stretch.starts_at >= to) continue;
    if (stretch.starts_at > reached) return 0;
    free = Math.min(free, stretch.free);
    reached = stretch.ends_at;
  }
  return reached >= to && Number.isFinite(free) ? free : 0;
}

export const REPEATS = ["never", "daily", "weekdays", "weekly"] as const;
export type Repeat = (typeof REPEATS)[number];

const DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"] as const;

/** RFC 5545 recurrence rule of a choice; undefined for a single window. */
export function ruleOf(repeat: Repeat, times: number, firstDay: string): string | undefined {
  const count = `COUNT=${Math.max(1, Math.round(times))}`;
  if (repeat === "never" || times <= 1) return undefined;
  if (repeat === "daily") return `FREQ=DAILY;${count}`;
  if (repeat === "weekdays") return `FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;${count}`;
  return `FREQ=WEEKLY;BYDAY=${DAYS[weekday(firstDay)] ?? "MO"};${count}`;
}

export const LENGTHS_MINUTES = [30, 60, 90, 120, 180, 240, 480] as const;

/** The next full half hour after `ms`. */
export function nextHalfHour(ms: number): number {
  const half = 30 * 60_000;
  return Math.ceil((ms + 1) / half) * half;
}
