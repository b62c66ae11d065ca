import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { asApiError, request } from "../api/client";
import { errorText, formatClock, t } from "../i18n";
import { Icon } from "../ui/icons";
import { toast } from "../ui/toasts";
import { useSecondsUntil } from "./dialogs";
import { useModel } from "./model-context";

const SHORT_SECONDS = 300;

/** How long the session may still last, where it has an end; owners ask for more time with a click on it. */
export function TimeLeft(): JSX.Element | null {
  const model = useModel();
  const busy = useSignal(false);
  const seconds = useSecondsUntil(model.room.value?.session.ends_at);
  if (seconds === undefined) return null;
  const text = t().player.endsIn(formatClock(seconds));
  const clock = (
    <>
      <Icon name="queue" size={16} />
      <span aria-hidden="true">{formatClock(seconds)}</span>
    </>
  );
  const look = `time-left ${seconds < SHORT_SECONDS ? "time-short" : ""}`;
  if (!model.isOwner.value) {
    return (
      <span class={look} title={text} data-testid="time-left">
        <span class="visually-hidden">{text}</span>
        {clock}
      </span>
    );
  }
  const extend = async (): Promise<void> => {
    busy.value = true;
    try {
      // The room then tells every page how long it is now.
      await request("POST", `/api/v1/sessions/${encodeURIComponent(model.session.id)}/extend`, { body: {} });
    } catch (error) {
      const said = errorText(asApiError(error));
      toast(`${said.what} ${said.fix}`, { kind: "error", icon: "warning" });
    } finally {
      busy.value = false;
    }
  };
  return (
    <button
      type="button"
      class={`${look} time-more`}
      title={`${text} · ${t().player.moreTime}`}
      data-testid="time-left"
      disabled={busy.value}
      onClick={() => void extend()}
    >
      <span class="visually-hidden">
        {text} · {t().player.moreTime}
      </span>
      {clock}
      <Icon name="plus" size={14} />
    </button>
  );
}
