import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { asApiError, request } from "../api/client";
import { errorText, formatClock, t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { toast } from "../ui/toasts";
import { useModel } from "./model-context";

/** Seconds until `at`, counted down on the page. */
export function useSecondsUntil(at: number | null | undefined): number | undefined {
  const now = useSignal(Date.now());
  useEffect(() => {
    if (at == null) return undefined;
    now.value = Date.now();
    const timer = window.setInterval(() => {
      now.value = Date.now();
    }, 250);
    return () => window.clearInterval(timer);
  }, [at, now]);
  return at == null ? undefined : Math.max(0, (at - now.value) / 1000);
}

export function IdleDialog(): JSX.Element | null {
  const model = useModel();
  const endsAt = model.room.value?.idleEndsAt;
  const seconds = useSecondsUntil(endsAt);
  if (endsAt == null || seconds === undefined) return null;
  const stay = (): void => {
    model.send({ type: "activity" });
  };
  return (
    <Dialog heading={t().player.idleHeading} role="alertdialog" testId="idle-dialog" onClose={stay}>
      <p>{t().player.idleLead}</p>
      <p class="countdown" data-testid="idle-countdown" aria-live="off">
        {formatClock(seconds)}
      </p>
      <div class="actions">
        <button type="button" class="button primary" data-testid="idle-stay" onClick={stay}>
          {t().player.idleStay}
        </button>
      </div>
    </Dialog>
  );
}

export function ConfirmEnd({ kind, onClose }: { kind: "end" | "leave"; onClose: () => void }): JSX.Element {
  const model = useModel();
  const busy = useSignal(false);
  const texts = t().player;

  const end = async (): Promise<void> => {
    if (kind === "leave") {
      model.leave();
      return;
    }
    busy.value = true;
    try {
      // The room then tells every page, this one too, that the session is over.
      await request("DELETE", `/api/v1/sessions/${encodeURIComponent(model.session.id)}`);
    } catch (error) {
      const said = errorText(asApiError(error));
      toast(`${said.what} ${said.fix}`, { kind: "error", icon: "warning" });
      onClose();
    }
  };

  return (
    <Dialog
      heading={kind === "end" ? texts.endConfirmHeading : texts.leaveHeading}
      role="alertdialog"
      testId="confirm-end-dialog"
      onClose={onClose}
    >
      <p>{kind === "end" ? texts.endConfirm : texts.leaveConfirm}</p>
      <div class="actions">
        <button type="button" class="button" data-testid="keep-going" onClick={onClose}>
          {texts.keepGoing}
        </button>
        {kind === "end" && (
          <button type="button" class="button" data-testid="leave-only" onClick={() => model.leave()}>
            {texts.leave}
          </button>
        )}
        <button
          type="button"
          class="button danger"
          data-testid="confirm-end"
          disabled={busy.value}
          onClick={() => void end()}
        >
          {kind === "end" ? texts.endConfirmYes : texts.leaveYes}
        </button>
      </div>
    </Dialog>
  );
}
