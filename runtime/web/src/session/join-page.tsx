import "../styles/session.css";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type ApiError, asApiError, getMe, request } from "../api/client";
import type { InvitePreview } from "../api/types";
import { errorText, formatWindow, localText, t } from "../i18n";
import { OfflinePage } from "../pages/not-found";
import { Shell } from "../pages/shell";
import { Picture } from "../pages/title-card";
import { navigate } from "../router";
import { LONGEST_NAME } from "../player/limits";
import { localZone } from "../schedule/zone";
import { recall, remember } from "../storage";
import { canShowStreams } from "../ui/browser";
import { Icon } from "../ui/icons";
import { Heading, MessagePage } from "../ui/message";
import { rememberInvite } from "./invite-memory";
import { UnsupportedPage } from "./unsupported";

const LOOK_AGAIN_MS = 10_000;

/** `/join/{invite}`: who invites to what, a name to be seen by, and in. */
export function JoinPage({ argument: invite }: { argument: string }): JSX.Element {
  const [preview, setPreview] = useState<InvitePreview>();
  const [error, setError] = useState<ApiError>();
  const [attempt, setAttempt] = useState(0);
  const [name, setName] = useState(recall("name") ?? "");

  // A booked session opens at its time.
  const isWaiting = preview !== undefined && preview.session_id === null;
  useEffect(() => {
    if (!isWaiting) return undefined;
    const timer = window.setInterval(() => setAttempt((n) => n + 1), LOOK_AGAIN_MS);
    return () => window.clearInterval(timer);
  }, [isWaiting]);

  // `attempt` is what makes it read again.
  useEffect(() => {
    const abort = new AbortController();
    setError(undefined);
    request<InvitePreview>("GET", `/api/v1/invites/${encodeURIComponent(invite)}`, { signal: abort.signal }).then(
      setPreview,
      (reason: unknown) => !abort.signal.aborted && setError(asApiError(reason)),
    );
    getMe().then(
      (me) => !abort.signal.aborted && setName((now) => now || me.name),
      () => undefined,
    );
    return () => abort.abort();
  }, [invite, attempt]);

  if (error) {
    return (
      <Shell>
        {error.code === "offline" ? (
          <OfflinePage onBack={() => setAttempt((n) => n + 1)} />
        ) : (
          <RefusedInvite error={error} />
        )}
      </Shell>
    );
  }
  if (!canShowStreams()) return <UnsupportedPage />;
  if (!preview) return <p class="page-loading">{t().common.loading}</p>;

  const title = localText(preview.title.display_name, preview.title.name);
  const sessionId = preview.session_id;
  const join = (): void => {
    remember("name", name.trim() || null);
    if (sessionId === null) return;
    rememberInvite(sessionId, invite);
    navigate(`/session/${sessionId}`);
  };
  return (
    <Shell>
      <section class="start" data-testid="join-page">
        <div class="start-card">
          <Picture title={preview.title} />
          <form
            class="start-body join-form"
            onSubmit={(event) => {
              event.preventDefault();
              join();
            }}
          >
            <div>
              <Heading>{t().join.heading}</Heading>
              {preview.owner_name && <p>{t().join.from(preview.owner_name)}</p>}
              <p class="lead">
                {t().join.lead(title)} {t().join.asRole[preview.role]}
              </p>
            </div>
            <label class="field">
              <span>{t().join.name}</span>
              <input
                class="input"
                data-testid="join-name"
                maxLength={LONGEST_NAME}
                autocomplete="nickname"
                value={name}
                onInput={(event) => setName(event.currentTarget.value)}
              />
            </label>
            {preview.starts_at !== null && preview.ends_at !== null && (
              <p class="note" data-testid="booked-window">
                <Icon name="calendar" />
                <span>
                  {t().join.bookedFor(formatWindow(preview.starts_at, preview.ends_at, localZone()))}{" "}
                  {sessionId === null && t().join.opensByItself}
                </span>
              </p>
            )}
            <button type="submit" class="button primary" data-testid="join-button" disabled={sessionId === null}>
              {t().join.join}
            </button>
          </form>
        </div>
      </section>
    </Shell>
  );
}

function RefusedInvite({ error }: { error: ApiError }): JSX.Element {
  const said = errorText(error);
  return (
    <MessagePage
      icon="warning"
      tone="bad"
      heading={t().join.refused}
      what={said.what}
      fix={said.fix}
      testId={`error-${error.code}`}
    >
      <a class="button primary" href="/">
        {t().common.backToCatalogue}
      </a>
    </MessagePage>
  );
}
