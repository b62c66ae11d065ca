import { batch, signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { type ApiError, asApiError, request } from "../api/client";
import { isFinal } from "../api/codes";
import { subscribe } from "../api/events";
import type { Booking, BookingPage, Page, Session, Title } from "../api/types";
import { formatWindow, localText, t } from "../i18n";
import { me } from "../me";
import { localZone } from "../schedule/zone";
import { Icon } from "../ui/icons";
import { ErrorNote, Heading } from "../ui/message";
import { NotFoundPage, OfflinePage } from "./not-found";
import { matches } from "./search";
import { ResumeCard, TitleCard } from "./title-card";

const IN_FIRST_VIEW = 4;

// Kept outside the component: whoever comes back from a session sees the last known catalogue at once.
const titles = signal<Title[] | undefined>(undefined);
const mine = signal<Session[]>([]);
const bookings = signal<Booking[]>([]);
const failure = signal<ApiError | undefined>(undefined);
const words = signal("");
const live = signal(true);

async function load(stop: AbortSignal): Promise<void> {
  try {
    const [all, own] = await Promise.all([
      request<Page<Title>>("GET", "/api/v1/titles", { signal: stop }),
      request<Page<Session>>("GET", "/api/v1/sessions?mine=true&state=live", { signal: stop }),
    ]);
    batch(() => {
      titles.value = all.items;
      mine.value = own.items.filter((session) => !isFinal(session.state));
      failure.value = undefined;
    });
  } catch (error) {
    if (!stop.aborted) failure.value = asApiError(error);
  }
}

let preloading = false;

/** Ask for the catalogue before the page can be drawn: the texts of the language arrive meanwhile. */
export function preloadCatalogue(): void {
  preloading = true;
  void load(new AbortController().signal);
}

export function CataloguePage(): JSX.Element {
  useEffect(() => {
    const abort = new AbortController();
    if (!preloading) void load(abort.signal);
    preloading = false;
    const events = subscribe(
      "/api/v1/events",
      {
        titles: (data) => {
          titles.value = (data as Page<Title>).items;
        },
      },
      {
        onOpen: () => {
          if (!live.value) void load(abort.signal);
          live.value = true;
        },
        onLost: () => {
          live.value = false;
        },
      },
    );
    return () => {
      abort.abort();
      events.close();
    };
  }, []);

  const reload = (): void => {
    failure.value = undefined;
    void load(new AbortController().signal);
  };
  const only = new URLSearchParams(window.location.search).get("title");
  const nothingYet = titles.value === undefined;
  if (failure.value?.code === "offline" && nothingYet) return <OfflinePage onBack={reload} />;
  if (only !== null && titles.value) return <OneTitle title={titles.value.find(({ name }) => name === only)} />;
  return (
    <div class="catalogue" data-testid="catalogue">
      <div class="catalogue-head">
        <Heading>{t().catalogue.heading}</Heading>
        <p class="lead">{t().catalogue.lead}</p>
      </div>
      {failure.value && (
        <ErrorNote error={failure.value}>
          <button type="button" class="button" onClick={reload}>
            {t().common.retry}
          </button>
        </ErrorNote>
      )}
      {!live.value && !failure.value && (
        <p class="note" role="status">
          {t().shell.reconnecting}
        </p>
      )}
      <Resume />
      <Upcoming />
      <SearchBox />
      <Titles />
    </div>
  );
}

/** `/?title=name`: one title on its own, for links and for embedding. */
function OneTitle({ title }: { title: Title | undefined }): JSX.Element {
  if (!title) return <NotFoundPage />;
  const running = mine.value.filter((session) => session.title === title.name);
  return (
    <div class="one-title" data-testid="one-title">
      <TitleCard title={title} />
      {running.map((session) => (
        <ResumeCard key={session.id} session={session} title={title} />
      ))}
    </div>
  );
}

function Resume(): JSX.Element | null {
  if (mine.value.length === 0) return null;
  return (
    <section class="resume" aria-labelledby="resume-heading" data-testid="resume">
      <h2 id="resume-heading">{t().catalogue.yourSessions}</h2>
      <ul class="resume-list">
        {mine.value.map((session) => (
          <li key={session.id}>
            <ResumeCard session={session} title={titles.value?.find(({ name }) => name === session.title)} />
          </li>
        ))}
      </ul>
    </section>
  );
}

const SHOWN_BOOKINGS = 3;

/** The next own bookings, where things can be booked at all. */
function Upcoming(): JSX.Element | null {
  const offersBookings = me.value?.features.bookings ?? false;
  useEffect(() => {
    if (!offersBookings) return undefined;
    const abort = new AbortController();
    const path = `/api/v1/bookings?mine=true&state=live&limit=${SHOWN_BOOKINGS}&from=${Date.now()}`;
    request<BookingPage>("GET", path, { signal: abort.signal }).then(
      (page) => {
        bookings.value = page.items;
      },
      // The schedule page says what is wrong; here they are merely missing.
      () => undefined,
    );
    return () => abort.abort();
  }, [offersBookings]);
  if (!offersBookings || bookings.value.length === 0) return null;
  return (
    <section class="resume" aria-labelledby="upcoming-heading" data-testid="upcoming">
      <h2 id="upcoming-heading">{t().bookings.upcoming}</h2>
      <ul class="resume-list">
        {bookings.value.map((booking) => {
          const name = localText(
            titles.value?.find((title) => title.name === booking.title)?.display_name,
            booking.title,
          );
          const isOpen = booking.state === "open" && booking.session !== null;
          return (
            <li key={booking.id} class="upcoming-card">
              <Icon name="calendar" />
              <div class="resume-text">
                <h3>{booking.label || name}</h3>
                <p class="muted">{formatWindow(booking.starts_at, booking.ends_at, localZone())}</p>
              </div>
              <a
                class={`button ${isOpen ? "primary" : ""}`}
                href={isOpen ? `/session/${booking.session}` : "/schedule"}
              >
                {isOpen ? t().bookings.open : t().shell.schedule}
              </a>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function SearchBox(): JSX.Element {
  const found = titles.value?.filter((title) => matches(title, words.value)).length ?? 0;
  return (
    <search class="search-row">
      <label class="search-box">
        <span class="visually-hidden">{t().catalogue.search}</span>
        <Icon name="search" />
        <input
          type="search"
          data-testid="search"
          placeholder={t().catalogue.searchPlaceholder}
          value={words.value}
          onInput={(event) => {
            words.value = event.currentTarget.value;
          }}
        />
      </label>
      <p class="muted" role="status">
        {titles.value && t().catalogue.found(found)}
      </p>
    </search>
  );
}

function Titles(): JSX.Element {
  if (titles.value === undefined) {
    return (
      <ul class="title-grid" aria-hidden="true">
        {[0, 1, 2].map((n) => (
          <li key={n} class="title-card skeleton" />
        ))}
      </ul>
    );
  }
  const shown = titles.value.filter((title) => matches(title, words.value));
  if (shown.length === 0) {
    const none = titles.value.length === 0;
    return (
      <div class="empty">
        <Icon name="search" size={28} />
        <p>{none ? t().catalogue.empty : t().catalogue.nothingFound(words.value.trim())}</p>
        {!none && (
          <button
            type="button"
            class="button"
            onClick={() => {
              words.value = "";
            }}
          >
            {t().catalogue.clearSearch}
          </button>
        )}
      </div>
    );
  }
  return (
    <ul class="title-grid" data-testid="titles">
      {shown.map((title, place) => (
        <li key={title.name}>
          <TitleCard title={title} isFirst={place < IN_FIRST_VIEW} />
        </li>
      ))}
    </ul>
  );
}
