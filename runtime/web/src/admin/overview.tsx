import type { JSX } from "preact";
import { request } from "../api/client";
import { SESSION_STATES } from "../api/codes";
import { formatDuration, localText, t } from "../i18n";
import { Icon } from "../ui/icons";
import { readAll, usePolled } from "./poll";
import { StaleNote } from "./stale";
import type { Host, Overview, AdminTitle } from "./types";

const CLOCK_TOLERANCE_MS = 2_000;

interface Everything {
  overview: Overview;
  hosts: Host[];
  titles: AdminTitle[];
}

async function readEverything(signal: AbortSignal): Promise<Everything> {
  const [overview, hosts, titles] = await Promise.all([
    request<Overview>("GET", "/api/v1/admin/overview", { signal }),
    readAll<Host>("/api/v1/admin/hosts", signal),
    readAll<AdminTitle>("/api/v1/admin/titles", signal),
  ]);
  return { overview, hosts, titles };
}

export function OverviewTab(): JSX.Element {
  const { data, error } = usePolled("overview", readEverything);
  const texts = t().admin.overview;
  if (!data) return <StaleNote error={error} isLoading />;
  const { overview, hosts, titles } = data;
  const all = Object.values(overview.hosts).reduce((sum, n) => sum + n, 0);
  const live = Object.values(overview.sessions).reduce((sum, n) => sum + n, 0);
  return (
    <div class="overview" data-testid="overview">
      <StaleNote error={error} />
      <dl class="figures">
        <Figure name={texts.hosts} value={texts.of(overview.hosts["serving"] ?? 0, all)} testId="figure-hosts" />
        <Figure
          name={texts.slots}
          value={texts.of(overview.slots.used, overview.slots.capacity)}
          share={overview.slots.capacity > 0 ? overview.slots.used / overview.slots.capacity : 0}
          testId="figure-slots"
        />
        <Figure name={texts.sessions} value={String(live)} testId="figure-sessions" />
        <Figure name={texts.participants} value={String(overview.participants)} testId="figure-participants" />
        <Figure name={texts.titles} value={String(overview.titles)} testId="figure-titles" />
      </dl>
      <Attention hosts={hosts} titles={titles} />
      {live > 0 && (
        <section class="card">
          <h2>{texts.byState}</h2>
          <ul class="by-state">
            {SESSION_STATES.filter((state) => overview.sessions[state]).map((state) => (
              <li key={state}>
                <span>{t().admin.session.states[state]}</span>
                <strong>{overview.sessions[state]}</strong>
              </li>
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}

function Figure(props: { name: string; value: string; share?: number; testId: string }): JSX.Element {
  return (
    <div class="figure" data-testid={props.testId}>
      <dt>{props.name}</dt>
      <dd>{props.value}</dd>
      {props.share !== undefined && <Bar share={props.share} />}
    </div>
  );
}

/** A share as a bar; the number stands beside it, so it is decoration. */
export function Bar({ share }: { share: number }): JSX.Element {
  const percent = Math.max(0, Math.min(100, share * 100));
  return (
    <span class={`bar ${percent > 90 ? "bar-full" : ""}`} aria-hidden="true">
      <span style={{ width: `${percent}%` }} />
    </span>
  );
}

function Attention({ hosts, titles }: { hosts: Host[]; titles: AdminTitle[] }): JSX.Element {
  const texts = t().admin.overview;
  const notes = [...hosts.flatMap(hostNotes), ...titles.flatMap(titleNotes)];
  return (
    <section class="card" data-testid="attention">
      <h2>{texts.attention}</h2>
      {notes.length === 0 ? (
        <p class="all-well">
          <Icon name="check" size={18} />
          {texts.allWell}
        </p>
      ) : (
        <ul class="attention">
          {notes.map((note) => (
            <li key={note}>
              <Icon name="warning" size={18} />
              {note}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function hostNotes(host: Host): string[] {
  const texts = t().admin.overview;
  const notes: string[] = [];
  const beat = host.heartbeat;
  if (!beat) notes.push(texts.hostNever(host.name));
  else if (host.state === "offline") {
    notes.push(texts.hostOffline(host.name, t().admin.host.ago(formatDuration(beat.age_seconds))));
  }
  if (host.state === "draining") notes.push(texts.hostDraining(host.name));
  if (beat && Math.abs(beat.clock_skew_ms) > CLOCK_TOLERANCE_MS) {
    notes.push(texts.hostClock(host.name, beat.clock_skew_ms));
  }
  if (host.strangers > 0) notes.push(texts.hostStrangers(host.name, host.strangers));
  return notes;
}

function titleNotes(title: AdminTitle): string[] {
  if (title.retired || title.availability.state !== "offline") return [];
  return [t().admin.overview.titleOffline(localText(title.display_name, title.name))];
}
