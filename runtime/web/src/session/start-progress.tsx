import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type ApiError, asApiError, request } from "../api/client";
import { START_STEPS } from "../api/codes";
import type { Session, Title } from "../api/types";
import { tellParent } from "../embed/inside";
import { formatNumber, localText, t } from "../i18n";
import { Picture } from "../pages/title-card";
import { Icon } from "../ui/icons";
import { ErrorNote, Heading } from "../ui/message";

interface StartProgressProps {
  session: Session;
  title: Title | undefined;
  /** Whether news arrive at the moment. */
  live: boolean;
}

export function StartProgress({ session, title, live }: StartProgressProps): JSX.Element {
  const name = localText(title?.display_name, session.title);
  const texts = t().start;
  const state = session.queue ? "queued" : "starting";
  const step = session.steps.at(-1)?.step;
  useEffect(() => tellParent({ type: "state", state, session: session.id }), [state, session.id]);
  useEffect(() => step && tellParent({ type: "progress", step }), [step]);
  return (
    <section class="start" data-testid="start-page" data-state={session.state}>
      <div class="start-card">
        <Picture title={title} />
        <div class="start-body">
          <Heading>{session.queue ? texts.headingQueue(name) : texts.heading(name)}</Heading>
          <p class="muted">{session.queue ? texts.leadQueue : texts.lead}</p>
          {session.queue ? <Queue session={session} /> : <Steps session={session} />}
          {!live && (
            <p class="note" role="status">
              {t().shell.reconnecting}
            </p>
          )}
          <StopStarting session={session} />
        </div>
      </div>
    </section>
  );
}

function Queue({ session }: { session: Session }): JSX.Element {
  const { position, wait_seconds } = session.queue ?? { position: 0, wait_seconds: null };
  const texts = t().start;
  return (
    <div class="queue" role="status" data-testid="queue">
      <span class="queue-number" data-testid="queue-position" aria-hidden="true">
        {position}
      </span>
      <div>
        <p>
          <strong>{position <= 1 ? texts.queueNext : texts.queuePosition(position)}</strong>
        </p>
        <p class="muted">
          {wait_seconds === null ? texts.queueUnknown : texts.queueWait(Math.max(1, Math.ceil(wait_seconds / 60)))}
        </p>
      </div>
    </div>
  );
}

function Steps({ session }: { session: Session }): JSX.Element {
  const texts = t().start;
  const doneAt = new Map(session.steps.map(({ step, at }) => [step, at]));
  // Steps may be reported late or not at all (a warm session): everything before a done one is done too.
  const lastDone = START_STEPS.reduce((last, step, index) => (doneAt.has(step) ? index : last), -1);
  let before = session.created_at;
  return (
    <>
      {lastDone < 0 && (
        <p class="start-requested" role="status">
          {texts.requested}
        </p>
      )}
      <ol class="steps" aria-live="polite">
        {START_STEPS.map((step, index) => {
          const state = index <= lastDone ? "done" : index === lastDone + 1 ? "now" : "waiting";
          const at = doneAt.get(step);
          const took = at === undefined ? undefined : Math.max(0, at - before) / 1000;
          before = at ?? before;
          return (
            <li key={step} class={`step step-${state}`} data-testid={`step-${step}`} data-state={state}>
              <span class="step-mark">{state === "done" ? <Icon name="check" size={16} /> : null}</span>
              <span class="step-text">{state === "done" ? texts.steps[step].done : texts.steps[step].doing}</span>
              <span class="visually-hidden">
                {state === "done" ? texts.stepDone : state === "now" ? texts.stepNow : texts.stepWaiting}
              </span>
              {took !== undefined && <span class="step-time">{texts.took(formatNumber(took))}</span>}
            </li>
          );
        })}
      </ol>
    </>
  );
}

function StopStarting({ session }: { session: Session }): JSX.Element {
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<ApiError>();
  const stop = async (): Promise<void> => {
    setBusy(true);
    try {
      // The page moves on when the session's own news say that it has ended.
      await request("DELETE", `/api/v1/sessions/${encodeURIComponent(session.id)}`);
    } catch (error) {
      setRefused(asApiError(error));
      setBusy(false);
    }
  };
  return (
    <div class="start-actions">
      {refused && <ErrorNote error={refused} />}
      <button type="button" class="button" data-testid="cancel-start" disabled={busy} onClick={() => void stop()}>
        {session.queue ? t().start.leaveQueue : t().start.cancel}
      </button>
    </div>
  );
}
