import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, asApiError, getMe, newIdempotencyKey, request } from "../api/client";
import { isJoinable } from "../api/codes";
import type { Availability, Session, Title } from "../api/types";
import { isEmbedded } from "../embed/inside";
import { formatTime, localText, t } from "../i18n";
import { me } from "../me";
import { navigate } from "../router";
import { canShowStreams } from "../ui/browser";
import { hueOf } from "../ui/hue";
import { Icon } from "../ui/icons";
import { ErrorNote } from "../ui/message";

const starting = signal<string | undefined>(undefined);

/** Ask for a session of a title and go to its page; a full house puts the visitor into the queue. */
export async function startTitle(name: string): Promise<void> {
  // A place on a host must not be taken for somebody who would see nothing.
  if (!canShowStreams()) throw new ApiError("no_streams", "The browser has no WebRTC.");
  const { features } = await getMe();
  const session = await request<Session>("POST", "/api/v1/sessions", {
    body: { title: name, wait: features.queue },
    idempotencyKey: newIdempotencyKey(),
  });
  navigate(`/session/${session.id}`);
}

/** `isFirst`: in view at once, so that its picture must not wait. */
export function TitleCard({ title, isFirst }: { title: Title; isFirst?: boolean }): JSX.Element {
  const [refused, setRefused] = useState<ApiError>();
  const name = localText(title.display_name, title.name);
  const { state } = title.availability;
  const isStarting = starting.value === title.name;

  const start = async (): Promise<void> => {
    setRefused(undefined);
    starting.value = title.name;
    try {
      await startTitle(title.name);
    } catch (error) {
      setRefused(asApiError(error));
    } finally {
      starting.value = undefined;
    }
  };

  return (
    <article class="title-card" data-testid={`title-card-${title.name}`} aria-labelledby={`title-${title.name}`}>
      <Picture title={title} isFirst={isFirst ?? false} />
      <div class="title-body">
        <div class="title-line">
          <h2 id={`title-${title.name}`}>{name}</h2>
          <AvailabilityMark availability={title.availability} />
        </div>
        <p class="title-text">{localText(title.description)}</p>
        {title.tags.length > 0 && (
          <ul class="tags">
            {title.tags.map((tag) => (
              <li key={tag}>{tag}</li>
            ))}
          </ul>
        )}
        {refused && <ErrorNote error={refused} />}
        <div class="title-actions">
          <button
            type="button"
            class={`button start-button ${state === "free" ? "primary" : ""}`}
            data-testid="start-button"
            disabled={state === "offline" || !title.startable || starting.value !== undefined}
            aria-label={state === "busy" ? t().catalogue.queueName(name) : t().catalogue.startName(name)}
            onClick={() => void start()}
          >
            <Icon name={state === "busy" ? "queue" : "play"} />
            {isStarting ? t().catalogue.starting : state === "busy" ? t().catalogue.startQueue : t().catalogue.start}
          </button>
          {title.bookable && me.value?.features.bookings && !isEmbedded && (
            <a
              class="button"
              href={`/schedule?title=${encodeURIComponent(title.name)}`}
              aria-label={t().bookings.bookName(name)}
              title={t().bookings.bookName(name)}
              data-testid="book-link"
            >
              <Icon name="calendar" />
            </a>
          )}
        </div>
      </div>
    </article>
  );
}

/** The title's picture, or a calm pattern of its own when there is none. */
export function Picture({ title, isFirst }: { title: Title | undefined; isFirst?: boolean }): JSX.Element {
  const [broken, setBroken] = useState(false);
  const hue = hueOf(title?.name ?? "");
  if (!title?.picture_url || broken) {
    const initial = localText(title?.display_name, title?.name ?? "·").slice(0, 1);
    return (
      <div class="picture picture-none" style={{ "--hue": String(hue) }} aria-hidden="true">
        <span>{initial}</span>
      </div>
    );
  }
  return (
    <img
      class="picture"
      src={title.picture_url}
      alt=""
      width={640}
      height={360}
      loading={isFirst ? "eager" : "lazy"}
      fetchpriority={isFirst ? "high" : "auto"}
      decoding="async"
      onError={() => setBroken(true)}
    />
  );
}

export function AvailabilityMark({ availability }: { availability: Availability }): JSX.Element {
  const { state, free, wait_seconds } = availability;
  const texts = t().catalogue;
  let text = texts.offline;
  if (state === "free") text = free > 0 ? texts.free(free) : texts.freeNow;
  if (state === "busy")
    text = wait_seconds === null ? texts.busy : texts.busyWait(Math.max(1, Math.ceil(wait_seconds / 60)));
  return (
    <span class={`availability availability-${state}`} data-testid="availability" data-state={state}>
      {text}
    </span>
  );
}

export function ResumeCard({ session, title }: { session: Session; title: Title | undefined }): JSX.Element {
  const name = localText(title?.display_name, session.title);
  const states = t().catalogue.state;
  const state = session.queue ? states.waiting : isJoinable(session.state) ? states.running : states.starting;
  return (
    <article class="resume-card" data-testid={`resume-${session.id}`}>
      <Picture title={title} />
      <div class="resume-text">
        <h3>{name}</h3>
        <p class="muted">
          {state} · {t().catalogue.runningSince(formatTime(session.created_at))}
        </p>
      </div>
      <a class="button primary" href={`/session/${session.id}`} aria-label={t().catalogue.resumeName(name)}>
        <Icon name="play" />
        {t().catalogue.resume}
      </a>
    </article>
  );
}
