import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { type ApiError, asApiError, request } from "../api/client";
import { formatDate, t } from "../i18n";
import { copyText } from "../ui/copy";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { ErrorNote } from "../ui/message";
import { act } from "./act";
import { readAll, usePolled } from "./poll";
import { StaleNote } from "./stale";
import { type ShownColumn, Table } from "./table";
import type { Key } from "./types";
import { splitList } from "./users";

const SCOPES = ["titles:read", "sessions:read", "sessions:write", "bookings:read", "bookings:write", "admin"] as const;
const DAY_SECONDS = 86_400;
const LIFETIMES = [30, 90, 365, undefined] as const;

export function KeysBlock(): JSX.Element {
  const { data, error, reload } = usePolled("keys", (signal) => readAll<Key>("/api/v1/admin/keys", signal), 15_000);
  const isMaking = useSignal(false);
  const texts = t().admin.account;
  if (!data) return <StaleNote error={error} isLoading />;
  const revoke = async (key: Key): Promise<void> => {
    await act(() => request("DELETE", `/api/v1/admin/keys/${key.id}`), t().admin.title.saved(key.name));
    reload();
  };
  return (
    <>
      <StaleNote error={error} />
      <Table
        label={texts.keys}
        testId="keys"
        rows={data}
        columns={columns((key) => void revoke(key))}
        keyOf={({ id }) => id}
        sortedBy={{ column: "name", descending: false }}
        empty={texts.noKeys}
        tools={
          <button
            type="button"
            class="button compact"
            data-testid="new-key"
            onClick={() => {
              isMaking.value = true;
            }}
          >
            <Icon name="plus" size={18} />
            {texts.newKey}
          </button>
        }
      />
      {isMaking.value && (
        <KeyDialog
          onClose={() => {
            isMaking.value = false;
            reload();
          }}
        />
      )}
    </>
  );
}

function columns(onRevoke: (key: Key) => void): ShownColumn<Key>[] {
  const texts = t().admin.account;
  return [
    { id: "name", heading: texts.name, value: ({ name }) => name },
    { id: "scopes", heading: texts.scopes, value: ({ scopes }) => scopes.join(", ") },
    { id: "groups", heading: texts.groups, isSecondary: true, value: ({ groups }) => groups.join(", ") },
    { id: "by", heading: texts.by, isSecondary: true, value: ({ created_by }) => created_by },
    {
      id: "expires",
      heading: texts.expires,
      isNumber: true,
      value: ({ expires_at }) => expires_at,
      show: ({ expires_at }) => (expires_at === null ? texts.never : formatDate(expires_at)),
    },
    {
      id: "revoke",
      heading: texts.revoke,
      value: ({ revoked_at }) => revoked_at,
      show: (key) =>
        key.revoked_at === null ? (
          <button
            type="button"
            class="button compact"
            aria-label={`${texts.revoke} ${key.name}`}
            data-testid={`revoke-key-${key.id}`}
            onClick={() => onRevoke(key)}
          >
            {texts.revoke}
          </button>
        ) : (
          texts.revoked
        ),
    },
  ];
}

function KeyDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const texts = t().admin.account;
  const name = useSignal("");
  const scopes = useSignal<readonly string[]>(["titles:read", "sessions:read", "sessions:write"]);
  const groups = useSignal("");
  const days = useSignal<number | undefined>(90);
  const made = useSignal<string | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);

  const make = async (): Promise<void> => {
    try {
      const body = {
        name: name.value,
        scopes: scopes.value,
        groups: splitList(groups.value),
        ...(days.value === undefined ? {} : { expires_in_seconds: days.value * DAY_SECONDS }),
      };
      made.value = (await request<Key>("POST", "/api/v1/admin/keys", { body })).key ?? undefined;
      error.value = undefined;
    } catch (reason) {
      error.value = asApiError(reason);
    }
  };
  if (made.value !== undefined) return <MadeKey text={made.value} onClose={onClose} />;
  return (
    <Dialog heading={texts.newKey} testId="key-dialog" onClose={onClose}>
      <form
        class="details-form"
        onSubmit={(event) => {
          event.preventDefault();
          void make();
        }}
      >
        <label class="field">
          <span>{texts.name}</span>
          <input
            class="input"
            data-testid="key-name"
            required
            value={name.value}
            onInput={(event) => {
              name.value = event.currentTarget.value;
            }}
          />
        </label>
        <fieldset class="choices">
          <legend>{texts.scopes}</legend>
          {SCOPES.map((scope) => (
            <label key={scope} class="choice">
              <input
                type="checkbox"
                checked={scopes.value.includes(scope)}
                onChange={(event) => {
                  const others = scopes.value.filter((each) => each !== scope);
                  scopes.value = event.currentTarget.checked ? [...others, scope] : others;
                }}
              />
              <code>{scope}</code>
            </label>
          ))}
        </fieldset>
        <label class="field">
          <span>{texts.groups}</span>
          <input
            class="input"
            placeholder={texts.groupsHint}
            value={groups.value}
            onInput={(event) => {
              groups.value = event.currentTarget.value;
            }}
          />
        </label>
        <label class="field">
          <span>{texts.expires}</span>
          <select
            class="input"
            value={String(days.value ?? "")}
            onChange={(event) => {
              days.value = event.currentTarget.value ? Number(event.currentTarget.value) : undefined;
            }}
          >
            {LIFETIMES.map((each) => (
              <option key={String(each)} value={String(each ?? "")}>
                {each === undefined ? texts.never : t().common.days(each)}
              </option>
            ))}
          </select>
        </label>
        {error.value && <ErrorNote error={error.value} />}
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            {t().common.cancel}
          </button>
          <button type="submit" class="button primary" data-testid="make-key" disabled={scopes.value.length === 0}>
            {texts.newKey}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function MadeKey({ text, onClose }: { text: string; onClose: () => void }): JSX.Element {
  return (
    <Dialog heading={t().admin.account.keyMade} testId="made-key" onClose={onClose}>
      <input
        class="input"
        readOnly
        aria-label={t().admin.account.keyMade}
        data-testid="key-text"
        value={text}
        onFocus={(event) => event.currentTarget.select()}
      />
      <div class="actions">
        <button type="button" class="button" onClick={() => void copyText(text)}>
          <Icon name="copy" />
          {t().common.copy}
        </button>
        <button type="button" class="button primary" onClick={onClose}>
          {t().common.close}
        </button>
      </div>
    </Dialog>
  );
}
