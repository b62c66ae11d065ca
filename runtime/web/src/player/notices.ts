import { ERROR_CODES, type ErrorCode } from "../api/codes";
import { formatDuration, t } from "../i18n";
import { toast } from "../ui/toasts";
import type { Notice } from "./room-state";

/** Say a change of the room in words. */
export function announce(notice: Notice): void {
  const texts = t().toast;
  switch (notice.kind) {
    case "joined":
      return toast(texts.joined(notice.name), { icon: "people" });
    case "left":
      return toast(texts.left(notice.name), { icon: "leave" });
    case "kicked":
      return toast(texts.kicked(notice.name), { icon: "leave" });
    case "hand":
      return toast(texts.hand(notice.name), { icon: "hand" });
    case "newOwner":
      return toast(texts.newOwner(notice.name), { icon: "crown" });
    case "control":
      return toast(controlText(notice), { icon: "pointer" });
    case "requested":
      return toast(texts.requested(notice.name), { icon: "pointer" });
    case "idleCancelled":
      return toast(texts.idleCancelled(notice.name), { icon: "queue" });
    case "timeWarning":
      return toast(t().player.timeWarning(formatDuration(notice.seconds)), { icon: "queue" });
    case "denied":
      return toast(texts.denied, { icon: "pointer" });
    case "youOwner":
      return toast(texts.youOwner, { icon: "crown" });
    case "muted":
      return toast(texts.muted, { icon: "micOff" });
    case "unmuted":
      return toast(texts.unmuted, { icon: "mic" });
    case "locked":
      return toast(texts.locked, { icon: "lock" });
    case "unlocked":
      return toast(texts.unlocked, { icon: "lock" });
  }
}

function controlText(notice: Extract<Notice, { kind: "control" }>): string {
  const texts = t().toast;
  if (notice.isYou) return texts.youControl;
  if (notice.holder === null) return notice.lost ? texts.controlLost : texts.controlFree;
  return texts.theyControl(notice.name);
}

export function refusalText(code: string): string {
  const known = (ERROR_CODES as readonly string[]).includes(code) ? (code as ErrorCode) : "internal";
  const said = t().errors[known];
  return `${said.what} ${said.fix}`;
}
