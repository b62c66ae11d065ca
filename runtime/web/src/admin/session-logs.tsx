import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { type ApiError, asApiError, requestText } from "../api/client";
import { t } from "../i18n";
import { ErrorNote } from "../ui/message";

const SOURCES = ["title", "relay", "steps"] as const;
type Source = (typeof SOURCES)[number];
const LINES = 300;

/** The end of one of a session's logs, read when asked for: every reading is noted in the audit log. */
export function SessionLogs({ sessionId }: { sessionId: string }): JSX.Element {
  const source = useSignal<Source | undefined>(undefined);
  const text = useSignal<string | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);
  const turn = useSignal(0);
  const texts = t().admin.session;
  const wanted = source.value;

  useEffect(() => {
    if (!wanted) return undefined;
    const abort = new AbortController();
    const path = `/api/v1/admin/sessions/${sessionId}/logs?source=${wanted}&lines=${LINES}`;
    requestText(path, { signal: abort.signal }).then(
      (answer) => {
        text.value = answer;
        error.value = undefined;
      },
      (reason: unknown) => {
        if (!abort.signal.aborted) error.value = asApiError(reason);
      },
    );
    return () => abort.abort();
  }, [sessionId, wanted, turn.value, text, error]);

  return (
    <section class="logs">
      <h3>{texts.logs}</h3>
      <div class="logs-tools" role="group" aria-label={texts.source}>
        {SOURCES.map((each) => (
          <button
            key={each}
            type="button"
            class="button compact"
            data-testid={`logs-${each}`}
            aria-pressed={wanted === each}
            onClick={() => {
              if (source.value === each) turn.value += 1;
              else text.value = undefined;
              source.value = each;
            }}
          >
            {texts.sources[each]}
          </button>
        ))}
        {wanted && <span class="muted small">{texts.lines(LINES)}</span>}
      </div>
      {error.value && <ErrorNote error={error.value} />}
      {wanted && text.value !== undefined && (
        <pre class="log-text" data-testid="log-text" tabIndex={0}>
          {text.value || texts.noLog}
        </pre>
      )}
    </section>
  );
}
