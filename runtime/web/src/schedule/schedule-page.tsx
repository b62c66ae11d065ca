import "../styles/schedule.css";
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { type ApiError, asApiError, request } from "../api/client";
import type { Booking, BookingPage, Page, Title } from "../api/types";
import { t } from "../i18n";
import { me } from "../me";
import { Shell } from "../pages/shell";
import { ErrorNote, Heading, MessagePage } from "../ui/message";
import { BookingForm, type Draft } from "./booking-form";
import { Calendar } from "./calendar";
import { Made } from "./made";
import { MyBookings } from "./my-bookings";
import { nextHalfHour } from "./plan";
import { localZone, wallClock } from "./zone";

/** `/schedule`: a form, the week with its free places, and one's own bookings. */
export function SchedulePage(): JSX.Element {
  if (me.value && !me.value.features.bookings) {
    return (
      <Shell>
        <MessagePage icon="calendar" heading={t().schedule.nothingBookable} testId="no-bookings">
          <a class="button primary" href="/">
            {t().common.backToCatalogue}
          </a>
        </MessagePage>
      </Shell>
    );
  }
  return (
    <Shell>
      <Schedule />
    </Shell>
  );
}

function firstDraft(title: string): Draft {
  const zone = localZone();
  const start = wallClock(nextHalfHour(Date.now() + 10 * 60_000), zone);
  return {
    title,
    zone,
    day: start.day,
    time: start.time,
    minutes: 60,
    label: "",
    repeat: "never",
    times: 4,
    guests: [],
  };
}

function Schedule(): JSX.Element {
  const titles = useSignal<Title[] | undefined>(undefined);
  const mine = useSignal<BookingPage | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);
  const made = useSignal<Booking[] | undefined>(undefined);
  const draft = useSignal<Draft>(firstDraft(new URLSearchParams(window.location.search).get("title") ?? ""));
  const turn = useSignal(0);

  useEffect(() => {
    const abort = new AbortController();
    const from = Date.now() - 86_400_000;
    Promise.all([
      request<Page<Title>>("GET", "/api/v1/titles", { signal: abort.signal }),
      request<BookingPage>("GET", `/api/v1/bookings?mine=true&limit=200&from=${from}`, { signal: abort.signal }),
    ]).then(
      ([all, own]) => {
        titles.value = all.items.filter(({ bookable }) => bookable);
        mine.value = own;
        error.value = undefined;
        const known = titles.value.some(({ name }) => name === draft.value.title);
        if (!known) draft.value = { ...draft.value, title: titles.value[0]?.name ?? "" };
      },
      (reason: unknown) => {
        if (!abort.signal.aborted) error.value = asApiError(reason);
      },
    );
    return () => abort.abort();
  }, [turn.value, titles, mine, error, draft]);

  const reload = (): void => {
    turn.value += 1;
  };
  const texts = t().schedule;
  if (error.value && !titles.value) return <ErrorNote error={error.value} />;
  if (!titles.value || !mine.value) return <p class="page-loading">{t().common.loading}</p>;
  if (titles.value.length === 0) return <MessagePage icon="calendar" heading={texts.nothingBookable} />;
  const title = titles.value.find(({ name }) => name === draft.value.title);
  return (
    <div class="schedule" data-testid="schedule-page">
      <div class="catalogue-head">
        <Heading>{texts.heading}</Heading>
        <p class="lead">{texts.lead}</p>
      </div>
      <div class="schedule-pair">
        {made.value ? (
          <Made
            bookings={made.value}
            titles={titles.value}
            onAnother={() => {
              made.value = undefined;
            }}
          />
        ) : (
          <BookingForm
            titles={titles.value}
            draft={draft}
            onMade={(bookings) => {
              made.value = bookings;
              reload();
            }}
          />
        )}
        {title && <Calendar title={title} draft={draft} mine={mine.value.items} turn={turn.value} />}
      </div>
      <MyBookings page={mine.value} titles={titles.value} onChanged={reload} />
    </div>
  );
}
