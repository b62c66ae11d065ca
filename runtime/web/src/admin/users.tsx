import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { request } from "../api/client";
import { formatDate, t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { act } from "./act";
import { readAll, usePolled } from "./poll";
import { StaleNote } from "./stale";
import { type ShownColumn, Table } from "./table";
import { Switch } from "./titles";
import type { User } from "./types";

type Editing = { user: User | undefined } | undefined;

export function UsersBlock(): JSX.Element {
  const { data, error, reload } = usePolled("users", (signal) => readAll<User>("/api/v1/admin/users", signal), 15_000);
  const editing = useSignal<Editing>(undefined);
  const removing = useSignal<string | undefined>(undefined);
  const texts = t().admin.account;
  if (!data) return <StaleNote error={error} isLoading />;
  return (
    <>
      <StaleNote error={error} />
      <Table
        label={texts.users}
        testId="users"
        rows={data}
        columns={columns()}
        keyOf={({ name }) => name}
        sortedBy={{ column: "name", descending: false }}
        onSelect={(user) => {
          editing.value = { user };
        }}
        empty={texts.noUsers}
        tools={
          <button
            type="button"
            class="button compact"
            data-testid="add-user"
            onClick={() => {
              editing.value = { user: undefined };
            }}
          >
            <Icon name="plus" size={18} />
            {texts.add}
          </button>
        }
      />
      {editing.value && (
        <UserDialog
          user={editing.value.user}
          onClose={() => {
            editing.value = undefined;
            reload();
          }}
          onRemove={(name) => {
            editing.value = undefined;
            removing.value = name;
          }}
        />
      )}
      {removing.value && (
        <RemoveDialog
          name={removing.value}
          onClose={() => {
            removing.value = undefined;
            reload();
          }}
        />
      )}
    </>
  );
}

function columns(): ShownColumn<User>[] {
  const texts = t().admin.account;
  return [
    { id: "name", heading: texts.name, value: ({ name }) => name },
    { id: "displayName", heading: texts.displayName, value: ({ display_name }) => display_name },
    {
      id: "role",
      heading: texts.role,
      value: ({ admin, disabled }) => (disabled ? texts.disabled : admin ? texts.administrator : texts.viewer),
    },
    { id: "groups", heading: texts.groups, isSecondary: true, value: ({ groups }) => groups.join(", ") },
    {
      id: "created",
      heading: texts.created,
      isNumber: true,
      isSecondary: true,
      value: ({ created_at }) => created_at,
      show: ({ created_at }) => formatDate(created_at),
    },
  ];
}

interface UserDialogProps {
  user: User | undefined;
  onClose: () => void;
  onRemove: (name: string) => void;
}

function UserDialog({ user, onClose, onRemove }: UserDialogProps): JSX.Element {
  const texts = t().admin.account;
  const form = useSignal({
    name: user?.name ?? "",
    displayName: user?.display_name ?? "",
    groups: user?.groups.join(", ") ?? "",
    password: "",
    admin: user?.admin ?? false,
    disabled: user?.disabled ?? false,
  });
  const change = (changes: Partial<typeof form.value>): void => {
    form.value = { ...form.value, ...changes };
  };
  const save = async (): Promise<void> => {
    const { name, displayName, groups, password, admin, disabled } = form.value;
    const body = {
      display_name: displayName,
      groups: splitList(groups),
      admin,
      disabled,
      ...(password ? { password } : {}),
    };
    const path = `/api/v1/admin/users/${encodeURIComponent(name)}`;
    if (await act(() => request("PUT", path, { body }), t().admin.title.saved(name))) onClose();
  };
  const field = (label: string, key: "name" | "displayName" | "groups"): JSX.Element => (
    <label class="field">
      <span>{label}</span>
      <input
        class="input"
        autocomplete="off"
        data-testid={`user-${key}`}
        required={key === "name"}
        readOnly={key === "name" && user !== undefined}
        placeholder={key === "groups" ? texts.groupsHint : undefined}
        value={form.value[key]}
        onInput={(event) => change({ [key]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <Dialog heading={user ? user.name : texts.add} testId="user-dialog" onClose={onClose}>
      <form
        class="details-form"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        {field(texts.name, "name")}
        {field(texts.displayName, "displayName")}
        <label class="field">
          <span>{texts.password}</span>
          <input
            class="input"
            type="password"
            autocomplete="new-password"
            data-testid="user-password"
            required={!user}
            value={form.value.password}
            onInput={(event) => change({ password: event.currentTarget.value })}
          />
        </label>
        {user && <p class="muted small">{texts.passwordKeep}</p>}
        {field(texts.groups, "groups")}
        <Switch label={texts.administrator} isOn={form.value.admin} onChange={(admin) => change({ admin })} />
        <Switch label={texts.disabled} isOn={form.value.disabled} onChange={(disabled) => change({ disabled })} />
        <div class="actions">
          {user && (
            <button type="button" class="button" data-testid="remove-user" onClick={() => onRemove(user.name)}>
              {texts.remove}
            </button>
          )}
          <button type="button" class="button" onClick={onClose}>
            {t().common.cancel}
          </button>
          <button type="submit" class="button primary" data-testid="save-user">
            {texts.save}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function RemoveDialog({ name, onClose }: { name: string; onClose: () => void }): JSX.Element {
  const texts = t().admin.account;
  const remove = async (): Promise<void> => {
    const path = `/api/v1/admin/users/${encodeURIComponent(name)}`;
    await act(() => request("DELETE", path), t().admin.title.saved(name));
    onClose();
  };
  return (
    <Dialog heading={texts.removeHeading(name)} role="alertdialog" onClose={onClose}>
      <p>{texts.removeLead}</p>
      <div class="actions">
        <button type="button" class="button" onClick={onClose}>
          {t().common.cancel}
        </button>
        <button type="button" class="button danger" data-testid="confirm-remove-user" onClick={() => void remove()}>
          {texts.remove}
        </button>
      </div>
    </Dialog>
  );
}

/** "a, b c ,," → ["a", "b c"]. */
export function splitList(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
}
