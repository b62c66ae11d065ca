import { type Signal, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { request } from "../api/client";
import type { Booking, FreeStretch, Title } from "../api/types";
import { formatDay, formatMonth, localText, t } from "../i18n";
import { Icon } from "../ui/icons";
import { useMedia } from "../ui/use-media";
import type { Draft } from "./booking-form";
import { freeThroughout } from "./plan";
import { addDays, epochOf, mondayOf, wallClock } from "./zone";

const HOUR_MS = 3_600_000;
const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const FIRST_SHOWN_HOUR = 8;
const LAST_SHOWN_HOUR = 19;

interface CalendarProps {
  title: Title;
  draft: Signal<Draft>;
  mine: Booking[];
  /** Changes when the free places may have changed. */
  turn: number;
}

/** A week (a day on phones) of one title: free places by hour, own bookings, and the window in the form. */
export function Calendar({ title, draft, mine, turn }: CalendarProps): JSX.Element {
  const isNarrow = useMedia("(max-width: 52rem)");
  const shown = useSignal(draft.value.day);
  const stretches = useSignal<FreeStretch[]>([]);
  const { zone, day } = draft.value;

  // The form leads: a day typed there comes into view.
  useEffect(() => {
    if (/^\d{4}-\d\d-\d\d$/.test(day)) shown.value = day;
  }, [day, shown]);

  const first = isNarrow ? shown.value : mondayOf(shown.value);
  const days = Array.from({ length: isNarrow ? 1 : 7 }, (_, n) => addDays(first, n));
  useEffect(() => {
    const abort = new AbortController();
    const from = epochOf(first, "00:00", zone);
    const to = epochOf(addDays(first, days.length), "00:00", zone);
    const path = `/api/v1/titles/${encodeURIComponent(title.name)}/schedule?from=${from}&to=${to}`;
    request<{ items: FreeStretch[] }>("GET", path, { signal: abort.signal }).then(
      ({ items }) => {
        stretches.value = items;
      },
      // Without it the form still works, and says when a window is taken.
      () => {
        if (!abort.signal.aborted) stretches.value = [];
      },
    );
    return () => abort.abort();
  }, [title.name, first, days.length, zone, turn, stretches]);

  const texts = t().schedule;
  const step = isNarrow ? 1 : 7;
  const today = wallClock(Date.now(), zone).day;
  return (
    <section class="calendar" aria-label={texts.calendar(localText(title.display_name, title.name))}>
      <header class="calendar-head">
        <h2>{isNarrow ? formatDay(first, "long") : formatMonth(addDays(first, 3))}</h2>
        <div class="calendar-tools">
          <button
            type="button"
            class="button compact"
            aria-label={texts.previous}
            disabled={first <= today}
            onClick={() => {
              shown.value = addDays(shown.value, -step);
            }}
          >
            <Icon name="chevronLeft" size={18} />
          </button>
          <button
            type="button"
            class="button compact"
            onClick={() => {
              shown.value = today;
            }}
          >
            {texts.today}
          </button>
          <button
            type="button"
            class="button compact"
            aria-label={texts.next}
            data-testid="calendar-next"
            onClick={() => {
              shown.value = addDays(shown.value, step);
            }}
          >
            <Icon name="chevronRight" size={18} />
          </button>
        </div>
      </header>
      <Grid days={days} draft={draft} mine={mine} stretches={stretches.value} title={title} />
      <p class="muted small">{texts.inZone(zone.replaceAll("_", " "))}</p>
    </section>
  );
}

interface GridProps {
  days: string[];
  draft: Signal<Draft>;
  mine: Booking[];
  stretches: FreeStretch[];
  title: Title;
}

function Grid({ days, draft, mine, stretches, title }: GridProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const { zone } = draft.value;
  const chosen = { start: epochOf(draft.value.day, draft.value.time, zone), minutes: draft.value.minutes };
  // One stop for the Tab key; arrows move within. Other days begin anew, with a cell that can be chosen.
  const reached = useSignal<(Stop & { first: string }) | undefined>(undefined);
  const first = days[0] ?? "";
  const kept = reached.value?.first === first && reached.value.day < days.length ? reached.value : undefined;
  const stop = kept ?? firstToCome(days, zone);
  const reach = ({ day, hour }: Stop): void => {
    if (kept?.day !== day || kept.hour !== hour) reached.value = { first, day, hour };
  };

  useEffect(() => {
    // Office hours, unless the window in the form lies outside of them.
    const hour = Number(draft.peek().time.slice(0, 2));
    const first = hour >= FIRST_SHOWN_HOUR && hour <= LAST_SHOWN_HOUR ? FIRST_SHOWN_HOUR : Math.max(0, hour - 2);
    const row = box.current?.querySelector<HTMLElement>(`[data-hour="${first}"]`);
    const head = box.current?.querySelector<HTMLElement>("thead");
    // The heading stays in view and would cover the row.
    if (row && head && box.current) box.current.scrollTop = row.offsetTop - head.offsetHeight;
  }, []);

  const move = (event: KeyboardEvent): void => {
    const { day, hour } = stop;
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const by = moves[event.key];
    if (!by) return;
    event.preventDefault();
    const next = { day: clamp(day + by[0], days.length - 1), hour: clamp(hour + by[1], 23) };
    reach(next);
    box.current?.querySelector<HTMLElement>(`[data-cell="${next.day}-${next.hour}"]`)?.focus();
  };
  return (
    <div ref={box} class="calendar-scroll">
      <table class="calendar-grid" style={{ "--days": String(days.length) }} onKeyDown={move}>
        <thead>
          <tr>
            <td />
            {days.map((day) => (
              <th key={day} scope="col">
                {formatDay(day, "short")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {HOURS.map((hour) => (
            <tr key={hour} data-hour={hour}>
              <th scope="row">{timeOf(hour)}</th>
              {days.map((day, place) => (
                <td key={day}>
                  <HourCell
                    day={day}
                    hour={hour}
                    zone={zone}
                    stretches={stretches}
                    mine={mine.filter((booking) => booking.title === title.name)}
                    chosen={chosen}
                    cell={`${place}-${hour}`}
                    isStop={stop.day === place && stop.hour === hour}
                    onReach={() => reach({ day: place, hour })}
                    onChoose={(time) => {
                      draft.value = { ...draft.value, day, time };
                    }}
                  />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A cell by its column and its hour. */
interface Stop {
  day: number;
  hour: number;
}

interface HourCellProps {
  day: string;
  hour: number;
  zone: string;
  stretches: FreeStretch[];
  mine: Booking[];
  chosen: { start: number; minutes: number };
  cell: string;
  isStop: boolean;
  onReach: () => void;
  onChoose: (time: string) => void;
}

function HourCell(props: HourCellProps): JSX.Element {
  const { day, hour, zone, stretches, mine, chosen, cell, isStop, onReach, onChoose } = props;
  const texts = t().schedule;
  const time = timeOf(hour);
  const from = epochOf(day, time, zone);
  const to = from + HOUR_MS;
  const isPast = isOver(day, hour, zone);
  const free = isPast ? 0 : freeThroughout(stretches, Math.max(from, Date.now()), to);
  const isOwn = mine.some(({ starts_at, ends_at, state }) => state !== "cancelled" && starts_at < to && ends_at > from);
  const isChosen = chosen.start < to && chosen.start + chosen.minutes * 60_000 > from;
  const state = isPast ? texts.past : free > 0 ? texts.free(free) : texts.full;
  const level = isPast ? "past" : free === 0 ? "full" : free === 1 ? "one" : "free";
  return (
    <button
      type="button"
      class={`hour hour-${level} ${isOwn ? "hour-own" : ""} ${isChosen ? "hour-chosen" : ""}`}
      data-cell={cell}
      data-testid={`hour-${day}-${hour}`}
      data-free={free}
      tabIndex={isStop ? 0 : -1}
      // Not `disabled`, which would take the focus away from under the arrow keys.
      aria-disabled={isPast}
      aria-pressed={isChosen}
      aria-label={[formatDay(day, "long"), time, state, isOwn ? texts.yourBooking : ""].filter(Boolean).join(", ")}
      title={state}
      onFocus={onReach}
      onClick={() => {
        // Safari gives a clicked button no focus.
        onReach();
        if (!isPast) onChoose(time);
      }}
    >
      {isPast ? "" : free > 0 ? free : "–"}
    </button>
  );
}

/** The first hour that is not over, if possible one that is in view from the beginning. */
function firstToCome(days: string[], zone: string): Stop {
  for (const [day, date] of days.entries()) {
    const hour = HOURS.find((each) => each >= FIRST_SHOWN_HOUR && !isOver(date, each, zone));
    if (hour !== undefined) return { day, hour };
  }
  return { day: 0, hour: FIRST_SHOWN_HOUR };
}

function isOver(day: string, hour: number, zone: string): boolean {
  return epochOf(day, timeOf(hour), zone) + HOUR_MS <= Date.now();
}

function timeOf(hour: number): string {
  return `${String(hour).padStart(2, "0")}:00`;
}

function clamp(value: number, most: number): number {
  return Math.max(0, Math.min(most, value));
}
