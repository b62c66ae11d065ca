import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { request } from "../api/client";
import { formatBytes, formatDuration, formatMilliseconds, formatPercent, t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { act } from "./act";
import { Details, DrawerPair } from "./drawer";
import { Bar } from "./overview";
import { readAll, usePolled } from "./poll";
import { StaleNote } from "./stale";
import { type ShownColumn, Table } from "./table";
import type { Host, HostGpu, HostHeartbeat } from "./types";

export function HostsTab(): JSX.Element {
  const { data, error, reload } = usePolled("hosts", (signal) => readAll<Host>("/api/v1/admin/hosts", signal));
  const selected = useSignal<string | undefined>(undefined);
  const draining = useSignal<string | undefined>(undefined);
  const texts = t().admin.host;
  if (!data) return <StaleNote error={error} isLoading />;
  const open = data.find(({ name }) => name === selected.value);
  return (
    <>
      <StaleNote error={error} />
      <DrawerPair
        drawer={
          open && (
            <HostDetails
              host={open}
              onClose={() => {
                selected.value = undefined;
              }}
              onDrain={() => {
                draining.value = open.name;
              }}
              onResume={() => void resume(open.name).then(reload)}
            />
          )
        }
      >
        <Table
          label={t().admin.tabs.hosts}
          testId="hosts"
          rows={data}
          columns={columns()}
          keyOf={({ name }) => name}
          sortedBy={{ column: "name", descending: false }}
          selected={selected.value}
          onSelect={({ name }) => {
            selected.value = name;
          }}
          empty={texts.none}
        />
      </DrawerPair>
      {draining.value && (
        <DrainDialog
          name={draining.value}
          onClose={() => {
            draining.value = undefined;
            reload();
          }}
        />
      )}
    </>
  );
}

function columns(): ShownColumn<Host>[] {
  const texts = t().admin.host;
  return [
    { id: "name", heading: texts.name, value: ({ name }) => name },
    {
      id: "state",
      heading: texts.state,
      value: ({ state }) => texts.states[state],
      show: ({ state }) => <span class={`state state-${state}`}>{texts.states[state]}</span>,
    },
    {
      id: "places",
      heading: texts.places,
      isNumber: true,
      value: ({ used }) => used,
      show: ({ used, capacity }) => <Share text={`${used} / ${capacity}`} share={capacity > 0 ? used / capacity : 0} />,
    },
    {
      id: "cpu",
      heading: texts.cpu,
      isNumber: true,
      value: ({ heartbeat }) => heartbeat?.cpu ?? null,
      show: ({ heartbeat }) => heartbeat && <Share text={formatPercent(heartbeat.cpu)} share={heartbeat.cpu} />,
    },
    {
      id: "memory",
      heading: texts.memory,
      isNumber: true,
      isSecondary: true,
      value: ({ heartbeat }) => (heartbeat ? usedMemory(heartbeat) : null),
      show: ({ heartbeat }) =>
        heartbeat && <Share text={formatPercent(usedMemory(heartbeat))} share={usedMemory(heartbeat)} />,
    },
    {
      id: "gpu",
      heading: texts.gpu,
      isNumber: true,
      isSecondary: true,
      value: ({ heartbeat }) => busiest(heartbeat?.gpus ?? []),
      show: ({ heartbeat }) => {
        const most = busiest(heartbeat?.gpus ?? []);
        return most === null ? "–" : <Share text={formatPercent(most)} share={most} />;
      },
    },
    {
      id: "heartbeat",
      heading: texts.heartbeat,
      isNumber: true,
      value: ({ heartbeat }) => heartbeat?.age_seconds ?? null,
      show: ({ heartbeat }) => (heartbeat ? texts.ago(formatDuration(heartbeat.age_seconds)) : texts.never),
    },
    {
      id: "version",
      heading: texts.version,
      isSecondary: true,
      value: ({ heartbeat }) => heartbeat?.version ?? null,
    },
  ];
}

function usedMemory(beat: HostHeartbeat): number {
  return beat.memory_total_bytes > 0 ? 1 - beat.memory_available_bytes / beat.memory_total_bytes : 0;
}

function busiest(gpus: HostGpu[]): number | null {
  const known = gpus.map(({ utilisation }) => utilisation).filter((each) => each !== null);
  return known.length > 0 ? Math.max(...known) : null;
}

function Share({ text, share }: { text: string; share: number }): JSX.Element {
  return (
    <span class="share">
      {text}
      <Bar share={share} />
    </span>
  );
}

interface HostDetailsProps {
  host: Host;
  onClose: () => void;
  onDrain: () => void;
  onResume: () => void;
}

function HostDetails({ host, onClose, onDrain, onResume }: HostDetailsProps): JSX.Element {
  const texts = t().admin.host;
  const beat = host.heartbeat;
  return (
    <Details
      heading={host.name}
      testId="host-details"
      onClose={onClose}
      actions={
        host.desired_state === "serving" ? (
          <button type="button" class="button" data-testid="drain" onClick={onDrain}>
            {texts.drain}
          </button>
        ) : (
          <button type="button" class="button primary" data-testid="resume" onClick={onResume}>
            {texts.resume}
          </button>
        )
      }
      facts={[
        [texts.state, texts.states[host.state]],
        [texts.places, `${host.used} / ${host.capacity}`],
        [texts.heartbeat, beat ? texts.ago(formatDuration(beat.age_seconds)) : texts.never],
        [texts.version, beat?.version],
        [texts.platform, beat?.platform],
        [texts.cpu, beat && formatPercent(beat.cpu)],
        [texts.memory, beat && `${formatPercent(usedMemory(beat))} / ${formatBytes(beat.memory_total_bytes)}`],
        [texts.disk, beat && formatBytes(beat.disk_free_bytes)],
        [texts.clock, beat && formatMilliseconds(beat.clock_skew_ms)],
        [texts.outbox, beat && String(beat.events_waiting)],
        [
          texts.labels,
          Object.entries(host.labels)
            .map(([key, value]) => `${key}=${value}`)
            .join(", "),
        ],
        [
          texts.titles,
          Object.entries(host.titles)
            .map(([name, build]) => `${name} (${build})`)
            .join(", "),
        ],
        [texts.addresses, `${host.control_url}\n${host.edge_url}`],
      ]}
    >
      {beat?.gpus.map((gpu) => (
        <GpuCard key={gpu.index} gpu={gpu} />
      ))}
      {host.sessions.length > 0 && (
        <section>
          <h3>{texts.sessions}</h3>
          <ul class="plain-list">
            {host.sessions.map(({ id, title, slot }) => (
              <li key={id}>
                <a href={`/admin/sessions?session=${id}`}>{title}</a> {slot !== null && texts.slot(slot)}
              </li>
            ))}
          </ul>
        </section>
      )}
    </Details>
  );
}

function GpuCard({ gpu }: { gpu: HostGpu }): JSX.Element {
  const texts = t().admin.host;
  const memory = gpu.memory_total_bytes > 0 ? gpu.memory_used_bytes / gpu.memory_total_bytes : 0;
  return (
    <section class="gpu">
      <h3>
        {texts.gpu} {gpu.index}: {gpu.name}
      </h3>
      <dl>
        <dt>{texts.gpu}</dt>
        <dd>
          {gpu.utilisation === null ? "–" : <Share text={formatPercent(gpu.utilisation)} share={gpu.utilisation} />}
        </dd>
        <dt>{texts.encoder}</dt>
        <dd>
          {gpu.encoder_utilisation === null ? (
            "–"
          ) : (
            <Share text={formatPercent(gpu.encoder_utilisation)} share={gpu.encoder_utilisation} />
          )}
        </dd>
        <dt>{texts.gpuMemory}</dt>
        <dd>
          <Share
            text={`${formatBytes(gpu.memory_used_bytes)} / ${formatBytes(gpu.memory_total_bytes)}`}
            share={memory}
          />
        </dd>
        <dt>{texts.sessions}</dt>
        <dd>{gpu.sessions}</dd>
      </dl>
    </section>
  );
}

function DrainDialog({ name, onClose }: { name: string; onClose: () => void }): JSX.Element {
  const texts = t().admin.host;
  const drain = async (endSessions: boolean): Promise<void> => {
    const path = `/api/v1/admin/hosts/${encodeURIComponent(name)}/drain`;
    await act(() => request("POST", path, { body: { end_sessions: endSessions } }), texts.draining(name));
    onClose();
  };
  return (
    <Dialog heading={texts.drainHeading(name)} testId="drain-dialog" onClose={onClose}>
      <p>{texts.drainLead}</p>
      <div class="actions">
        <button type="button" class="button" onClick={onClose}>
          {t().common.cancel}
        </button>
        <button type="button" class="button danger" data-testid="drain-now" onClick={() => void drain(true)}>
          {texts.drainNow}
        </button>
        <button type="button" class="button primary" data-testid="confirm-drain" onClick={() => void drain(false)}>
          {texts.drain}
        </button>
      </div>
    </Dialog>
  );
}

async function resume(name: string): Promise<void> {
  const path = `/api/v1/admin/hosts/${encodeURIComponent(name)}/resume`;
  await act(() => request("POST", path, { body: {} }), t().admin.host.resumed(name));
}
