import "../styles/session.css";
import type { ComponentType, JSX } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, asApiError, request } from "../api/client";
import { isFinal, isJoinable } from "../api/codes";
import { subscribe } from "../api/events";
import type { JoinReply, Session, Title } from "../api/types";
import { tellParent } from "../embed/inside";
import { errorText, t } from "../i18n";
import { OfflinePage } from "../pages/not-found";
import { Shell } from "../pages/shell";
import type { PlayerProps } from "../player/player";
import { canShowStreams } from "../ui/browser";
import { MessagePage } from "../ui/message";
import { EndedPage, type Ending } from "./ended";
import { joinSession } from "./join";
import { StartProgress } from "./start-progress";
import { UnsupportedPage } from "./unsupported";

const JOIN_RETRY_MS = 1_000;

/** `/session/{id}`: start progress, then the player, then how it ended. */
export function SessionPage({ argument: id }: { argument: string }): JSX.Element {
  const [session, setSession] = useState<Session>();
  const [title, setTitle] = useState<Title>();
  const [error, setError] = useState<ApiError>();
  const [ending, setEnding] = useState<Ending>();
  const [attempt, setAttempt] = useState(0);
  const reload = useCallback(() => {
    setError(undefined);
    setEnding(undefined);
    setAttempt((n) => n + 1);
  }, []);

  // `attempt` is what makes it read again.
  useEffect(() => {
    const abort = new AbortController();
    request<Session>("GET", `/api/v1/sessions/${encodeURIComponent(id)}`, { signal: abort.signal }).then(
      setSession,
      (reason: unknown) => !abort.signal.aborted && setError(asApiError(reason)),
    );
    return () => abort.abort();
  }, [id, attempt]);

  const titleName = session?.title;
  useEffect(() => {
    if (titleName === undefined) return undefined;
    const abort = new AbortController();
    // Only for its display name: without it the page works with the plain name.
    request<Title>("GET", `/api/v1/titles/${encodeURIComponent(titleName)}`, { signal: abort.signal }).then(
      setTitle,
      () => undefined,
    );
    return () => abort.abort();
  }, [titleName]);

  if (error) return <Refused error={error} onRetry={reload} />;
  if (!session) return <p class="page-loading">{t().common.loading}</p>;
  if (ending?.kind === "gone") return <Gone id={id} onOver={setEnding} onStillThere={reload} />;
  const over = ending ?? (isFinal(session.state) ? { kind: "session" as const, session } : undefined);
  if (over) {
    return (
      <Shell>
        <EndedPage ending={over} session={session} title={title} onComeBack={reload} />
      </Shell>
    );
  }
  if (!canShowStreams()) return <UnsupportedPage />;
  if (isJoinable(session.state)) {
    return <Joined key={attempt} session={session} title={title} onEnded={setEnding} onRefused={setError} />;
  }
  return (
    <Shell>
      <Starting session={session} title={title} onChange={setSession} />
    </Shell>
  );
}

interface StartingProps {
  session: Session;
  title: Title | undefined;
  onChange: (session: Session) => void;
}

/** Follows the start by server-sent events, and fetches the player's code meanwhile. */
function Starting({ session, title, onChange }: StartingProps): JSX.Element {
  const { id } = session;
  const [live, setLive] = useState(true);
  useEffect(() => {
    void import("../player/player").catch(() => undefined);
    const abort = new AbortController();
    const events = subscribe(
      `/api/v1/sessions/${encodeURIComponent(id)}/events`,
      { session: (data) => onChange(data as Session) },
      {
        // What happened between the first read and the subscription, or while the connection was away.
        onOpen: () => {
          setLive(true);
          request<Session>("GET", `/api/v1/sessions/${encodeURIComponent(id)}`, { signal: abort.signal }).then(
            onChange,
            () => undefined,
          );
        },
        onLost: () => setLive(false),
      },
    );
    return () => {
      abort.abort();
      events.close();
    };
  }, [id, onChange]);
  return <StartProgress session={session} title={title} live={live} />;
}

interface JoinedProps {
  session: Session;
  title: Title | undefined;
  onEnded: (ending: Ending) => void;
  onRefused: (error: ApiError) => void;
}

/** Gets a join token and the player's code, then hands over to the player. */
function Joined({ session, title, onEnded, onRefused }: JoinedProps): JSX.Element {
  const [Player, setPlayer] = useState<ComponentType<PlayerProps>>();
  const [reply, setReply] = useState<JoinReply>();
  const timer = useRef<number | undefined>(undefined);
  const { id } = session;

  useEffect(() => {
    let current = true;
    const join = (): void => {
      joinSession(id).then(
        (answer) => current && setReply(answer),
        (reason: unknown) => {
          if (!current) return;
          const error = asApiError(reason);
          if (error.code === "session_not_ready") timer.current = window.setTimeout(join, JOIN_RETRY_MS);
          else onRefused(error);
        },
      );
    };
    join();
    import("../player/player").then(
      (loaded) => current && setPlayer(() => loaded.PlayerPage),
      (reason: unknown) => current && onRefused(asApiError(reason)),
    );
    return () => {
      current = false;
      window.clearTimeout(timer.current);
    };
  }, [id, onRefused]);

  if (!Player || !reply) {
    return (
      <div class="player-loading" role="status">
        <span class="spinner" />
        {t().player.connecting}
      </div>
    );
  }
  return <Player session={session} title={title} join={reply} onEnded={onEnded} onRefused={onRefused} />;
}

const GONE_TRIES = 10;

/** The stream's end came without a reason; the service learns it from the host a moment later. */
function Gone(props: { id: string; onOver: (ending: Ending) => void; onStillThere: () => void }): JSX.Element {
  const { id, onOver, onStillThere } = props;
  useEffect(() => {
    let tries = 0;
    let timer: number | undefined;
    const abort = new AbortController();
    const look = async (): Promise<void> => {
      tries += 1;
      try {
        const path = `/api/v1/sessions/${encodeURIComponent(id)}`;
        const session = await request<Session>("GET", path, { signal: abort.signal });
        if (isFinal(session.state)) return onOver({ kind: "session", session });
      } catch {
        // Tried again below.
      }
      if (abort.signal.aborted) return;
      if (tries >= GONE_TRIES) onStillThere();
      else timer = window.setTimeout(() => void look(), 1_000);
    };
    void look();
    return () => {
      abort.abort();
      window.clearTimeout(timer);
    };
  }, [id, onOver, onStillThere]);
  return (
    <div class="player-loading" role="status">
      <span class="spinner" />
      {t().player.reconnecting}
    </div>
  );
}

function Refused({ error, onRetry }: { error: ApiError; onRetry: () => void }): JSX.Element {
  useEffect(() => tellParent({ type: "error", code: error.code }), [error]);
  if (error.code === "offline") {
    return (
      <Shell>
        <OfflinePage onBack={onRetry} />
      </Shell>
    );
  }
  const said = errorText(error);
  const isHopeless = ["session_not_found", "session_ended", "kicked", "invite_revoked"].includes(error.code);
  return (
    <Shell>
      <MessagePage
        icon="warning"
        tone="bad"
        heading={said.what}
        what={said.fix}
        fix={error.requestId && t().common.requestNumber(error.requestId)}
        testId={`error-${error.code}`}
      >
        {!isHopeless && (
          <button type="button" class="button primary" onClick={onRetry}>
            {t().common.retry}
          </button>
        )}
        <a class={`button ${isHopeless ? "primary" : ""}`} href="/">
          {t().common.backToCatalogue}
        </a>
      </MessagePage>
    </Shell>
  );
}
