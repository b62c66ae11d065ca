import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type ApiError, asApiError } from "../api/client";
import { END_REASONS, type EndReason } from "../api/codes";
import type { Session, Title } from "../api/types";
import { tellParent } from "../embed/inside";
import { formatDuration, t } from "../i18n";
import type { Said } from "../i18n/en";
import { startTitle } from "../pages/title-card";
import { ErrorNote, MessagePage } from "../ui/message";

/** Why the player is no longer on show: the session itself is over, or only this visitor has left it. */
export type Ending =
  | { kind: "session"; session: Session }
  /** The relay is gone without a word; the service knows why. */
  | { kind: "gone" }
  | { kind: "room"; reason: string; message: string }
  | { kind: "kicked" }
  | { kind: "left" }
  | { kind: "superseded" };

const FAILURES = new Set<string>(["app_crashed", "relay_crashed", "start_timeout", "start_failed", "host_lost"]);

interface EndedPageProps {
  ending: Exclude<Ending, { kind: "gone" }>;
  session: Session;
  title: Title | undefined;
  onComeBack: () => void;
}

export function EndedPage({ ending, session, title, onComeBack }: EndedPageProps): JSX.Element {
  const { ended } = t();
  const reason =
    ending.kind === "session" ? ending.session.reason : ending.kind === "room" ? ending.reason : ending.kind;
  useEffect(() => tellParent({ type: "ended", reason: reason ?? "" }), [reason]);
  if (ending.kind === "left" || ending.kind === "superseded") {
    const said = ending.kind === "left" ? ended.left : ended.superseded;
    return (
      <MessagePage
        icon="leave"
        heading={ended.leftHeading}
        what={said.what}
        fix={said.fix}
        testId={`ended-${ending.kind}`}
      >
        <button type="button" class="button primary" onClick={onComeBack}>
          {ended.comeBack}
        </button>
        <a class="button" href="/">
          {t().common.backToCatalogue}
        </a>
      </MessagePage>
    );
  }
  if (ending.kind === "kicked") {
    const said = t().errors.kicked;
    return (
      <MessagePage icon="leave" heading={ended.kickedHeading} what={said.what} fix={said.fix} testId="ended-kicked">
        <a class="button primary" href="/">
          {t().common.backToCatalogue}
        </a>
      </MessagePage>
    );
  }
  return <SessionOver ending={ending} session={session} title={title} />;
}

function SessionOver({
  ending,
  session,
  title,
}: {
  ending: Ending & { kind: "session" | "room" };
  session: Session;
  title: Title | undefined;
}): JSX.Element {
  const [refused, setRefused] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const reason = ending.kind === "session" ? (ending.session.reason ?? "") : ending.reason;
  const detail = ending.kind === "session" ? ending.session.reason_text : ending.message;
  const said = saidOf(reason, detail ?? "");
  const isFailure = FAILURES.has(reason);
  const startedAt = session.ready_at ?? undefined;
  // What never began cannot be interrupted.
  const failedHeading = startedAt === undefined ? t().start.failedHeading : t().ended.failedHeading;
  const endedAt = (ending.kind === "session" ? ending.session.ended_at : null) ?? Date.now();

  const again = async (): Promise<void> => {
    setBusy(true);
    try {
      await startTitle(session.title);
    } catch (error) {
      setRefused(asApiError(error));
      setBusy(false);
    }
  };

  return (
    <MessagePage
      icon={isFailure ? "warning" : "check"}
      tone={isFailure ? "bad" : "plain"}
      heading={isFailure ? failedHeading : t().ended.heading}
      testId="ended-page"
    >
      <div class="ended-details">
        <p class="message-what" data-testid="ended-reason" data-reason={reason}>
          {said.what}
        </p>
        <p class="message-fix">{said.fix}</p>
        {startedAt !== undefined && endedAt > startedAt && (
          <p class="small muted">{t().ended.lasted(formatDuration((endedAt - startedAt) / 1000))}</p>
        )}
        {isFailure && detail && (
          <details class="small">
            <summary>{t().ended.operatorSays}</summary>
            <p class="muted">{detail}</p>
          </details>
        )}
        {refused && <ErrorNote error={refused} />}
        <div class="actions">
          <button
            type="button"
            class="button primary"
            data-testid="start-again"
            disabled={busy || title?.availability.state === "offline"}
            onClick={() => void again()}
          >
            {busy ? t().catalogue.starting : t().ended.again}
          </button>
          <a class="button" href="/">
            {t().common.backToCatalogue}
          </a>
        </div>
      </div>
    </MessagePage>
  );
}

/** A newer service may know a reason that this page does not: then its own words are better than none. */
function saidOf(reason: string, detail: string): Said {
  if ((END_REASONS as readonly string[]).includes(reason)) return t().endings[reason as EndReason];
  return { what: detail || t().ended.heading, fix: t().endings.owner_ended.fix };
}
