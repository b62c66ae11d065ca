import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { type ApiError, asApiError, request } from "../api/client";
import type { Page } from "../api/types";
import { formatDateTime, t } from "../i18n";
import { StaleNote } from "./stale";
import { type ShownColumn, Table } from "./table";
import type { AuditEntry } from "./types";

const PAGE = 200;

/** What administrators did, newest first; older entries on demand. */
export function AuditTab(): JSX.Element {
  const entries = useSignal<AuditEntry[] | undefined>(undefined);
  const next = useSignal<string | null>(null);
  const error = useSignal<ApiError | undefined>(undefined);
  const texts = t().admin.audit;

  const read = async (cursor: string | null, signal?: AbortSignal): Promise<void> => {
    const query = new URLSearchParams({ limit: String(PAGE), ...(cursor ? { cursor } : {}) });
    try {
      const page = await request<Page<AuditEntry>>("GET", `/api/v1/admin/audit?${query}`, signal ? { signal } : {});
      entries.value = cursor ? [...(entries.value ?? []), ...page.items] : page.items;
      next.value = page.next ?? null;
      error.value = undefined;
    } catch (reason) {
      if (!signal?.aborted) error.value = asApiError(reason);
    }
  };
  useEffect(() => {
    const abort = new AbortController();
    void read(null, abort.signal);
    return () => abort.abort();
    // Read once when the tab opens; later entries by opening it again.
  }, []);

  if (!entries.value) return <StaleNote error={error.value} isLoading />;
  return (
    <>
      <StaleNote error={error.value} />
      <Table
        label={t().admin.tabs.audit}
        testId="audit"
        rows={entries.value}
        columns={columns()}
        keyOf={({ id }) => id}
        sortedBy={{ column: "at", descending: true }}
        empty={texts.none}
        tools={
          next.value && (
            <button type="button" class="button compact" onClick={() => void read(next.value)}>
              {texts.more}
            </button>
          )
        }
      />
    </>
  );
}

function columns(): ShownColumn<AuditEntry>[] {
  const texts = t().admin.audit;
  return [
    { id: "at", heading: texts.at, value: ({ at }) => at, show: ({ at }) => formatDateTime(at) },
    { id: "by", heading: texts.by, value: ({ by_name, by }) => by_name || by },
    { id: "action", heading: texts.action, value: ({ action }) => action },
    {
      id: "subject",
      heading: texts.subject,
      value: ({ subject }) => subject,
      show: ({ subject }) => <code class="short-id">{subject.length > 20 ? `${subject.slice(0, 12)}…` : subject}</code>,
    },
    { id: "address", heading: texts.address, isSecondary: true, value: ({ address }) => address },
    {
      id: "details",
      heading: texts.details,
      isSecondary: true,
      value: ({ details }) =>
        Object.entries(details)
          .map(([key, value]) => `${key}: ${value}`)
          .join(", "),
    },
  ];
}
