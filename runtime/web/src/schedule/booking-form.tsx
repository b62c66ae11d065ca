import { type Signal, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { type ApiError, asApiError, request } from "../api/client";
import type { Booking, BookingPage, Title } from "../api/types";
import { formatWindow, localText, t } from "../i18n";
import { Icon } from "../ui/icons";
import { ErrorNote } from "../ui/message";
import { GuestRows, type Guest } from "./guests";
import { LENGTHS_MINUTES, REPEATS, type Repeat, ruleOf } from "./plan";
import { allZones, epochOf, wallClock } from "./zone";

/** What the form holds; day and time are wall clock in `zone`. */
export interface Draft {
  title: string;
  zone: string;
  day: string;
  time: string;
  minutes: number;
  label: string;
  repeat: Repeat;
  times: number;
  guests: Guest[];
}

interface Window {
  starts_at: number;
  ends_at: number;
}

/** Details of the refusal `window_taken`. */
interface Taken {
  taken: Window[];
  next: Window | null;
}

interface BookingFormProps {
  titles: Title[];
  draft: Signal<Draft>;
  onMade: (bookings: Booking[]) => void;
}

export function BookingForm({ titles, draft, onMade }: BookingFormProps): JSX.Element {
  const error = useSignal<ApiError | undefined>(undefined);
  const busy = useSignal(false);
  const texts = t().schedule;
  const value = draft.value;
  const change = (changes: Partial<Draft>): void => {
    draft.value = { ...draft.value, ...changes };
    error.value = undefined;
  };

  const book = async (): Promise<void> => {
    busy.value = true;
    error.value = undefined;
    try {
      const answer = await request<BookingPage>("POST", "/api/v1/bookings", { body: requestOf(draft.value) });
      onMade(answer.items);
    } catch (reason) {
      error.value = asApiError(reason);
    } finally {
      busy.value = false;
    }
  };
  const takeNext = (next: Window): void => {
    const { day, time } = wallClock(next.starts_at, draft.value.zone);
    change({ day, time });
    void book();
  };

  return (
    <form
      class="booking-form"
      data-testid="booking-form"
      onSubmit={(event) => {
        event.preventDefault();
        void book();
      }}
    >
      <label class="field">
        <span>{texts.title}</span>
        <select
          class="input"
          data-testid="booking-title"
          value={value.title}
          onChange={(event) => change({ title: event.currentTarget.value })}
        >
          {titles.map((title) => (
            <option key={title.name} value={title.name}>
              {localText(title.display_name, title.name)}
            </option>
          ))}
        </select>
      </label>
      <div class="field-row">
        <label class="field">
          <span>{texts.day}</span>
          <input
            class="input"
            type="date"
            required
            data-testid="booking-day"
            min={wallClock(Date.now(), value.zone).day}
            value={value.day}
            onInput={(event) => change({ day: event.currentTarget.value })}
          />
        </label>
        <label class="field">
          <span>{texts.start}</span>
          <input
            class="input"
            type="time"
            required
            data-testid="booking-time"
            value={value.time}
            onInput={(event) => change({ time: event.currentTarget.value })}
          />
        </label>
      </div>
      <div class="field-row">
        <label class="field">
          <span>{texts.length}</span>
          <select
            class="input"
            data-testid="booking-length"
            value={String(value.minutes)}
            onChange={(event) => change({ minutes: Number(event.currentTarget.value) })}
          >
            {LENGTHS_MINUTES.map((minutes) => (
              <option key={minutes} value={String(minutes)}>
                {minutes % 60 === 0 ? t().common.hours(minutes / 60) : t().common.minutes(minutes)}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>{texts.repeat}</span>
          <select
            class="input"
            data-testid="booking-repeat"
            value={value.repeat}
            onChange={(event) => change({ repeat: event.currentTarget.value as Repeat })}
          >
            {REPEATS.map((each) => (
              <option key={each} value={each}>
                {texts.repeats[each]}
              </option>
            ))}
          </select>
        </label>
        {value.repeat !== "never" && (
          <label class="field">
            <span>{texts.times}</span>
            <input
              class="input"
              type="number"
              min="2"
              max="60"
              required
              data-testid="booking-times"
              value={value.times}
              onInput={(event) => change({ times: Number(event.currentTarget.value) })}
            />
          </label>
        )}
      </div>
      <label class="field">
        <span>{texts.zone}</span>
        <select
          class="input"
          data-testid="booking-zone"
          value={value.zone}
          onChange={(event) => change({ zone: event.currentTarget.value })}
        >
          {allZones().map((zone) => (
            <option key={zone} value={zone}>
              {zone.replaceAll("_", " ")}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>{texts.label}</span>
        <input
          class="input"
          maxLength={100}
          data-testid="booking-label"
          value={value.label}
          onInput={(event) => change({ label: event.currentTarget.value })}
        />
      </label>
      <GuestRows guests={value.guests} onChange={(guests) => change({ guests })} />
      {error.value && <Refusal error={error.value} zone={value.zone} onTakeNext={takeNext} />}
      <button type="submit" class="button primary" data-testid="book" disabled={busy.value}>
        <Icon name="calendar" />
        {busy.value ? texts.booking : texts.book}
      </button>
    </form>
  );
}

export function requestOf(draft: Draft): Record<string, unknown> {
  const start = epochOf(draft.day, draft.time, draft.zone);
  const rule = ruleOf(draft.repeat, draft.times, draft.day);
  return {
    title: draft.title,
    starts_at: start,
    ends_at: start + draft.minutes * 60_000,
    time_zone: draft.zone,
    label: draft.label.trim(),
    ...(rule ? { rrule: rule } : {}),
    invitees: draft.guests.map(({ role, name, email }) => ({
      role,
      ...(name.trim() ? { name: name.trim() } : {}),
      ...(email.trim() ? { email: email.trim() } : {}),
    })),
  };
}

interface RefusalProps {
  error: ApiError;
  zone: string;
  onTakeNext: (next: Window) => void;
}

/** A refusal; of a window without room with the next one that has some. */
function Refusal({ error, zone, onTakeNext }: RefusalProps): JSX.Element {
  const texts = t().schedule;
  if (error.code !== "window_taken" || !error.details) {
    return <ErrorNote error={error}>{error.code === "bad_request" && <p class="small">{error.message}</p>}</ErrorNote>;
  }
  const { taken, next } = error.details as Taken;
  const show = ({ starts_at, ends_at }: Window): string => formatWindow(starts_at, ends_at, zone);
  return (
    <ErrorNote error={error}>
      {taken.length > 0 && (
        <p class="small">
          {texts.taken} {taken.slice(0, 3).map(show).join("; ")}
        </p>
      )}
      {next ? (
        <>
          <p data-testid="next-free">{texts.nextFree(show(next))}</p>
          <button type="button" class="button" data-testid="take-next" onClick={() => onTakeNext(next)}>
            {texts.takeNext}
          </button>
        </>
      ) : (
        <p>{texts.noneFree}</p>
      )}
    </ErrorNote>
  );
}
