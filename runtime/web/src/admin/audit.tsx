import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { type ApiError, asApiError, request } from "../api/client";
import type { Page } from "../api/types";
import { formatDateTime, t } from "../i18n";
import { usePolled } from "./poll";
import { StaleNote } from "./stale";
import { type ShownColumn, Table } from "./table";
import type { AuditEntry } from "./types";

const PAGE = 200;

/** What administrators did, newest first and growing; older entries on demand. */
export function AuditTab(): JSX.Element {
  // By id: what is read anew overlaps with what is here already.
  const entries = useSignal<ReadonlyMap<string, AuditEntry>>(new Map());
  /** Where older entries begin; undefined until the first page has said so. */
  const next = useSignal<string | null | undefined>(undefined);
  const refused = useSignal<ApiError | undefined>(undefined);
  const texts = t().admin.audit;

  const read = async (cursor: string | null, signal?: AbortSignal): Promise<string | null> => {
    const query = new URLSearchParams({ limit: String(PAGE), ...(cursor ? { cursor } : {}) });
    const page = await request<Page<AuditEntry>>("GET", `/api/v1/admin/audit?${query}`, signal ? { signal } : {});
    entries.value = new Map([...entries.value, ...page.items.map((entry) => [entry.id, entry] as const)]);
    return page.next ?? null;
  };
  const { data, error } = usePolled("audit", async (signal) => {
    const following = await read(null, signal);
    if (next.value === undefined) next.value = following;
    return true;
  });
  const readOlder = async (cursor: string): Promise<void> => {
    try {
      next.value = await read(cursor);
      refused.value = undefined;
    } catch (reason) {
      refused.value = asApiError(reason);
    }
  };

  if (!data) return <StaleNote error={error} isLoading />;
  const older = next.value;
  return (
    <>
      <StaleNote error={error ?? refused.value} />
      <Table
        label={t().admin.tabs.audit}
        testId="audit"
        rows={[...entries.value.values()]}
        columns={columns()}
        keyOf={({ id }) => id}
        sortedBy={{ column: "at", descending: true }}
        empty={texts.none}
        tools={
          older && (
            <button type="button" class="button compact" onClick={() => void readOlder(older)}>
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
