import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { request } from "../api/client";
import { END_REASONS, type EndReason, isFinal, isJoinable } from "../api/codes";
import type { Session } from "../api/types";
import { formatDateTime, formatDuration, formatNumber, t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { act } from "./act";
import { Details, DrawerPair } from "./drawer";
import { readAll, usePolled } from "./poll";
import { SessionLogs } from "./session-logs";
import { SessionStatistics } from "./session-statistics";
import { StaleNote } from "./stale";
import { type ShownColumn, Table } from "./table";

export function SessionsTab(): JSX.Element {
  const onlyLive = useSignal(true);
  const query = onlyLive.value ? "?state=live" : "";
  const { data, error, reload } = usePolled(`sessions${query}`, (signal) =>
    readAll<Session>(`/api/v1/sessions${query}`, signal),
  );
  const selected = useSignal<string | undefined>(
    new URLSearchParams(window.location.search).get("session") ?? undefined,
  );
  const ending = useSignal<Session | undefined>(undefined);
  const texts = t().admin.session;
  if (!data) return <StaleNote error={error} isLoading />;
  const open = data.find(({ id }) => id === selected.value);
  return (
    <>
      <StaleNote error={error} />
      <DrawerPair
        drawer={
          open && (
            <SessionDetails
              session={open}
              onClose={() => {
                selected.value = undefined;
              }}
              onEnd={() => {
                ending.value = open;
              }}
            />
          )
        }
      >
        <Table
          label={t().admin.tabs.sessions}
          testId="sessions"
          rows={data}
          columns={columns()}
          keyOf={({ id }) => id}
          sortedBy={{ column: "started", descending: true }}
          selected={selected.value}
          onSelect={({ id }) => {
            selected.value = id;
          }}
          empty={texts.none}
          tools={
            <label class="select-wrap plain-select">
              <span class="visually-hidden">{texts.state}</span>
              <select
                data-testid="sessions-filter"
                value={onlyLive.value ? "live" : "all"}
                onChange={(event) => {
                  onlyLive.value = event.currentTarget.value === "live";
                }}
              >
                <option value="live">{texts.live}</option>
                <option value="all">{texts.all}</option>
              </select>
            </label>
          }
        />
      </DrawerPair>
      {ending.value && (
        <EndDialog
          session={ending.value}
          onClose={() => {
            ending.value = undefined;
            reload();
          }}
        />
      )}
    </>
  );
}

function columns(): ShownColumn<Session>[] {
  const texts = t().admin.session;
  return [
    { id: "title", heading: texts.title, value: ({ title }) => title },
    {
      id: "state",
      heading: texts.state,
      value: ({ state }) => texts.states[state],
      show: ({ state, warm, owner }) => (
        <span class={`state state-${state}`}>
          {texts.states[state]}
          {warm && !owner && ` · ${texts.warm}`}
        </span>
      ),
    },
    { id: "owner", heading: texts.owner, value: ownerName },
    { id: "host", heading: texts.host, value: ({ host }) => host ?? null },
    { id: "people", heading: texts.people, isNumber: true, value: ({ participants }) => participants },
    {
      id: "started",
      heading: texts.started,
      isNumber: true,
      value: ({ created_at }) => created_at,
      show: ({ created_at }) => formatDateTime(created_at),
    },
    {
      id: "age",
      heading: texts.age,
      isNumber: true,
      isSecondary: true,
      value: ageSeconds,
      show: (session) => formatDuration(ageSeconds(session)),
    },
    {
      id: "reason",
      heading: texts.reason,
      isSecondary: true,
      value: ({ reason }) => (reason ? reasonText(reason) : null),
    },
    {
      id: "id",
      heading: texts.id,
      isSecondary: true,
      value: ({ id }) => id,
      show: ({ id }) => <code class="short-id">{id.slice(0, 8)}</code>,
    },
  ];
}

/** Visitors without an account have no name, only an id. */
function ownerName({ owner }: Session): string | null {
  if (!owner) return null;
  return owner.name || t().admin.session.visitor(owner.id.slice(-6));
}

function ageSeconds({ created_at, ended_at }: Session): number {
  return Math.max(0, (ended_at ?? Date.now()) - created_at) / 1000;
}

function reasonText(reason: string): string {
  return (END_REASONS as readonly string[]).includes(reason) ? t().endings[reason as EndReason].what : reason;
}

interface SessionDetailsProps {
  session: Session;
  onClose: () => void;
  onEnd: () => void;
}

function SessionDetails({ session, onClose, onEnd }: SessionDetailsProps): JSX.Element {
  const texts = t().admin.session;
  return (
    <Details
      heading={session.title}
      testId="session-details"
      onClose={onClose}
      actions={
        <>
          {isJoinable(session.state) && (
            <a class="button compact" href={`/session/${session.id}`}>
              <Icon name="eye" size={18} />
              {texts.watch}
            </a>
          )}
          {session.host && (
            <a
              class="button compact"
              data-testid="bundle"
              href={`/api/v1/admin/sessions/${session.id}/bundle`}
              download={`session-${session.id}.zip`}
            >
              <Icon name="download" size={18} />
              {texts.bundle}
            </a>
          )}
          {!isFinal(session.state) && (
            <button type="button" class="button danger compact" data-testid="end-session" onClick={onEnd}>
              {texts.end}
            </button>
          )}
        </>
      }
      facts={[
        [texts.id, session.id],
        [texts.state, texts.states[session.state]],
        [texts.reason, session.reason && reasonText(session.reason)],
        [texts.detail, session.detail],
        [texts.owner, ownerName(session) ?? texts.nobody],
        [texts.host, session.host],
        [texts.placement, session.placement],
        [texts.build, session.build],
        [texts.people, String(session.participants)],
        [texts.started, formatDateTime(session.created_at)],
        [texts.age, formatDuration(ageSeconds(session))],
        [texts.steps, stepsText(session)],
      ]}
    >
      {isJoinable(session.state) && <SessionStatistics key={`statistics/${session.id}`} sessionId={session.id} />}
      {session.host && <SessionLogs key={session.id} sessionId={session.id} />}
    </Details>
  );
}

/** Each step with the seconds it took. */
function stepsText({ steps, created_at }: Session): string {
  let before = created_at;
  return steps
    .map(({ step, at }) => {
      const seconds = Math.max(0, at - before) / 1000;
      before = at;
      return `${step} ${t().start.took(formatNumber(seconds))}`;
    })
    .join("\n");
}

function EndDialog({ session, onClose }: { session: Session; onClose: () => void }): JSX.Element {
  const texts = t().admin.session;
  const end = async (): Promise<void> => {
    await act(() => request("DELETE", `/api/v1/sessions/${session.id}`), texts.ended);
    onClose();
  };
  return (
    <Dialog heading={texts.endHeading} role="alertdialog" testId="end-session-dialog" onClose={onClose}>
      <p>{texts.endLead(ownerName(session) ?? texts.nobody)}</p>
      <div class="actions">
        <button type="button" class="button" onClick={onClose}>
          {t().common.cancel}
        </button>
        <button type="button" class="button danger" data-testid="confirm-end-session" onClick={() => void end()}>
          {texts.end}
        </button>
      </div>
    </Dialog>
  );
}
