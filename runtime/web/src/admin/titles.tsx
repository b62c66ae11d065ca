import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { request } from "../api/client";
import { localText, t } from "../i18n";
import { act } from "./act";
import { Details, DrawerPair } from "./drawer";
import { readAll, usePolled } from "./poll";
import { StaleNote } from "./stale";
import { type ShownColumn, Table } from "./table";
import type { AdminTitle } from "./types";

export function TitlesTab(): JSX.Element {
  const { data, error, reload } = usePolled("titles", (signal) => readAll<AdminTitle>("/api/v1/admin/titles", signal));
  const selected = useSignal<string | undefined>(undefined);
  if (!data) return <StaleNote error={error} isLoading />;
  const open = data.find(({ name }) => name === selected.value);
  return (
    <>
      <StaleNote error={error} />
      <DrawerPair
        drawer={
          open && (
            <TitleDetails
              key={`${open.name}/${open.version}`}
              title={open}
              onClose={() => {
                selected.value = undefined;
              }}
              onChanged={reload}
            />
          )
        }
      >
        <Table
          label={t().admin.tabs.titles}
          testId="admin-titles"
          rows={data}
          columns={columns()}
          keyOf={({ name }) => name}
          sortedBy={{ column: "name", descending: false }}
          selected={selected.value}
          onSelect={({ name }) => {
            selected.value = name;
          }}
          empty={t().admin.title.none}
        />
      </DrawerPair>
    </>
  );
}

function columns(): ShownColumn<AdminTitle>[] {
  const texts = t().admin.title;
  const availability = t().catalogue;
  const stateText = ({ availability: { state, free } }: AdminTitle): string =>
    state === "free" ? availability.free(free) : state === "busy" ? availability.busy : availability.offline;
  return [
    { id: "name", heading: texts.name, value: (title) => localText(title.display_name, title.name) },
    {
      id: "availability",
      heading: texts.availability,
      value: stateText,
      show: (title) =>
        title.retired ? (
          <span class="state">{texts.retired}</span>
        ) : (
          <span class={`availability availability-${title.availability.state}`}>{stateText(title)}</span>
        ),
    },
    { id: "hosts", heading: texts.hosts, isNumber: true, value: (title) => title.availability.hosts },
    { id: "sessions", heading: texts.sessions, isNumber: true, value: ({ sessions }) => sessions },
    { id: "queued", heading: texts.queued, isNumber: true, isSecondary: true, value: ({ queued }) => queued },
    {
      id: "warm",
      heading: texts.warm,
      isNumber: true,
      value: ({ warm }) => warm.target,
      show: ({ warm }) => (warm.target > 0 ? texts.warmState(warm.ready, warm.target) : "–"),
    },
    {
      id: "builds",
      heading: texts.builds,
      isSecondary: true,
      value: ({ builds }) => builds.join(", "),
    },
  ];
}

interface TitleDetailsProps {
  title: AdminTitle;
  onClose: () => void;
  onChanged: () => void;
}

function TitleDetails({ title, onClose, onChanged }: TitleDetailsProps): JSX.Element {
  const texts = t().admin.title;
  const name = localText(title.display_name, title.name);
  const form = useSignal({
    warm: String(title.warm.target),
    retired: title.retired,
    bookable: title.bookable,
    maxSessions: textOf(title.limits.max_sessions),
    maxLength: textOf(title.limits.max_length_seconds, 60),
    idle: textOf(title.limits.idle_seconds, 60),
    players: String(title.limits.max_players),
  });
  const change = (changes: Partial<typeof form.value>): void => {
    form.value = { ...form.value, ...changes };
  };
  const save = async (): Promise<void> => {
    const { warm, retired, bookable, maxSessions, maxLength, idle, players } = form.value;
    const body = {
      warm: Number(warm),
      retired,
      bookable,
      limits: {
        max_sessions: numberOf(maxSessions),
        max_length_seconds: numberOf(maxLength, 60),
        idle_seconds: numberOf(idle, 60),
        max_players: Number(players),
      },
    };
    const path = `/api/v1/admin/titles/${encodeURIComponent(title.name)}`;
    const headers = { "If-Match": `"${title.version}"` };
    if (await act(() => request("PATCH", path, { body, headers }), texts.saved(name))) onChanged();
  };
  const field = (label: string, key: "warm" | "maxSessions" | "maxLength" | "idle" | "players"): JSX.Element => (
    <label class="field">
      <span>{label}</span>
      <input
        class="input"
        type="number"
        min="0"
        data-testid={`title-${key}`}
        placeholder={texts.unlimited}
        required={key === "warm" || key === "players"}
        value={form.value[key]}
        onInput={(event) => change({ [key]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <Details
      heading={name}
      testId="title-details"
      onClose={onClose}
      facts={[
        [texts.groups, title.groups.join(", ") || texts.everyone],
        [texts.builds, title.builds.join(", ")],
        [texts.warm, texts.warmState(title.warm.ready, title.warm.target)],
      ]}
    >
      <form
        class="details-form"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        {field(texts.warmTarget, "warm")}
        {field(texts.maxSessions, "maxSessions")}
        {field(texts.maxLength, "maxLength")}
        {field(texts.idle, "idle")}
        {field(texts.players, "players")}
        <Switch label={texts.bookable} isOn={form.value.bookable} onChange={(bookable) => change({ bookable })} />
        <Switch label={texts.retire} isOn={form.value.retired} onChange={(retired) => change({ retired })} />
        <p class="muted small">{texts.registryNote}</p>
        <button type="submit" class="button primary" data-testid="save-title">
          {texts.save}
        </button>
      </form>
    </Details>
  );
}

export function Switch(props: { label: string; isOn: boolean; onChange: (on: boolean) => void }): JSX.Element {
  return (
    <label class="switch">
      <input
        type="checkbox"
        role="switch"
        checked={props.isOn}
        onChange={(event) => props.onChange(event.currentTarget.checked)}
      />
      <span>{props.label}</span>
    </label>
  );
}

function textOf(value: number | null, unit = 1): string {
  return value === null ? "" : String(value / unit);
}

function numberOf(text: string, unit = 1): number | null {
  return text.trim() === "" ? null : Number(text) * unit;
}
