import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type ApiError, asApiError, request } from "../api/client";
import type { Invite, Page } from "../api/types";
import { formatDateTime, t } from "../i18n";
import { copyText } from "../ui/copy";
import { Icon } from "../ui/icons";
import { ErrorNote } from "../ui/message";
import { QrCode } from "../ui/qr-code";
import { toast } from "../ui/toasts";
import { useModel } from "./model-context";
import { PanelFrame } from "./panels";

const HOUR_SECONDS = 3600;
const EXPIRIES = [1, 8, 24, 24 * 7].map((hours) => hours * HOUR_SECONDS);
type InviteRole = "watcher" | "controller";

export function InvitePanel(): JSX.Element {
  const model = useModel();
  const texts = t().invite;
  if (!model.isOwner.value) {
    return (
      <PanelFrame heading={texts.heading} testId="invite-panel">
        <div class="panel-body">
          <p class="note">{texts.ownerOnly}</p>
        </div>
      </PanelFrame>
    );
  }
  return <InviteForm />;
}

function InviteForm(): JSX.Element {
  const model = useModel();
  const texts = t().invite;
  const path = `/api/v1/sessions/${encodeURIComponent(model.session.id)}/invites`;
  const role = useSignal<InviteRole>("watcher");
  const expiresIn = useSignal(EXPIRIES[1] ?? HOUR_SECONDS);
  const busy = useSignal(false);
  const made = useSignal<string | undefined>(undefined);
  const invites = useSignal<Invite[]>([]);
  const error = useSignal<ApiError | undefined>(undefined);

  const run = async (work: () => Promise<void>): Promise<void> => {
    busy.value = true;
    error.value = undefined;
    try {
      await work();
      invites.value = (await request<Page<Invite>>("GET", path)).items.filter((each) => !each.revoked);
    } catch (reason) {
      error.value = asApiError(reason);
    } finally {
      busy.value = false;
    }
  };
  // Read once when the panel opens.
  useEffect(() => {
    void run(async () => undefined);
  }, [path]);

  const create = (): Promise<void> =>
    run(async () => {
      const invite = await request<Invite>("POST", path, {
        body: { role: role.value, expires_in_seconds: expiresIn.value },
      });
      made.value = invite.url ? new URL(invite.url, window.location.href).href : undefined;
    });
  const revoke = (id: string): Promise<void> =>
    run(async () => {
      await request("DELETE", `${path}/${encodeURIComponent(id)}`);
      made.value = undefined;
      toast(texts.revoked, { icon: "check" });
    });

  return (
    <PanelFrame heading={texts.heading} testId="invite-panel">
      <div class="panel-body">
        <p class="muted">{texts.lead}</p>
        <fieldset class="choices">
          <legend>{texts.role}</legend>
          {(["watcher", "controller"] as const).map((each) => (
            <label key={each} class="choice">
              <input
                type="radio"
                name="invite-role"
                data-testid={`invite-role-${each}`}
                checked={role.value === each}
                onChange={() => {
                  role.value = each;
                }}
              />
              <span>{texts.roles[each]}</span>
            </label>
          ))}
        </fieldset>
        <label class="field">
          <span>{texts.expiry}</span>
          <select
            class="input"
            data-testid="invite-expiry"
            value={String(expiresIn.value)}
            onChange={(event) => {
              expiresIn.value = Number(event.currentTarget.value);
            }}
          >
            {EXPIRIES.map((seconds) => (
              <option key={seconds} value={String(seconds)}>
                {seconds > 24 * HOUR_SECONDS
                  ? t().common.days(seconds / 24 / HOUR_SECONDS)
                  : t().common.hours(seconds / HOUR_SECONDS)}
              </option>
            ))}
          </select>
        </label>
        <button
          type="button"
          class="button primary"
          data-testid="create-invite"
          disabled={busy.value}
          onClick={() => void create()}
        >
          <Icon name="plus" />
          {busy.value ? texts.creating : texts.create}
        </button>
        {error.value && <ErrorNote error={error.value} />}
        {made.value && <MadeLink link={made.value} />}
        <ActiveInvites invites={invites.value} onRevoke={(id) => void revoke(id)} />
      </div>
    </PanelFrame>
  );
}

function MadeLink({ link }: { link: string }): JSX.Element {
  const texts = t().invite;
  const field = useRef<HTMLInputElement>(null);
  // Ready to be copied; and the button that made it was disabled meanwhile, which loses the focus.
  useEffect(() => field.current?.focus(), [link]);
  const canShare = typeof navigator.share === "function";
  return (
    <div class="made-link">
      <label class="field">
        <span>{texts.link}</span>
        <input
          ref={field}
          class="input"
          readOnly
          value={link}
          data-testid="invite-link"
          onFocus={(event) => event.currentTarget.select()}
        />
      </label>
      <div class="actions">
        <button type="button" class="button" data-testid="copy-invite" onClick={() => void copyText(link)}>
          <Icon name="copy" />
          {t().common.copy}
        </button>
        {canShare && (
          <button
            type="button"
            class="button"
            onClick={() => void navigator.share({ url: link }).catch(() => undefined)}
          >
            <Icon name="share" />
            {texts.share}
          </button>
        )}
      </div>
      <QrCode text={link} label={texts.qr} />
    </div>
  );
}

function ActiveInvites({
  invites,
  onRevoke,
}: {
  invites: Invite[];
  onRevoke: (id: string) => void;
}): JSX.Element | null {
  const texts = t().invite;
  if (invites.length === 0) return null;
  return (
    <section>
      <h3>{texts.active}</h3>
      <ul class="invite-list" data-testid="invite-list">
        {invites.map((invite) => {
          const role = texts.roles[invite.role === "controller" ? "controller" : "watcher"];
          const until = texts.expires(formatDateTime(invite.expires_at));
          return (
            <li key={invite.id} data-testid={`invite-${invite.id}`}>
              <span>
                {role}
                <span class="muted small"> {until}</span>
              </span>
              <button
                type="button"
                class="button compact"
                data-testid={`revoke-${invite.id}`}
                aria-label={texts.revokeName(role, until)}
                onClick={() => onRevoke(invite.id)}
              >
                {texts.revoke}
              </button>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
